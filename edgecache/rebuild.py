"""The index is a replica of the store: made again at every start, while exact hits are already served, and held
against the store again whenever news of other nodes were missed.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from edgecache.cache.semantic import SemanticIndex
from edgecache.core.entry import Entry, Scope
from edgecache.core.ledger import Ledger
from edgecache.core.ports import Embedder, Store
from edgecache.errors import EmbeddingUnavailable, StoreUnavailable
from edgecache.purge.examine import is_dead
from edgecache.purge.turns import Turns

_log = logging.getLogger("edgecache.index")
_TENTHS = 10
_LONGEST_PAUSE = 60.0
"""Seconds; the first pause is 1 s, and each is twice the one before."""
_AT_ONCE = 8
"""Single keys looked up in the store at the same time."""

Place = tuple[Scope, bytes, bytes]
"""Scope, partition and key."""


class Progress(msgspec.Struct, frozen=True):
    """`state` is `waiting`, `building`, `done`, or `failed` until tried again; entries seen so far, of how many."""

    state: str
    seen: int
    total: int


class Rebuild:
    """One whole pass over the store, however often it takes. Entries embedded by another model are embedded again.
    `pause` waits for so many seconds.

    The index changes all the while, by fills, purges and news. So nothing that was read is put into effect where the
    index has changed for its key since: it is read again.
    """

    def __init__(
        self,
        store: Store,
        index: SemanticIndex,
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
        self._turns = Turns()
        self._one_pass = asyncio.Lock()
        self.progress = Progress("waiting", 0, 0)

    async def run(self) -> None:
        """Until it is done: meanwhile questions in other words are misses, and everything else goes on. When another
        run is under way, a whole pass after it.
        """
        async with self._one_pass:
            pause = 1.0
            while (error := await self._try()) is not None:
                self.progress = msgspec.structs.replace(self.progress, state="failed")
                _log.error("the index could not be rebuilt, next try in %d s: %s", pause, error)
                await self._pause(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    async def settle(self, scope: Scope, partition: bytes, key: bytes) -> None:
        """Make the index say of one key what the store does.

        Raises:
            StoreUnavailable, EmbeddingUnavailable: what it says is as before.
        """
        settled = False
        while not settled:
            mark = self._index.mark()
            entry = await self._store.head(key)
            if entry is not None and (entry.scope, entry.partition) != (scope, partition):
                entry = None
            settled = await self._put((scope, partition, key), entry, mark)

    async def _try(self) -> Exception | None:
        try:
            await self._run()
        except (StoreUnavailable, EmbeddingUnavailable) as error:
            return error
        return None

    async def _run(self) -> None:
        unseen = await self._held()
        self.progress = Progress("building", 0, await self._store.count())
        mark = self._index.mark()
        async for batch in self._store.scan():
            await self._add(batch, mark, unseen)
            self._advance(len(batch))
            mark = self._index.mark()  # before the next batch is read
        await self._settle_all([(*name, key) for name, keys in unseen.items() for key in keys])
        self.progress = Progress("done", self.progress.seen, self.progress.seen)
        _log.info("index ready: %d entries", self.progress.seen)

    async def _held(self) -> dict[tuple[Scope, bytes], set[bytes]]:
        """What the index holds before the store is read: what the store turns out to lack has to go."""
        held: dict[tuple[Scope, bytes], set[bytes]] = {}
        for scope, partition, keys in self._index.all_keys():
            found = held[scope, partition] = set()
            for key in keys:
                found.add(key)
                await self._turns.step()
        return held

    async def _add(self, batch: Sequence[Entry], mark: int, unseen: dict[tuple[Scope, bytes], set[bytes]]) -> None:
        """What the index knows already stays under the vector it has: a key stands for one question."""
        changed: list[Place] = []
        for entry in batch:
            await self._turns.step()
            place = (entry.scope, entry.partition, entry.key)
            if entry.vector is None or self._is_dead(entry):
                continue
            if self._index.knows(*place):
                unseen.get(place[:2], set()).discard(entry.key)
            elif not await self._put(place, entry, mark):
                changed.append(place)
        await self._settle_all(changed)

    async def _settle_all(self, places: Sequence[Place]) -> None:
        for start in range(0, len(places), _AT_ONCE):
            await asyncio.gather(*(self.settle(*place) for place in places[start : start + _AT_ONCE]))

    async def _put(self, place: Place, entry: Entry | None, mark: int) -> bool:
        """Put into effect what was read since `mark`; False where the index has changed for this key since. What dies
        while it is put there is taken out: whoever frees it may have been there already.
        """
        vector = await self._vector(entry) if entry is not None else None
        if self._index.changed(*place, mark):
            return False
        if vector is not None:
            await self._index.add(*place, vector)
        if entry is None or vector is None or self._is_dead(entry):
            self._index.discard(*place)
        return True

    def _is_dead(self, entry: Entry) -> bool:
        return is_dead(entry, self._ledger, self._clock())

    async def _vector(self, entry: Entry) -> bytes | None:
        if entry.vector is None or self._embedder is None or self._is_dead(entry):
            return None
        if entry.embedder == self._embedder.identity:
            return entry.vector
        return await self._embedder.embed(entry.question)

    def _advance(self, count: int) -> None:
        before, total = self.progress.seen, max(self.progress.total, 1)
        self.progress = msgspec.structs.replace(self.progress, seen=before + count)
        if before * _TENTHS // total != self.progress.seen * _TENTHS // total:
            _log.info("index: %d of %d entries", self.progress.seen, self.progress.total)
