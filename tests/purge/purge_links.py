"""Sides of a simulated log in virtual time, whose links a test holds, cuts and counts."""

import asyncio
import functools
import itertools
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from edgecache.core.entry import Horizon
from edgecache.core.ledger import Ledger
from edgecache.core.purges import PurgeRecord
from edgecache.core.tags import keys
from edgecache.errors import StoreUnavailable
from edgecache.purge.log import PurgeLog
from edgecache.testing.simulated_log import UNKNOWN, Link, SimulatedLog, SimulatedServer
from edgecache.testing.virtual_time import run_virtual

LEASE, HEARTBEAT = 2.0, 0.25
TAKES = 0.001
"""Seconds for a message, one way."""


def virtual(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """A test whose seconds take no time."""

    @functools.wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        run_virtual(test(*arguments, **named))

    return run


class Held:
    """A message on its way that the test holds."""

    def __init__(self) -> None:
        self.reached, self.go = asyncio.Event(), asyncio.Event()


class TestLink(Link):
    __test__ = False

    def __init__(self) -> None:
        self.cut: set[str] | None = set()
        """Steps that fail; None for all of them."""
        self.error = StoreUnavailable("cut")
        self.calls: Counter[str] = Counter()
        self._held: dict[tuple[str, str], Held] = {}

    def hold(self, step: str, way: str) -> Held:
        """The next message of `step`, `there` or `back`."""
        return self._held.setdefault((step, way), Held())

    async def there(self, step: str) -> None:
        self.calls[step] += 1
        await self._pass(step, "there")

    async def back(self, step: str) -> None:
        await self._pass(step, "back")

    async def _pass(self, step: str, way: str) -> None:
        await asyncio.sleep(TAKES)
        if held := self._held.pop((step, way), None):
            held.reached.set()
            await held.go.wait()
        if self.cut is None or step in self.cut:
            raise self.error


class Registry:
    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    async def values(self, kind: str) -> dict[str, bytes]:
        return dict(self.kept)

    async def set(self, kind: str, name: str, value: bytes) -> None:
        self.kept[name] = value


@dataclass
class LinkedSide:
    link: TestLink
    carrier: SimulatedLog
    ledger: Ledger
    log: PurgeLog

    def dead(self, value: str, sequence: int = 0, log: str = "log-0") -> bool:
        return self.ledger.killer(keys([value]), Horizon(log, sequence)) is not None


@dataclass
class Sides:
    """All on one server, whose log is old enough that nobody can serve by one before it."""

    server: SimulatedServer = field(default_factory=SimulatedServer)
    registry: Registry = field(default_factory=Registry)
    _ids: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def make(self, name: str, *, lease: float = LEASE, **options: Any) -> LinkedSide:
        clock = asyncio.get_running_loop().time
        link = TestLink()
        carrier = SimulatedLog(self.server, name, link, lease=lease, monotonic=clock, heartbeat=HEARTBEAT)
        ledger = Ledger("")
        log = PurgeLog(
            carrier,
            self.registry,  # type: ignore[arg-type]
            ledger,
            clock=clock,
            monotonic=clock,
            new_id=lambda: f"purge-{next(self._ids)}",
            **options,
        )
        return LinkedSide(link, carrier, ledger, log)

    async def open(self, *names: str, **options: Any) -> list[LinkedSide]:
        sides = [self.make(name, **options) for name in names]
        for side in sides:
            await side.carrier.open()
            self.server.rows.pop(UNKNOWN, None)
            await side.log.open()
        return sides

    def server_orders(self, key: str | None) -> None:
        """By a node that is not there; None for what cannot be read."""
        self.server.append(None if key is None else PurgeRecord(f"by nobody {key}", keys([key]), 0.0))


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Looks every millisecond of virtual time."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.001)
