"""Frees what is dead: purged or expired entries, in memory, index and store. Nothing waits for it and nothing's
correctness depends on it; whether an entry is served is decided by the ledger at every read.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Protocol

import msgspec

from edgecache.core.entry import Entry, Scope
from edgecache.core.ledger import Ledger
from edgecache.core.ports import Index, Store
from edgecache.errors import StoreUnavailable

PIECE = 500
"""Entries in memory looked at between two turns of the event loop: about a millisecond."""

_log = logging.getLogger("edgecache.reaper")


class Memory(Protocol):
    """Entries held in memory."""

    def __iter__(self) -> Iterator[Entry]: ...

    def get(self, scope: Scope, key: bytes) -> Entry | None: ...

    def forget(self, entry: Entry) -> None:
        """Discard this very entry; one that has replaced it stays."""


class ReaperStatistics(msgspec.Struct, frozen=True):
    """Passes over the store, and entries freed in them."""

    passes: int
    reaped: int


class Reaper:
    """One pass at a time: soon after a purge, and every `interval` seconds for what expired. `rest` is the least time
    between two passes, in seconds.
    """

    def __init__(
        self,
        store: Store,
        index: Index,
        memory: Memory,
        ledger: Ledger,
        *,
        clock: Callable[[], float],
        interval: float = 60.0,
        rest: float = 1.0,
    ) -> None:
        self._store = store
        self._index = index
        self._memory = memory
        self._ledger = ledger
        self._clock = clock
        self._interval = interval
        self._rest = rest
        self._wanted = asyncio.Event()
        self._fresh: set[tuple[Scope, bytes]] = set()
        self._passing = False
        self._task: asyncio.Task[None] | None = None
        self._passes = 0
        self._reaped = 0

    def wake(self) -> None:
        """Something was purged."""
        self._wanted.set()

    def spare(self, scope: Scope, key: bytes) -> None:
        """A new entry is about to be stored under this key: what a running pass has seen there is not it."""
        if self._passing:
            self._fresh.add((scope, key))

    async def open(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._interval):
                    await self._wanted.wait()
            except TimeoutError:
                pass
            self._wanted.clear()
            try:
                await self.sweep()
            except StoreUnavailable as error:
                _log.warning("could not free dead entries, trying again later: %s", error)
            except Exception:  # noqa: BLE001  the task's boundary: without it memory would grow for ever
                _log.exception("a pass of the reaper failed, trying again later")
            await asyncio.sleep(self._rest)

    async def sweep(self) -> int:
        """One pass; how many entries it freed in the store.

        Raises:
            StoreUnavailable: what is left is freed by a later pass.
        """
        self._passing = True
        try:
            await self._sweep_memory()
            reaped = await self._sweep_store()
        finally:
            self._passing = False
            self._fresh.clear()
        self._passes += 1
        return reaped

    async def _sweep_memory(self) -> None:
        for number, entry in enumerate(self._memory):
            if self._dead(entry):
                self._memory.forget(entry)
            if number % PIECE == PIECE - 1:
                await asyncio.sleep(0)

    async def _sweep_store(self) -> int:
        reaped = 0
        async for batch in self._store.scan():
            freed = await self._free([entry for entry in batch if self._dead(entry)])
            self._reaped += freed
            reaped += freed
        return reaped

    def _dead(self, entry: Entry) -> bool:
        expired = entry.expires_at <= self._clock()
        return expired or self._ledger.killer(entry.tags, entry.horizon) is not None

    async def _free(self, dead: list[Entry]) -> int:
        """No await between the look at what is new and the order to delete: what is stored later is written later."""
        gone = [entry for entry in dead if not self._renewed(entry)]
        for entry in gone:
            self._index.discard(entry.scope, entry.partition, entry.key)
        return await self._store.delete([(entry.scope, entry.key) for entry in gone]) if gone else 0

    def _renewed(self, entry: Entry) -> bool:
        """Whether another entry has come, or is on its way, where this one was read: announced during this pass, or
        already in memory, as new ones are before they are written.
        """
        if (entry.scope, entry.key) in self._fresh:
            return True
        held = self._memory.get(entry.scope, entry.key)
        return held is not None and not self._dead(held)

    def statistics(self) -> ReaperStatistics:
        return ReaperStatistics(self._passes, self._reaped)

    def __repr__(self) -> str:
        return f"<Reaper passes={self._passes} reaped={self._reaped}>"
