"""Nodes of which each has its own memory, index and ledger, and all have one store and one feed."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import msgspec

from edgecache.cache.exact import ExactCache
from edgecache.cache.semantic import SemanticIndex
from edgecache.core.entry import Entry, Framing, Horizon, Scope, Source
from edgecache.core.ledger import Ledger
from edgecache.core.meaning import Meaning
from edgecache.core.ports import Audit, Feed, News, NewsKind, Store
from edgecache.core.purges import Effect, Logged, PurgeRecord
from edgecache.core.tags import keys
from edgecache.errors import EmbeddingUnavailable
from edgecache.purge.log import PurgeLog
from edgecache.purge.reaper import Reaper
from edgecache.rebuild import Rebuild
from edgecache.sharing import Sharing
from edgecache.storage.redis import RedisStorage

SCOPE, PARTITION = Scope("team"), b"p" * 16
VECTOR = b"\0\0\x80\x3f" + bytes(12)


def entry(number: int, *tags: str, sequence: int = 0, body: bytes = b"{}", **changes: Any) -> Entry:
    whole = Entry(
        key=number.to_bytes(16, "big"),
        scope=SCOPE,
        partition=PARTITION,
        question="?",
        vector=VECTOR,
        embedder="e",
        tags=keys(tags),
        horizon=Horizon("log", sequence),
        stored_at=0.0,
        ttl=1e10,
        source=Source.UPSTREAM,
        route="r",
        model="m",
        dialect="openai",
        framing=Framing.JSON,
        content_type="application/json",
        headers=(),
        body=body,
    )
    return msgspec.structs.replace(whole, **changes)


def number(key: bytes) -> int:
    return int.from_bytes(key, "big")


def news(of: Entry, kind: NewsKind = NewsKind.STORED) -> News:
    return News(kind, of.scope, of.partition, of.key)


class Embedder:
    """All questions mean the same."""

    identity, dimensions = "e", 4

    def __init__(self) -> None:
        self.away = False
        self.turns: Callable[[], int] = lambda: 0
        self.reached, self.go = asyncio.Event(), asyncio.Event()
        self.go.set()

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def embed(self, text: str) -> bytes | None:
        self.reached.set()
        await self.go.wait()
        for _ in range(self.turns()):
            await asyncio.sleep(0)
        if self.away:
            raise EmbeddingUnavailable("gone")
        return VECTOR


class Node:
    def __init__(self, store: Store, feed: Feed, audit: Audit, *, clock: Callable[[], float] = lambda: 1.0) -> None:
        self.store, self.feed = store, feed
        self.memory, self.index, self.ledger = ExactCache(1 << 24), SemanticIndex(4), Ledger("log")
        self.embedder, self.writing = Embedder(), defaultdict[bytes, asyncio.Lock](asyncio.Lock)
        self.rebuild = Rebuild(store, self.index, self.embedder, self.ledger, clock=clock)
        self.sharing = Sharing(feed, self.index, self.memory, self.rebuild)
        self.reaper = Reaper(
            store, self.index, self.memory, self.ledger, feed, audit, self.embedder, clock=clock, interval=3_600.0
        )

    async def open(self) -> None:
        await self.index.open()
        await self.sharing.open()

    async def close(self) -> None:
        await self.sharing.close()
        await self.reaper.close()
        await self.index.close()

    async def admit(self, entry: Entry) -> None:
        """As admission does it: memory, store, index, news. One write of an entry at a time."""
        async with self.writing[entry.key]:
            self.memory.put(entry)
            await self.store.put(entry)
        if entry.vector is not None:
            await self.index.add(entry.scope, entry.partition, entry.key, entry.vector)
        self.sharing.stored(entry)

    async def look(self, key: int) -> bytes | None:
        """What a request for it is answered with: as the flow does it, without asking anyone else."""
        of = entry(key)
        held = self.memory.get(SCOPE, of.key)
        if held is None:
            mark = self.memory.mark()
            held = await self.store.get(SCOPE, of.key)
            if held is not None:
                self.memory.load(held, mark)
        return held.body if held is not None and self.ledger.killer_of(held) is None else None

    def hear(self, *tags: str, effect: Effect = Effect.PURGE, claimed: Entry | None = None) -> None:
        """A record of the log takes effect."""
        named = (claimed.scope, claimed.key) if claimed is not None else None
        record = PurgeRecord(f"id-{self.ledger.applied + 1}", keys(tags), 0.0, effect, claimed=named)
        logged = Logged(self.ledger.applied + 1, record)
        self.ledger.apply(logged)
        self.sharing.claimed(logged)
        self.reaper.heard(logged)

    async def found(self) -> list[int]:
        """Keys that a question in other words finds."""
        return sorted(number(near.key) for near in await self.index.search(SCOPE, PARTITION, VECTOR, 1_000))

    def held(self) -> list[int]:
        return sorted(number(entry.key) for entry in self.memory)


class OnRedis(Node):
    """With a log as well, in time as it is."""

    def __init__(self, url: str, prefix: str, name: str, new_id: Callable[[], str]) -> None:
        self.storage = RedisStorage(url, prefix, node=name)
        super().__init__(self.storage.store, self.storage.feed, self.storage.audit, clock=time.time)
        self.log = PurgeLog(
            self.storage.log,
            self.storage.registry,
            self.ledger,
            clock=time.time,
            monotonic=time.monotonic,
            new_id=new_id,
        )
        self.log.on_record(self.sharing.claimed)
        self.log.on_record(self.reaper.heard)

    async def open(self) -> None:
        await self.storage.open()
        await self.log.open()
        await super().open()
        await self.rebuild.run()

    async def close(self) -> None:
        await super().close()
        await self.log.close()
        await self.storage.close()

    def fresh(self, key: int, *tags: str, **changes: Any) -> Entry:
        """Filled now."""
        return entry(key, *tags, **{"horizon": self.ledger.horizon(), "stored_at": time.time(), "ttl": 600.0} | changes)

    async def purge(self, *tags: str, meaning: Meaning | None = None) -> str:
        """As the purge API of this node does it."""
        ordered = await self.log.order(keys(tags), meaning=meaning)
        self.reaper.ordered(ordered.record.id)
        return ordered.record.id


async def until(condition: Callable[[], bool]) -> None:
    """What a feed brings cannot be waited for by an event: this looks, at every turn of the event loop."""
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0)


async def quiet(node: Node, heard: int) -> None:
    """Returns when a node has heard of so much news and nothing of it is left to be done."""

    def settled() -> bool:
        return node.sharing.statistics().heard >= heard and not node.sharing.busy

    await until(settled)
