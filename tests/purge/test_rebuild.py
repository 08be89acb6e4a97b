"""The index made again at a start: what died while it was being embedded stays out, whatever fails is only a miss."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import msgspec
import pytest
from purge_entries import PARTITION, SCOPE, VECTOR, entry

from edgecache.cache.semantic import SemanticIndex
from edgecache.core.entry import Entry
from edgecache.core.ledger import Ledger
from edgecache.core.purges import Logged, PurgeRecord
from edgecache.core.tags import keys
from edgecache.errors import EmbeddingUnavailable, StoreUnavailable
from edgecache.rebuild import Progress, Rebuild


class Entries:
    def __init__(self, *entries: Entry, broken: bool = False) -> None:
        self.entries, self.broken = entries, broken

    async def count(self) -> int:
        return len(self.entries)

    async def scan(self) -> AsyncIterator[Sequence[Entry]]:
        if self.broken:
            raise StoreUnavailable("away")
        yield self.entries


class Embedder:
    identity, dimensions = "e", 4

    def __init__(self, fails: bool = False) -> None:
        self.asked: list[str] = []
        self.reached, self.go = asyncio.Event(), asyncio.Event()
        self.fails = fails

    async def embed(self, text: str) -> bytes | None:
        self.asked.append(text)
        self.reached.set()
        if self.fails:
            raise EmbeddingUnavailable("gone")
        await self.go.wait()
        return VECTOR


def purged(ledger: Ledger, tag: str) -> None:
    ledger.apply(Logged(ledger.applied + 1, PurgeRecord("id", keys([tag]), 0.0)))


async def found(index: SemanticIndex) -> list[int]:
    return sorted(int.from_bytes(n.key, "big") for n in await index.search(SCOPE, PARTITION, VECTOR, 10))


def rebuild(store: Entries, index: SemanticIndex, embedder: Embedder | None, ledger: Ledger) -> Rebuild:
    return Rebuild(store, index, embedder, ledger, clock=lambda: 1.0)


async def test_the_living_are_found_again() -> None:
    index, ledger, embedder = SemanticIndex(4), Ledger("log"), Embedder()
    purged(ledger, "a")
    store = Entries(entry(1), entry(2, "a"), entry(3, ttl=1.0), entry(4, vector=None), entry(5, "a", sequence=1))
    made = rebuild(store, index, embedder, ledger)
    assert made.progress == Progress("waiting", 0, 0)
    await made.run()
    assert await found(index) == [1, 5]
    assert made.progress == Progress("done", 5, 5)
    assert embedder.asked == []


async def test_another_models_vectors_are_made_again_and_what_is_purged_meanwhile_stays_out() -> None:
    index, ledger, embedder = SemanticIndex(4), Ledger("log"), Embedder()
    other = msgspec.structs.replace(entry(1, "a"), embedder="another")
    made = rebuild(Entries(other, msgspec.structs.replace(entry(2), embedder="another")), index, embedder, ledger)
    running = asyncio.create_task(made.run())
    await embedder.reached.wait()
    purged(ledger, "a")
    embedder.go.set()
    await running
    assert await found(index) == [2]


@pytest.mark.parametrize("part", ["store", "embedder"])
async def test_what_fails_is_said_and_tried_again_with_growing_pauses(part: str) -> None:
    store = Entries(msgspec.structs.replace(entry(1), embedder="another"), broken=part == "store")
    embedder, index, pauses = Embedder(fails=part == "embedder"), SemanticIndex(4), []
    embedder.go.set()

    async def pause(seconds: float) -> None:
        assert made.progress.state == "failed"
        pauses.append(seconds)
        if len(pauses) == 9:
            store.broken = embedder.fails = False

    made = Rebuild(store, index, embedder, Ledger("log"), clock=lambda: 1.0, pause=pause)
    await made.run()
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert made.progress == Progress("done", 1, 1)
    assert await found(index) == [1]


async def test_without_an_embedder_nothing_is_indexed() -> None:
    made = rebuild(Entries(entry(1)), index := SemanticIndex(4), None, Ledger("log"))
    await made.run()
    assert await found(index) == []
