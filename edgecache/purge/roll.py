"""Which nodes have applied a purge, and which need not be waited for any more.

A purge was appended, at the latest, at monotonic time A of the node that ordered it. A node that has not applied it
serves from cache on a read sent before A at most, so it is blind when its lease, and a margin for its clock, has run
out after A. Both kinds of node serve nothing that the purge killed.

The roll is read after the append. A node that comes onto the roll later does so by the same step that reads the log,
so what it reads has the purge in it; one that is not on the roll has no lease.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from math import isinf

import msgspec

from edgecache.core.ports import UNKNOWN, Log, Member
from edgecache.core.purges import PurgeRecord
from edgecache.errors import StoreUnavailable
from edgecache.purge.lease import MARGIN

FIRST_LOOK, LONGEST_LOOK = 0.001, 0.020
"""Seconds between looks at the roll; each is twice the one before."""
REMEMBERED = 1_000
"""Orders of which the standing is known."""

_log = logging.getLogger("edgecache.purge")


class Ordered(msgspec.Struct, frozen=True):
    """A purge in the log. `at` is when the append was known to be done, by this node's monotonic clock; `log` names the
    log in which `sequence` counts.
    """

    record: PurgeRecord
    sequence: int
    at: float
    log: str = ""


class Nodes(msgspec.Struct, frozen=True):
    """How many nodes have applied a purge, and how many serve nothing from cache until they have."""

    applied: int
    blind: int


class Standing(msgspec.Struct, frozen=True):
    """How far a purge has come: nodes by name. `waiting` have neither applied it nor lost their lease. `done`: none of
    them serves what it killed.
    """

    sequence: int
    applied: tuple[str, ...]
    waiting: tuple[str, ...]
    blind: tuple[str, ...]
    done: bool

    @property
    def nodes(self) -> Nodes:
        return Nodes(len(self.applied), len(self.blind))


class Watched:
    """What is known of one order."""

    def __init__(self, ordered: Ordered) -> None:
        self.ordered = ordered
        self.given_up = False
        self._looked = False
        self._members: dict[str, Member] = {}
        self._blind: set[str] = set()
        self._over = asyncio.Event()

    def saw(self, roll: Mapping[str, Member]) -> None:
        """A node that left the roll is still waited for: another one may have taken it off for its own reasons."""
        self._looked = True
        self._members.update(roll)

    def judge(self, now: float, lease: float) -> list[tuple[str, int]]:
        """Nodes that are found blind just now, and where they stand. `lease` is that of nodes never seen."""
        at = self.ordered.at
        late = [name for name in self._lacking() if now > at + MARGIN * self._members[name].lease]
        self._blind.update(late)
        if (self._looked or now > at + MARGIN * lease) and not self._lacking():
            self._over.set()
        return [(name, self._members[name].applied) for name in late]

    @property
    def over(self) -> bool:
        return self._over.is_set()

    def give_up(self) -> None:
        self.given_up = True
        self._over.set()

    async def wait(self) -> None:
        await self._over.wait()

    def standing(self) -> Standing:
        applied = tuple(filter(self._has, self._members))
        blind = tuple(name for name in self._members if name in self._blind and not self._has(name))
        done = self.over and not self.given_up
        return Standing(self.ordered.sequence, applied, tuple(self._lacking()), blind, done)

    def _has(self, name: str) -> bool:
        return self._members[name].applied >= self.ordered.sequence

    def _lacking(self) -> list[str]:
        return [name for name in self._members if not self._has(name) and name not in self._blind]


class Roll:
    """One look at the roll serves all who wait."""

    def __init__(self, log: Log, *, monotonic: Callable[[], float], check: Callable[[], None]) -> None:
        """`check` is to call `lost` where the log has become another one."""
        self._log = log
        self._check = check
        self._monotonic = monotonic
        self._orders: dict[str, Watched] = {}
        self._watching: set[Watched] = set()
        self._longest = 0.0
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._striking: dict[str, asyncio.Task[None]] = {}
        self._struck = 0
        self._looks = 0

    @property
    def struck(self) -> int:
        return self._struck

    def lost(self) -> None:
        """The log is another one now: nobody will say that it applied what was ordered before."""
        for watched in (*self._orders.values(), *self._watching):
            watched.give_up()
        self._orders.clear()
        self._watching.clear()

    async def close(self) -> None:
        self.lost()
        running = [task for task in (self._task, *self._striking.values()) if task is not None]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        self._task = None

    # --- ask ------------------------------------------------------------------------------------------------------

    def add(self, ordered: Ordered) -> None:
        self._orders[ordered.record.id] = Watched(ordered)
        while len(self._orders) > REMEMBERED:
            del self._orders[next(iter(self._orders))]

    def standing(self, record_id: str) -> Standing | None:
        """As far as it is known; asking makes it known, soon."""
        watched = self._orders.get(record_id)
        if watched is None:
            return None
        self._watch(watched)
        return watched.standing()

    async def wait(self, ordered: Ordered) -> Standing:
        """Until no node serves what this purge killed.

        Raises:
            StoreUnavailable: the log was lost, or closed.
        """
        watched = self._orders.get(ordered.record.id) or Watched(ordered)
        self._watch(watched)
        await watched.wait()
        if watched.given_up:
            raise StoreUnavailable("the purge log was lost while nodes were waited for: purge again")
        return watched.standing()

    # --- look -----------------------------------------------------------------------------------------------------

    def _watch(self, watched: Watched) -> None:
        if watched.over or watched in self._watching:
            return
        self._watching.add(watched)
        self._news.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._watch_all())

    async def _watch_all(self) -> None:
        delay, look = FIRST_LOOK, None
        try:
            while self._watching:
                if self._news.is_set():
                    self._news.clear()
                    delay = FIRST_LOOK
                look = look or asyncio.create_task(self._look(tuple(self._watching)))
                await asyncio.wait({look}, timeout=LONGEST_LOOK)  # leases run out while a look hangs
                look = None if look.done() else look
                self._judge()
                await self._pause(delay)
                delay = min(2 * delay, LONGEST_LOOK)
        finally:
            if look is not None:
                look.cancel()

    async def _pause(self, seconds: float) -> None:
        """Ends early when another purge is to be watched."""
        if not self._watching:
            return
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return

    async def _look(self, watched: tuple[Watched, ...]) -> None:
        """Counts only for what was appended before it: what was watched when it began."""
        try:
            roll = await self._log.roll()
        except StoreUnavailable as error:
            _log.debug("the roll could not be read: %s", error)
            return
        self._looks += 1
        self._longest = max(self._longest, *(member.lease for member in roll.values()), 0.0)
        for one in watched:
            one.saw(roll)

    @property
    def _lease(self) -> float:
        """The longest of any node; 0 where no other node writes to this log."""
        return 0.0 if isinf(self._log.lease) else max(self._log.lease, self._longest)

    def _judge(self) -> None:
        self._check()  # another log's roll says nothing of this one, and its nodes are not to be struck
        now = self._monotonic()
        for watched in tuple(self._watching):
            for name, applied in watched.judge(now, self._lease):
                self._strike(name, applied)
            if watched.over:
                self._watching.discard(watched)

    def _strike(self, name: str, applied: int) -> None:
        if name not in self._striking:
            task = self._striking[name] = asyncio.create_task(self._take_off(name, applied))
            task.add_done_callback(lambda _: self._striking.pop(name))

    async def _take_off(self, name: str, applied: int) -> None:
        """So that the next purge does not wait for this node; where it fails, it does."""
        try:
            await self._log.strike(name, applied)
        except StoreUnavailable as error:
            _log.warning("node %s cannot be taken off the roll, purges wait for it: %s", name, error)
        else:
            self._struck += 1
            level = logging.DEBUG if name == UNKNOWN else logging.WARNING
            _log.log(level, "node %s, at %d in the purge log, is cut off: purges do not wait for it", name, applied)

    def __repr__(self) -> str:
        return f"<Roll watching={len(self._watching)} looks={self._looks} struck={self._struck}>"
