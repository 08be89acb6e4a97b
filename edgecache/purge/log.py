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
"""Records applied between two snapshots of the ledger; the log is trimmed up to the older of the last two."""

_log = logging.getLogger("edgecache.purge")


class PurgeStatistics(msgspec.Struct, frozen=True):
    """Records ordered here, and the newest sequence in force, whoever ordered it."""

    ordered: int
    applied: int


class PurgeLog:
    """Keeps `ledger` up with `log`. After `open`, every purge acknowledged before it is applied."""

    def __init__(
        self, log: Log, registry: Registry, ledger: Ledger, *, clock: Callable[[], float], new_id: Callable[[], str]
    ) -> None:
        self._log = log
        self._registry = registry
        self._ledger = ledger
        self._clock = clock
        self._new_id = new_id
        self._catching_up = asyncio.Lock()
        self._follower: asyncio.Task[None] | None = None
        self._listeners: list[Callable[[], None]] = []
        self._ordered = 0
        self._since_snapshot = 0

    def on_applied(self, listener: Callable[[], None]) -> None:
        """Called, synchronously, after records took effect."""
        self._listeners.append(listener)

    async def open(self) -> None:
        self._ledger.reset(self._log.identity)
        snapshots = await self._registry.values("ledger")
        self._ledger.restore(snapshots.get("snapshot", b""))
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
        self._ordered += 1
        if sequence == self._ledger.applied + 1:
            self._apply([Logged(sequence, record)])
        while self._ledger.applied < sequence:
            await self._catch_up()
            if self._ledger.log != log:
                raise StoreUnavailable("the purge log was lost while it was written: purge again")
        return record

    def _check_identity(self) -> None:
        """A log that lost its data is another log: everything filled under the old one is dead, and reading begins
        anew.
        """
        if self._ledger.log != self._log.identity:
            _log.error("the purge log is another one now, all that was cached is dead: %s", self._log.identity)
            self._ledger.reset(self._log.identity)
            self._announce()

    async def _catch_up(self) -> None:
        async with self._catching_up:
            self._check_identity()
            while batch := await self._log.read(self._ledger.applied):
                self._apply(batch)
        await self._snapshot_when_due()

    def _apply(self, batch: Sequence[Logged]) -> None:
        for logged in batch:
            self._ledger.apply(logged)
        self._since_snapshot += len(batch)
        self._announce()

    def _announce(self) -> None:
        for listener in self._listeners:
            listener()

    async def _follow(self) -> None:
        """What other nodes order. Ends only with `close`: a lost connection is tried again by the log itself."""
        while True:
            self._check_identity()
            try:
                async for batch in self._log.follow(self._ledger.applied):
                    self._apply(batch)
                    await self._snapshot_when_due()
            except StoreUnavailable as error:
                _log.warning("cannot follow the purge log, trying again in a second: %s", error)
            await asyncio.sleep(1)

    async def _snapshot_when_due(self) -> None:
        if self._since_snapshot < SNAPSHOT_EVERY:
            return
        self._since_snapshot = 0
        applied, snapshot = self._ledger.applied, self._ledger.snapshot()
        await self._registry.set("ledger", "snapshot", snapshot)
        await self._log.trim(applied - SNAPSHOT_EVERY)

    def statistics(self) -> PurgeStatistics:
        return PurgeStatistics(self._ordered, self._ledger.applied)

    def __repr__(self) -> str:
        return f"<PurgeLog ordered={self._ordered} {self._ledger!r}>"
