"""What a reaper works on, with a store, a feed and an audit log in memory."""

import asyncio
import struct
from collections.abc import Sequence

from purge_entries import PARTITION, SCOPE, VECTOR

from edgecache.cache.exact import ExactCache
from edgecache.cache.semantic import SemanticIndex
from edgecache.core.entry import Entry
from edgecache.core.ledger import Ledger
from edgecache.core.meaning import Meaning
from edgecache.core.ports import News, NewsKind
from edgecache.core.purges import Effect, Logged, PurgeRecord
from edgecache.core.tags import Tag, keys
from edgecache.errors import EmbeddingUnavailable
from edgecache.purge.reaper import Reaper
from edgecache.testing.shared_store import SharedAudit, SharedFeed, SharedStore

OTHER = struct.pack("<4f", 0.0, 1.0, 0.0, 0.0)
"""A unit vector at a right angle to VECTOR."""


class Reader:
    """An embedder of known questions; None for others. It can be held, and be away."""

    identity, dimensions = "e", 4

    def __init__(self, **vectors: bytes) -> None:
        self.vectors = vectors
        self.asked: list[str] = []
        self.away = False
        self.reached, self.go = asyncio.Event(), asyncio.Event()
        self.go.set()

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def embed(self, text: str) -> bytes | None:
        self.asked.append(text)
        self.reached.set()
        await self.go.wait()
        if self.away:
            raise EmbeddingUnavailable("gone")
        return self.vectors.get(text)


class Ticks:
    """A clock that runs on by `step` seconds with each look."""

    def __init__(self, step: float = 0.0) -> None:
        self.step = step
        self.now = 0.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now


class Room:
    """One node's side of it."""

    def __init__(self, store: SharedStore | None = None, **vectors: bytes) -> None:
        self.store, self.feed, self.audit = store or SharedStore(), SharedFeed(), SharedAudit()
        self.memory, self.index = ExactCache(1 << 24), SemanticIndex(4)
        self.ledger, self.reader = Ledger("log"), Reader(**vectors)
        self.now, self.ticks = 1.0, Ticks()
        self.reaper = Reaper(
            self.store,
            self.index,
            self.memory,
            self.ledger,
            self.feed,
            self.audit,
            self.reader,
            clock=lambda: self.now,
            interval=3_600.0,
            rest=0.0,
            timer=self.ticks,
        )

    async def admit(self, entry: Entry) -> None:
        """As admission does it: memory, store, index."""
        self.memory.put(entry)
        await self.store.put(entry)
        if entry.vector is not None:
            await self.index.add(entry.scope, entry.partition, entry.key, entry.vector)

    def record(self, tags: Sequence[Tag], effect: Effect = Effect.PURGE, meaning: Meaning | None = None) -> str:
        """A record takes effect on this node; its id."""
        sequence = self.ledger.applied + 1
        logged = Logged(sequence, PurgeRecord(f"id-{sequence}", tuple(tags), self.now, effect, meaning))
        self.ledger.apply(logged)
        self.reaper.heard(logged)
        return f"id-{sequence}"

    def purge(self, *tags: str) -> str:
        return self.record(keys(tags))

    def soften(self, *tags: str) -> str:
        return self.record(keys(tags), Effect.SOFT)

    def purge_meaning(self, vector: bytes = VECTOR, scope: str = "", embedder: str = "e") -> str:
        return self.record((), meaning=Meaning(vector, embedder, 0.1, scope))

    async def left(self) -> list[tuple[int, ...]]:
        """Keys in memory, store and index."""
        found = [neighbour.key for neighbour in await self.index.search(SCOPE, PARTITION, VECTOR, 100)]
        held = [entry.key for entry in self.memory]
        return [tuple(sorted(map(number, part))) for part in (held, self.store.entries, found)]

    def told(self) -> list[int]:
        """Keys that others were told are gone."""
        assert all(news.kind is NewsKind.GONE for news in self.feed.told)
        return [number(news.key) for news in self.feed.told]

    def compared(self, key: int) -> tuple[int, int]:
        """Up to which purge by meaning the copies in memory and store were compared."""
        held = self.memory.peek(SCOPE, key.to_bytes(16, "big"))
        assert held is not None
        return held.compared_to, self.store.entries[held.key].compared_to


def gone(entry: Entry) -> News:
    return News(NewsKind.GONE, entry.scope, entry.partition, entry.key)


def number(key: bytes) -> int:
    return int.from_bytes(key, "big")
