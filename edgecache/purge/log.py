"""The one way a purge happens: appended to the log, applied to the ledger, then acknowledged."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from math import isinf

import msgspec

from edgecache.core.ledger import Ledger
from edgecache.core.meaning import Meaning
from edgecache.core.ports import Heard, Log, Registry
from edgecache.core.purges import Effect, Logged, PurgeRecord
from edgecache.core.tags import Tag
from edgecache.errors import StoreUnavailable
from edgecache.purge.lease import Lease
from edgecache.purge.roll import Nodes, Ordered, Roll, Standing
from edgecache.purge.trail import Trail

SNAPSHOT_EVERY = 10_000
"""Records applied between two snapshots of the ledger. As many stay in the log behind the newest snapshot, for nodes
that have fallen behind: where one finds its place trimmed, everything it holds is dead."""
RETRY = 1.0
"""Seconds between two attempts to follow a log that cannot be read."""
FIRST_WORD = 10.0
"""Seconds in which a node that starts must have heard that it is up to date."""
AHEAD = 100_000
"""Records applied here that the log has yet to give; with more, no purges are taken."""
PIECE = 1_000
"""Tags applied before other tasks have a turn; about half a millisecond."""

_log = logging.getLogger("edgecache.purge")


class PurgeStatistics(msgspec.Struct, frozen=True):
    """Records `ordered` here, and `invalidations` by requests that changed something; the newest sequence `applied`,
    whoever ordered it; whether this node is `blind`, else the seconds of lease that are left (0 where no other node
    writes to its log); nodes `struck` off the roll from here.
    """

    ordered: int
    applied: int
    blind: bool = False
    lease_left: float = 0.0
    struck: int = 0
    unknown: int = 0
    invalidations: int = 0


class PurgeLog:
    """Keeps `ledger` up with `log`. After `open`, every purge acknowledged before it is applied."""

    def __init__(
        self,
        log: Log,
        registry: Registry,
        ledger: Ledger,
        *,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        new_id: Callable[[], str],
        snapshot_every: int = SNAPSHOT_EVERY,
    ) -> None:
        self._log = log
        self._registry = registry
        self._ledger = ledger
        self._clock = clock
        self._monotonic = monotonic
        self._new_id = new_id
        self._snapshot_every = snapshot_every
        self._lease = Lease()
        self._trail = Trail()
        self._roll = Roll(log, monotonic=monotonic, check=self._check_identity)
        self._identity = ""
        self._doubts = 0
        self._catching_up = asyncio.Lock()
        self._applied_listeners: list[Callable[[], None]] = []
        self._record_listeners: list[Callable[[Logged], None]] = []
        self._sighted = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._snapshot: asyncio.Task[None] | None = None
        self._snapshot_at = 0
        self._ordered = 0
        self._invalidations = 0

    def on_applied(self, listener: Callable[[], None]) -> None:
        """Called, synchronously, after records took effect."""
        self._applied_listeners.append(listener)

    def on_record(self, listener: Callable[[Logged], None]) -> None:
        """Called, synchronously, with each record in its order, before any later one takes effect."""
        self._record_listeners.append(listener)

    async def open(self) -> None:
        """
        Raises:
            StoreUnavailable: what was purged cannot be known.
        """
        self._doubts = 0
        self._begin()
        snapshots = await self._registry.values("ledger")
        self._ledger.restore(snapshots.get("snapshot", b""))
        self._snapshot_at = self._ledger.applied
        await self._catch_up()
        self._trail.begin(self._ledger.applied)
        self._tasks = [asyncio.create_task(self._follow())]
        await self._hear_first()
        self._tasks.append(asyncio.create_task(self._tell_when_blind()))

    async def _hear_first(self) -> None:
        if not self.blind:
            return
        try:
            async with asyncio.timeout(FIRST_WORD):
                await self._sighted.wait()
        except TimeoutError:
            raise StoreUnavailable("the purge log does not say whether this node is up to date") from None

    async def close(self) -> None:
        await self._roll.close()
        running = [task for task in (*self._tasks, self._snapshot) if task is not None]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        self._tasks, self._snapshot = [], None

    # --- order ----------------------------------------------------------------------------------------------------

    async def order(
        self,
        tags: Sequence[Tag],
        *,
        effect: Effect = Effect.PURGE,
        meaning: Meaning | None = None,
        claimed: tuple[str, bytes] | None = None,
        record_id: str | None = None,
        tracked: bool = True,
    ) -> Ordered:
        """When this returns it is in the log and in force here. One that is not `tracked` can be waited for and has no
        `progress`: it takes nobody's place there.

        Raises:
            StoreUnavailable: it is not known to be in the log; ask again.
        """
        if self._ledger.applied - self._trail.confirmed > AHEAD:
            raise StoreUnavailable("this node cannot follow the purge log: purge at another one")
        record = PurgeRecord(record_id or self._new_id(), tuple(tags), self._clock(), effect, meaning, claimed)
        self._check_identity()
        log = self._ledger.log
        try:
            sequence, at = await self._append(record)
        except StoreUnavailable:
            if self._ledger.log == log:
                raise
            log = self._ledger.log  # the one that took its place
            sequence, at = await self._append(record)
        await self._enforce(log, Logged(sequence, record))
        ordered = Ordered(record, sequence, at, log)
        if tracked:
            self._ordered += 1
            self._roll.add(ordered)
        else:
            self._invalidations += 1
        return ordered

    async def _append(self, record: PurgeRecord) -> tuple[int, float]:
        """Its place, and when that was known."""
        try:
            return await self._log.append(record), self._monotonic()
        finally:
            self._check_identity()

    async def _enforce(self, log: str, logged: Logged) -> None:
        """At once where it comes next, else with what others ordered before it."""
        if logged.sequence == self._ledger.applied + 1:
            await self._apply(log, [logged])
        while self._ledger.log == log and self._ledger.applied < logged.sequence:
            await self._catch_up()
        if self._ledger.log == log and self._trail.contradicts(logged):
            self._distrust(logged)
        if self._ledger.log != log:
            raise StoreUnavailable("the purge log was lost while it was written: purge again")

    async def wait_all(self, ordered: Ordered) -> Nodes:
        """Until no node, this one included, serves anything that this purge killed.

        Raises:
            StoreUnavailable: the log was lost meanwhile, nothing is known; purge again.
        """
        if ordered.log != self._ledger.log:
            raise StoreUnavailable("the purge log was lost since: purge again")
        standing = await self._roll.wait(ordered)
        if standing.nodes == Nodes(0, 0):  # the roll could not be read: this node knows of itself alone
            return Nodes(0, 1) if self.blind else Nodes(1, 0)
        return standing.nodes

    def progress(self, record_id: str) -> Standing | None:
        """How far an order of this node has come; None where it is not known, or not in the log yet."""
        return self._roll.standing(record_id)

    # --- follow ---------------------------------------------------------------------------------------------------

    @property
    def blind(self) -> bool:
        """Whether something may have been purged of which this node has not heard."""
        return self._lease_left() < 0

    def _lease_left(self) -> float:
        return self._lease.left(self._monotonic(), self._log.lease)

    def _begin(self) -> None:
        """With an empty ledger, whatever the log: what was filled under another one is dead."""
        self._identity = self._log.identity
        self._ledger.reset(f"{self._identity} {self._doubts}" if self._doubts else self._identity)
        self._trail.begin(0)
        self._lease.end()
        self._snapshot_at = 0
        self._roll.lost()

    def _check_identity(self) -> None:
        """A log that lost its data is another log."""
        if self._identity != self._log.identity:
            _log.error("the purge log is another one now, all that was cached is dead: %s", self._log.identity)
            self._doubts = 0
            self._begin()
            self._announce()

    def _dated(self, logged: Logged) -> Logged:
        """A soft purge by a clock that runs ahead makes stale from now on: windows must not grow by that."""
        record, now = logged.record, self._clock()
        if record is None or record.effect is not Effect.SOFT or record.at <= now:
            return logged
        return Logged(logged.sequence, msgspec.structs.replace(record, at=now))

    def _distrust(self, logged: Logged) -> None:
        """Two records at one place: the log lost some and keeps its name. For this node it has another one from here:
        it shares no entries with the others any more, until it is started again.
        """
        _log.error(
            "the purge log gives another record at %d than before: all that was cached is dead on this node, and what "
            "it caches is its own. Check that Redis keeps what it acknowledged, and restart this node",
            logged.sequence,
        )
        self._doubts += 1
        self._begin()
        self._announce()

    async def _catch_up(self) -> None:
        async with self._catching_up:
            while await self._read_on():
                pass

    async def _read_on(self) -> bool:
        """Whether there was more in the log."""
        self._check_identity()
        log = self._ledger.log
        try:
            batch = await self._log.read(self._ledger.applied)
        finally:
            self._check_identity()
        await self._apply(log, batch)
        return bool(batch)

    async def _follow(self) -> None:
        """What anyone orders. Ends only with `close`: a lost connection is tried again by the log itself."""
        while True:
            self._check_identity()
            log = self._ledger.log
            self._lease.end()  # what is asked for may begin before what was said to be applied
            try:
                await self._follow_one(log)
            except StoreUnavailable as error:
                _log.warning("cannot follow the purge log: %s", error)
            if self._ledger.log == log and self._log.identity == self._identity:
                await asyncio.sleep(RETRY)

    async def _follow_one(self, log: str) -> None:
        """Until it is another one."""
        following = self._log.follow(self._trail.resume)
        try:
            async for heard in following:
                await self._hear(log, heard)
                if log != self._ledger.log:
                    return
        finally:
            if isinstance(following, AsyncGenerator):
                await following.aclose()

    async def _hear(self, log: str, heard: Heard) -> None:
        await self._apply(log, heard.records)
        if log != self._ledger.log:
            return
        if heard.records:
            self._trail.confirm(heard.records[-1].sequence)
        self._lease.heard(heard)
        if self._lease_left() >= 0:
            self._sighted.set()

    async def _apply(self, log: str, batch: Sequence[Logged]) -> None:
        """`log` is the one the records were read from: another one's sequences mean nothing here."""
        done = 0
        for logged in batch:
            if log != self._ledger.log:
                return
            self._take(logged)
            done += 1 if logged.record is None else len(logged.record.tags)
            if done > PIECE:
                self._announce()
                await asyncio.sleep(0)
                done = 0
        if batch:
            self._announce()

    def _take(self, logged: Logged) -> None:
        if logged.sequence <= self._ledger.applied:
            if self._trail.contradicts(logged):
                self._distrust(logged)
            return
        if logged.record is None:
            _log.warning(
                "record %d of the purge log cannot be read here (a newer version wrote it, or it is damaged): all that "
                "was cached before it is dead on this node. Update this node",
                logged.sequence,
            )
        self._ledger.apply(self._dated(logged))
        self._trail.note(logged)
        for listener in self._record_listeners:
            listener(logged)

    def _announce(self) -> None:
        for listener in self._applied_listeners:
            listener()
        if self._snapshot is None and self._ledger.applied - self._snapshot_at >= self._snapshot_every:
            self._snapshot = asyncio.create_task(self._keep_snapshot())

    async def _keep_snapshot(self) -> None:
        """Without it a restart takes longer, and nothing else: what fails here is tried again with a later record."""
        frozen = self._ledger.frozen()
        try:
            await self._registry.set("ledger", "snapshot", await asyncio.to_thread(frozen.encode))
            await self._log.trim(frozen.applied - self._snapshot_every)
        except StoreUnavailable as error:
            _log.warning("no snapshot of the purge log could be kept: %s", error)
        else:
            self._snapshot_at = frozen.applied if frozen.log == self._ledger.log else 0
        finally:
            self._snapshot = None

    async def _tell_when_blind(self) -> None:
        """For who reads the logs; whoever serves asks `blind`."""
        told = False
        while not isinf(self._log.lease):
            if self.blind is not told:
                told = self.blind
                say = _log.warning if told else _log.info
                say("cut off from the purge log: nothing more from cache" if told else "up to date with the purge log")
            await asyncio.sleep(max(self._lease_left(), 0.1))

    def statistics(self) -> PurgeStatistics:
        left = 0.0 if isinf(self._log.lease) else max(self._lease_left(), 0.0)
        known = self._ledger.statistics()
        return PurgeStatistics(
            self._ordered, known.applied, self.blind, left, self._roll.struck, known.unknown, self._invalidations
        )

    def __repr__(self) -> str:
        return f"<PurgeLog ordered={self._ordered} blind={self.blind} {self._ledger!r}>"
