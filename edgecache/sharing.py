"""What one node has stored is found on the others: the news of the feed, put into effect here."""

import asyncio
import logging
from collections.abc import Sequence

import msgspec

from edgecache.cache.exact import ExactCache
from edgecache.cache.semantic import SemanticIndex
from edgecache.core.entry import Entry, Scope
from edgecache.core.ports import Feed, News, NewsKind
from edgecache.core.purges import Effect, Logged
from edgecache.errors import EmbeddingUnavailable, StoreUnavailable
from edgecache.rebuild import Place, Rebuild

AT_ONCE = 8
"""Keys looked up in the store at the same time."""
MOST = 100_000
"""Keys that may wait for that. When there are more, the whole store is looked through instead."""
RETRY = 1.0
"""Seconds between two attempts to follow a feed that failed."""

_log = logging.getLogger("edgecache.sharing")


class SharingStatistics(msgspec.Struct, frozen=True):
    """News `heard` of, keys `due` to be looked up, and looked up so far; how often news was `missed`; `unembedded`
    entries are found exactly only, because their vectors are another model's and none could be made here.
    """

    heard: int
    due: int
    settled: int
    missed: int
    unembedded: int


class Sharing:
    """News names a key and says nothing else that counts: what is so is read from the store, once for all news of a key
    that came meanwhile. `open` takes the place in the feed: what is stored from then on is not missed, and a first pass
    of `rebuild` that begins later finds what was there before.
    """

    def __init__(
        self,
        feed: Feed,
        index: SemanticIndex,
        memory: ExactCache,
        rebuild: Rebuild,
    ) -> None:
        self._feed = feed
        self._index = index
        self._memory = memory
        self._rebuild = rebuild
        self._due: dict[Place, None] = {}
        self._settling: set[asyncio.Task[None]] = set()
        self._behind = asyncio.Event()
        self._catching_up = False
        self._tasks: list[asyncio.Task[None]] = []
        self._heard = self._settled = self._missed = self._unembedded = 0

    async def open(self) -> None:
        await self._feed.open()
        self._tasks = [asyncio.create_task(self._follow()), asyncio.create_task(self._catch_up())]

    async def close(self) -> None:
        tasks, self._tasks = [*self._tasks, *self._settling], []
        self._due.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._feed.close()

    # --- what is told ---------------------------------------------------------------------------------------------

    def stored(self, entry: Entry) -> None:
        """An entry of this node is in the store, and in the index here."""
        self._feed.tell([News(NewsKind.STORED, entry.scope, entry.partition, entry.key)])

    # --- what is heard --------------------------------------------------------------------------------------------

    def claimed(self, logged: Logged) -> None:
        """A record took effect: where an entry carries more tags from now on, what is here without them goes. What is
        being read from the store at this moment may lack them too.
        """
        record = logged.record
        if record is None or record.effect is not Effect.CLAIM or record.claimed is None:
            return
        scope, key = Scope(record.claimed[0]), record.claimed[1]
        held = self._memory.peek(scope, key)
        if held is not None and set(record.tags).issubset(held.tags):
            self._memory.note(scope, key)
        else:
            self._memory.discard(scope, key)

    def missing(self, scope: Scope, partition: bytes, key: bytes) -> None:
        """The index has found this key, and the store has nothing there: the index forgets it soon, unless something
        has come meanwhile.
        """
        self._want([(scope, partition, key)])

    async def _follow(self) -> None:
        while True:
            try:
                async for news in self._feed.follow():
                    self._hear(news)
            except StoreUnavailable as error:
                _log.warning("cannot follow the news of other nodes: %s", error)
            except Exception:  # noqa: BLE001  the task's boundary: without it nothing would be shared any more
                _log.exception("following the news of other nodes failed, trying again")
            self._hear(None)
            await asyncio.sleep(RETRY)

    def _hear(self, news: Sequence[News] | None) -> None:
        """What memory holds goes at once: what replaced it is read when it is asked for."""
        if news is None:
            self._miss()
            return
        self._heard += len(news)
        for one in news:
            self._memory.discard(one.scope, one.key)
        self._want([(one.scope, one.partition, one.key) for one in news if not self._settled_at_once(one)])

    def _settled_at_once(self, news: News) -> bool:
        """What is gone and not in the index needs no look at the store. That it was discarded has to be known, should
        someone be about to add what he read there before.
        """
        place = (news.scope, news.partition, news.key)
        if news.kind is not NewsKind.GONE or self._index.knows(*place):
            return False
        self._index.discard(*place)
        return True

    def _want(self, places: Sequence[Place]) -> None:
        self._due |= dict.fromkeys(places)
        if len(self._due) > MOST:
            self._due.clear()
            self._miss()
        self._start()

    def _miss(self) -> None:
        self._missed += 1
        self._memory.clear()
        self._behind.set()

    # --- what follows ---------------------------------------------------------------------------------------------

    def _start(self) -> None:
        while self._due and len(self._settling) < AT_ONCE:
            place = next(iter(self._due))
            del self._due[place]
            task = asyncio.create_task(self._settle(place))
            self._settling.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._settling.discard(task)
        self._start()

    async def _settle(self, place: Place) -> None:
        try:
            await self._rebuild.settle(*place)
            self._settled += 1
        except EmbeddingUnavailable:
            self._unembedded += 1
        except StoreUnavailable:
            self._behind.set()
        except Exception:  # noqa: BLE001  the task's boundary: nobody waits for it
            _log.exception("news of an entry could not be put into effect")

    async def _catch_up(self) -> None:
        while True:
            await self._behind.wait()
            self._behind.clear()
            self._catching_up = True
            await self._rebuild.run()
            self._catching_up = False

    @property
    def busy(self) -> bool:
        """Whether anything heard so far is still to be put into effect."""
        return bool(self._due or self._settling or self._catching_up or self._behind.is_set())

    def statistics(self) -> SharingStatistics:
        return SharingStatistics(self._heard, len(self._due), self._settled, self._missed, self._unembedded)

    def __repr__(self) -> str:
        return f"<Sharing heard={self._heard} due={len(self._due)} missed={self._missed}>"
