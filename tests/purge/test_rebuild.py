"""The index made again at a start: what died while it was being embedded stays out, whatever fails is only a miss."""

import asyncio

import msgspec
import pytest
from purge_entries import PARTITION, SCOPE, VECTOR, entry

from edgecache.cache.semantic import SemanticIndex
from edgecache.core.entry import Entry, Scope
from edgecache.core.ledger import UNCOMPARED, Ledger
from edgecache.core.meaning import Meaning
from edgecache.core.purges import Logged, PurgeRecord
from edgecache.core.tags import keys
from edgecache.errors import EmbeddingUnavailable, StoreUnavailable
from edgecache.rebuild import Progress, Rebuild
from edgecache.testing.shared_store import SharedStore


class Entries(SharedStore):
    """A store that may be away for long."""

    def __init__(self, *entries: Entry, broken: bool = False) -> None:
        super().__init__(*entries)
        self.broken = broken

    async def count(self) -> int:
        if self.broken:
            raise StoreUnavailable("away")
        return await super().count()


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


def rebuild(store: SharedStore, index: SemanticIndex, embedder: Embedder | None, ledger: Ledger) -> Rebuild:
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


async def test_what_may_be_served_stale_and_what_has_yet_to_be_compared_is_found() -> None:
    index, ledger, embedder = SemanticIndex(4), Ledger("log"), Embedder()
    embedder.go.set()
    stale = msgspec.structs.replace(entry(1, ttl=0.5), grace=1.0)
    other = msgspec.structs.replace(entry(2), embedder="another")
    record = PurgeRecord("id", (), 0.0, meaning=Meaning(bytes(12) + VECTOR[:4], "e", 0.1))
    ledger.apply(Logged(1, record))
    assert ledger.killer_of(other) is UNCOMPARED
    await rebuild(Entries(stale, other), index, embedder, ledger).run()
    assert await found(index) == [1, 2]


async def test_a_second_pass_drops_what_the_store_no_longer_has_and_embeds_nothing_twice() -> None:
    index, ledger, embedder = SemanticIndex(4), Ledger("log"), Embedder()
    embedder.go.set()
    store = Entries(*(msgspec.structs.replace(entry(number), embedder="another") for number in range(5)))
    made = rebuild(store, index, embedder, ledger)
    await made.run()
    assert await found(index) == [0, 1, 2, 3, 4]
    del store.entries[entry(0).key]
    store.entries[entry(1).key] = entry(1, vector=None)
    store.entries[entry(2).key] = entry(2, ttl=1.0)
    store.entries[entry(7).key] = entry(7)
    mark = index.mark()
    await made.run()
    assert await found(index) == [3, 4, 7]
    assert len(embedder.asked) == 5
    assert not index.changed(SCOPE, PARTITION, entry(3).key, mark), "graphs are not built anew for it"
    assert store.calls["head"] == 3, "only what seems to be gone is looked up one by one"


async def test_what_is_stored_while_a_pass_runs_stays() -> None:
    """It comes after the store was read, or takes the place of what was read."""
    index, ledger = SemanticIndex(4), Ledger("log")
    store = Entries(entry(1), entry(2))
    made = rebuild(store, index, Embedder(), ledger)
    await made.run()
    del store.entries[entry(1).key]
    store.hold("scan done")
    running = asyncio.create_task(made.run())
    await store.reached("scan done")
    for number in (1, 3):
        store.entries[entry(number).key] = entry(number)
        await index.add(SCOPE, PARTITION, entry(number).key, VECTOR)
    store.go("scan done")
    await running
    assert await found(index) == [1, 2, 3]


async def test_what_is_freed_while_a_pass_runs_stays_out() -> None:
    """Another node may free it for a reason that is not known here yet. What is still there is looked up again."""
    index, ledger = SemanticIndex(4), Ledger("log")
    store = Entries(entry(1), entry(2))
    made = rebuild(store, index, Embedder(), ledger)
    store.hold("scan done")
    running = asyncio.create_task(made.run())
    await store.reached("scan done")
    del store.entries[entry(1).key]
    for number in (1, 2):
        index.discard(SCOPE, PARTITION, entry(number).key)
    store.go("scan done")
    await running
    assert await found(index) == [2]


async def test_one_key_is_settled_by_what_the_store_says_in_the_end() -> None:
    """Not by an answer that was overtaken on its way."""
    index, ledger = SemanticIndex(4), Ledger("log")
    store = Entries(entry(1))
    made = rebuild(store, index, Embedder(), ledger)
    store.hold("head done")
    slow = asyncio.create_task(made.settle(SCOPE, PARTITION, entry(1).key))
    await store.reached("head done")
    del store.entries[entry(1).key]
    later = store.let_others("head done")
    await made.settle(SCOPE, PARTITION, entry(1).key)
    later.set()
    await slow
    assert await found(index) == []
    store.entries[entry(1).key] = entry(1)
    await made.settle(SCOPE, PARTITION, entry(1).key)
    await made.settle(Scope("another"), PARTITION, entry(1).key)
    assert await found(index) == [1]
    assert not index.holds(Scope("another"), PARTITION)


async def test_two_passes_at_once_are_two_passes() -> None:
    """Who asks for one while another runs may know of something that the other has gone past."""
    index, store = SemanticIndex(4), Entries(entry(1))
    made = rebuild(store, index, Embedder(), Ledger("log"))
    store.hold("scan done")
    first = asyncio.create_task(made.run())
    await store.reached("scan done")
    second = asyncio.create_task(made.run())
    store.entries[entry(2).key] = entry(2)
    await asyncio.sleep(0)
    assert store.calls["count"] == 1
    store.go("scan done")
    await asyncio.gather(first, second)
    assert await found(index) == [1, 2]
    assert store.calls["count"] == 2
