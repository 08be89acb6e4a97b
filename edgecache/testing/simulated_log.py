"""The port `Log` in memory: one server that all nodes of a simulation share, which can lose what it was told, and
for each node a link to it that can be slow, lose what is said, or be cut.

    server = SimulatedServer()
    one, two = (SimulatedLog(server, name, Link(), lease=2.0, monotonic=time.monotonic) for name in ("one", "two"))

Each call goes over the link, is one step in the server, and comes back over the link, as with a real one.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import TypeVar

import msgspec

from edgecache.core.ports import Heard, Member
from edgecache.core.purges import Logged, PurgeRecord
from edgecache.errors import StoreUnavailable

T = TypeVar("T")

UNKNOWN = "?"
"""Stands for nodes that may still serve by the log before this one."""
SETTLED = 1.25
"""Leases after which there can be none of these any more."""
NEVER = float("-inf")


class Row(msgspec.Struct, frozen=True):
    """What the server knows of a node; `beat` is another one each time it is heard of."""

    applied: int
    lease: float
    beat: int


class LogLostError(StoreUnavailable):
    """The log is another one than the caller thinks."""


class SimulatedServer:
    """State, and steps that nothing can come between. `run` is another one after each start."""

    def __init__(self) -> None:
        self.run = 0
        self.newest = 0
        self.records: list[Logged] = []
        self.rows: dict[str, Row] = {}
        self._identity = ""
        self._run_of_log = -1
        self._beats = 0
        self._news = asyncio.Event()

    # --- what happens to it -----------------------------------------------------------------------------------

    def restart(self, lose: int = 0) -> None:
        """Or another server takes over, which has not seen the `lose` newest records."""
        self.run += 1
        self.lose(lose)

    def lose(self, count: int) -> None:
        """In silence: a real server that does this breaks the port's contract."""
        self.records = self.records[: len(self.records) - count]
        self.newest -= count

    # --- steps ------------------------------------------------------------------------------------------------

    def identify(self, lease: float) -> str:
        if self._run_of_log != self.run:
            longest = max((row.lease for row in self.rows.values()), default=lease)
            self._run_of_log, self._identity = self.run, f"log-{self.run}"
            self.newest, self.records, self.rows = 0, [], {UNKNOWN: Row(0, longest, 0)}
        return self._identity

    def check(self, identity: str) -> None:
        if self._run_of_log != self.run or self._identity != identity:
            raise LogLostError(f"the log is not {identity} any more")

    def append(self, record: PurgeRecord | None) -> int:
        """None: one that no node can read."""
        self.newest += 1
        self.records.append(Logged(self.newest, record))
        self._news.set()
        self._news = asyncio.Event()
        return self.newest

    def read(self, after: int, limit: int) -> tuple[Sequence[Logged], bool]:
        """And whether that is all there is."""
        found = [logged for logged in self.records if logged.sequence > after]
        return found[:limit], len(found) <= limit

    def write_row(self, node: str, applied: int, lease: float, *, settled: bool) -> None:
        self._beats += 1
        self.rows[node] = Row(applied, lease, self._beats)
        if settled:
            self.rows.pop(UNKNOWN, None)

    def strike(self, node: str, row: Row) -> None:
        if self.rows.get(node) == row:
            del self.rows[node]

    def trim(self, through: int) -> int:
        before = len(self.records)
        self.records = [logged for logged in self.records if logged.sequence > min(through, self.newest - 1)]
        return before - len(self.records)

    async def wait(self, after: int, seconds: float) -> None:
        """Until there is more than `after`, for at most so long."""
        news = self._news
        if self.newest > after:
            return
        try:
            async with asyncio.timeout(seconds):
                await news.wait()
        except TimeoutError:
            return

    def __repr__(self) -> str:
        return f"<SimulatedServer {self._identity} newest={self.newest} {sorted(self.rows)}>"


class Link:
    """Between a node and the server: takes no time, loses nothing. `step` names the call. To be subclassed: either way
    may wait, or raise StoreUnavailable where the message is lost.
    """

    async def there(self, step: str) -> None:
        return None

    async def back(self, step: str) -> None:
        return None


class SimulatedLog:
    """One node's side. Times are in seconds by its own monotonic clock."""

    def __init__(
        self,
        server: SimulatedServer,
        node: str,
        link: Link,
        *,
        lease: float,
        monotonic: Callable[[], float],
        heartbeat: float = 0.25,
        batch: int = 1_000,
    ) -> None:
        self.node = node
        self.lease = lease
        self.identity = ""
        self._server = server
        self._link = link
        self._monotonic = monotonic
        self._heartbeat = heartbeat
        self._batch = batch
        self._known_since = 0.0
        self._seen: dict[str, tuple[Row, float]] = {}

    async def open(self) -> None:
        await self._identify()

    async def close(self) -> None:
        self._server.rows.pop(self.node, None)

    async def append(self, record: PurgeRecord) -> int:
        return await self._call("append", lambda: self._server.append(record))

    async def read(self, after: int, limit: int = 1_000) -> Sequence[Logged]:
        return (await self._read(after, limit))[0]

    async def follow(self, after: int) -> AsyncGenerator[Heard, None]:
        identity = self.identity
        while True:
            sent = self._monotonic()
            try:
                records, whole = await self._read(after, self._batch)
            except LogLostError:
                raise
            except StoreUnavailable:
                await asyncio.sleep(self._heartbeat)
            else:
                after = records[-1].sequence if records else after
                yield Heard(sent if whole else NEVER, records)
                if not records:
                    await self._wait(after)
            if self.identity != identity:
                raise LogLostError(f"the log is {self.identity} now, it was {identity}")

    async def roll(self) -> Mapping[str, Member]:
        rows = await self._call("roll", lambda: dict(self._server.rows))
        now, before = self._monotonic(), self._seen
        self._seen = {
            name: before[name] if before.get(name, (0,))[0] == row else (row, now) for name, row in rows.items()
        }
        return {name: Member(row.applied, row.lease) for name, row in rows.items()}

    async def strike(self, node: str, applied: int) -> None:
        row, since = self._seen.get(node, (None, 0.0))
        if row is not None and row.applied == applied and self._monotonic() - since >= row.lease:
            await self._call("strike", lambda: self._server.strike(node, row))

    async def trim(self, through: int) -> int:
        return await self._call("trim", lambda: self._server.trim(through))

    async def _read(self, after: int, limit: int) -> tuple[Sequence[Logged], bool]:
        """Says in the same step that all up to `after` is applied here."""
        settled = self._monotonic() > self._known_since + SETTLED * self.lease

        def step() -> tuple[Sequence[Logged], bool]:
            self._server.write_row(self.node, after, self.lease, settled=settled)
            return self._server.read(after, limit)

        return await self._call("read", step)

    async def _wait(self, after: int) -> None:
        try:
            await self._link.there("wait")
            await self._server.wait(after, self._heartbeat)
            await self._link.back("wait")
        except StoreUnavailable:
            await asyncio.sleep(self._heartbeat)

    async def _call(self, name: str, step: Callable[[], T]) -> T:
        identity = self.identity
        await self._link.there(name)
        try:
            self._server.check(identity)
            found = step()
        except LogLostError:
            await self._identify()
            raise
        await self._link.back(name)
        return found

    async def _identify(self) -> None:
        await self._link.there("identify")
        found = self._server.identify(self.lease)
        await self._link.back("identify")
        if found != self.identity:
            self.identity, self._known_since = found, self._monotonic()

    def __repr__(self) -> str:
        return f"<SimulatedLog {self.node} {self.identity}>"
