"""The index is a replica of the store: made again at every start, while exact hits are already served."""

import logging
from collections.abc import Callable, Sequence

import msgspec

from edgecache.core.entry import Entry
from edgecache.core.ledger import Ledger
from edgecache.core.ports import Embedder, Index, Store
from edgecache.errors import EmbeddingUnavailable, StoreUnavailable

_log = logging.getLogger("edgecache.index")
_TENTHS = 10


class Progress(msgspec.Struct, frozen=True):
    """`state` is `waiting`, `building`, `done` or `failed`; entries seen so far, of how many."""

    state: str
    seen: int
    total: int


class Rebuild:
    """One pass over the store. Entries embedded by another model are embedded again."""

    def __init__(
        self, store: Store, index: Index, embedder: Embedder | None, ledger: Ledger, *, clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._index = index
        self._embedder = embedder
        self._ledger = ledger
        self._clock = clock
        self.progress = Progress("waiting", 0, 0)

    async def run(self) -> None:
        """Never raises: without an index questions in other words are misses, and everything else goes on."""
        try:
            await self._run()
        except (StoreUnavailable, EmbeddingUnavailable) as error:
            self.progress = msgspec.structs.replace(self.progress, state="failed")
            _log.error("the index could not be rebuilt: %s", error)

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
