"""The index is a replica of the store: made again at every start, while exact hits are already served."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from edgecache.core.entry import Entry
from edgecache.core.ledger import Ledger
from edgecache.core.ports import Embedder, Index, Store
from edgecache.errors import EmbeddingUnavailable, StoreUnavailable

_log = logging.getLogger("edgecache.index")
_TENTHS = 10
_LONGEST_PAUSE = 60.0
"""Seconds; the first pause is 1 s, and each is twice the one before."""


class Progress(msgspec.Struct, frozen=True):
    """`state` is `waiting`, `building`, `done`, or `failed` until tried again; entries seen so far, of how many."""

    state: str
    seen: int
    total: int


class Rebuild:
    """One whole pass over the store, however often it takes. Entries embedded by another model are embedded again.
    `pause` waits for so many seconds.
    """

    def __init__(
        self,
        store: Store,
        index: Index,
        embedder: Embedder | None,
        ledger: Ledger,
        *,
        clock: Callable[[], float],
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._index = index
        self._embedder = embedder
        self._ledger = ledger
        self._clock = clock
        self._pause = pause
        self.progress = Progress("waiting", 0, 0)

    async def run(self) -> None:
        """Until it is done: meanwhile questions in other words are misses, and everything else goes on."""
        pause = 1.0
        while (error := await self._try()) is not None:
            self.progress = msgspec.structs.replace(self.progress, state="failed")
            _log.error("the index could not be rebuilt, next try in %d s: %s", pause, error)
            await self._pause(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _try(self) -> Exception | None:
        try:
            await self._run()
        except (StoreUnavailable, EmbeddingUnavailable) as error:
            return error
        return None

    async def _run(self) -> None:
        total = await self._store.count()
        self.progress = Progress("building", 0, total)
        async for batch in self._store.scan():
            await self._add(batch)
            self._advance(len(batch))
        self.progress = Progress("done", self.progress.seen, self.progress.seen)
        _log.info("index ready: %d entries", self.progress.seen)

    async def _add(self, batch: Sequence[Entry]) -> None:
        """What was purged while it was embedded stays out: the reaper may have been there already."""
        for entry in batch:
            vector = await self._vector(entry)
            if vector is not None and not self._dead(entry):
                await self._index.add(entry.scope, entry.partition, entry.key, vector)

    def _dead(self, entry: Entry) -> bool:
        return entry.expires_at <= self._clock() or self._ledger.killer(entry.tags, entry.horizon) is not None

    async def _vector(self, entry: Entry) -> bytes | None:
        if self._dead(entry) or entry.vector is None or self._embedder is None:
            return None
        if entry.embedder == self._embedder.identity:
            return entry.vector
        return await self._embedder.embed(entry.question)

    def _advance(self, count: int) -> None:
        before, total = self.progress.seen, max(self.progress.total, 1)
        self.progress = msgspec.structs.replace(self.progress, seen=before + count)
        if before * _TENTHS // total != self.progress.seen * _TENTHS // total:
            _log.info("index: %d of %d entries", self.progress.seen, self.progress.total)
