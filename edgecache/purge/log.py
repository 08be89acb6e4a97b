"""The one way a purge happens: appended to the log, applied to the ledger, then acknowledged."""

import asyncio
import logging
from collections.abc import Callable, Sequence

import msgspec

from edgecache.core.ledger import Ledger
from edgecache.core.ports import Log, Registry
from edgecache.core.purges import Logged, PurgeRecord
from edgecache.core.tags import Tag
from edgecache.errors import StoreUnavailable

SNAPSHOT_EVERY = 10_000
"""Records applied between two snapshots of the ledger. As many stay in the log behind the newest snapshot, for nodes
that have fallen behind: where one finds its place trimmed, everything it holds is dead."""
RETRY = 1.0
"""Seconds between two attempts to follow a log that cannot be read."""

_log = logging.getLogger("edgecache.purge")


class PurgeStatistics(msgspec.Struct, frozen=True):
    """Records ordered here, and the newest sequence in force, whoever ordered it."""

    ordered: int
    applied: int


class PurgeLog:
    """Keeps `ledger` up with `log`. After `open`, every purge acknowledged before it is applied."""

    def __init__(
        self,
        log: Log,
        registry: Registry,
        ledger: Ledger,
        *,
        clock: Callable[[], float],
        new_id: Callable[[], str],
        snapshot_every: int = SNAPSHOT_EVERY,
    ) -> None:
        self._log = log
        self._registry = registry
        self._ledger = ledger
        self._clock = clock
        self._new_id = new_id
        self._snapshot_every = snapshot_every
        self._catching_up = asyncio.Lock()
        self._follower: asyncio.Task[None] | None = None
        self._listeners: list[Callable[[], None]] = []
        self._ordered = 0
        self._snapshot_at = 0

    def on_applied(self, listener: Callable[[], None]) -> None:
        """Called, synchronously, after records took effect."""
        self._listeners.append(listener)

    async def open(self) -> None:
        self._ledger.reset(self._log.identity)
        snapshots = await self._registry.values("ledger")
        self._ledger.restore(snapshots.get("snapshot", b""))
        self._snapshot_at = self._ledger.applied
        await self._catch_up()
        self._follower = asyncio.create_task(self._follow())

    async def close(self) -> None:
        if self._follower is not None:
            self._follower.cancel()
            await asyncio.gather(self._follower, return_exceptions=True)
            self._follower = None

    async def order(self, tags: Sequence[Tag]) -> PurgeRecord:
        """Purge everything that carries any of `tags`. When this returns it is in the log and in force here.

        Raises:
            StoreUnavailable: it is not known to be in the log; ask again.
        """
        record = PurgeRecord(self._new_id(), tuple(tags), self._clock())
        log = self._ledger.log
        try:
            sequence = await self._log.append(record)
        finally:
            self._check_identity()
        if sequence == self._ledger.applied + 1:
            self._apply(log, [Logged(sequence, record)])
        while self._ledger.log == log and self._ledger.applied < sequence:
            await self._catch_up()
        if self._ledger.log != log:
            raise StoreUnavailable("the purge log was lost while it was written: purge again")
        self._ordered += 1
        return record

    def _check_identity(self) -> None:
        """A log that lost its data is another log: everything filled under the old one is dead, and reading begins
        anew.
        """
        if self._ledger.log != self._log.identity:
            _log.error("the purge log is another one now, all that was cached is dead: %s", self._log.identity)
            self._ledger.reset(self._log.identity)
            self._snapshot_at = 0
            self._announce()

    async def _catch_up(self) -> None:
        async with self._catching_up:
            while await self._read_on():
                pass
        await self._snapshot_when_due()

    async def _read_on(self) -> bool:
        """Whether there was more in the log."""
        self._check_identity()
        log = self._ledger.log
        try:
            batch = await self._log.read(self._ledger.applied)
        finally:
            self._check_identity()
        self._apply(log, batch)
        return bool(batch)

    def _apply(self, log: str, batch: Sequence[Logged]) -> None:
        """`log` is the one the records were read from: another one's sequences mean nothing here."""
        if log != self._ledger.log:
            return
        for logged in batch:
            self._ledger.apply(logged)
        self._announce()

    def _announce(self) -> None:
        for listener in self._listeners:
            listener()

    async def _follow(self) -> None:
        """What other nodes order. Ends only with `close`: a lost connection is tried again by the log itself."""
        while True:
            self._check_identity()
            log = self._ledger.log
            try:
                async for batch in self._log.follow(self._ledger.applied):
                    self._apply(log, batch)
                    await self._snapshot_when_due()
            except StoreUnavailable as error:
                _log.warning("cannot follow the purge log: %s", error)
            if self._log.identity == log:
                await asyncio.sleep(RETRY)

    async def _snapshot_when_due(self) -> None:
        """Without it a restart takes longer, and nothing else: what fails here is tried again with a later record."""
        applied = self._ledger.applied
        if applied - self._snapshot_at < self._snapshot_every:
            return
        before, self._snapshot_at = self._snapshot_at, applied
        try:
            await self._registry.set("ledger", "snapshot", self._ledger.snapshot())
            await self._log.trim(applied - self._snapshot_every)
        except StoreUnavailable as error:
            self._snapshot_at = min(before, self._ledger.applied)
            _log.warning("no snapshot of the purge log could be kept: %s", error)

    def statistics(self) -> PurgeStatistics:
        return PurgeStatistics(self._ordered, self._ledger.applied)

    def __repr__(self) -> str:
        return f"<PurgeLog ordered={self._ordered} {self._ledger!r}>"
