"""News of other nodes: what it does here, and what it does not when something else came in between."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest
from sharing_nodes import PARTITION, SCOPE, VECTOR, Node, entry, news, quiet, until

from edgecache.core.entry import Scope
from edgecache.core.ports import NewsKind
from edgecache.core.purges import Effect
from edgecache.core.tags import keys
from edgecache.errors import StoreUnavailable
from edgecache.sharing import AT_ONCE
from edgecache.testing.shared_store import SharedAudit, SharedFeed, SharedStore


class Pair:
    """Two nodes, `a` and `b`, and what they share."""

    def __init__(self) -> None:
        self.store, self.audit = SharedStore(), SharedAudit()
        self.feeds = SharedFeed(), SharedFeed()
        for feed, other in zip(self.feeds, reversed(self.feeds), strict=True):
            feed.others.append(other)
        self.a, self.b = (Node(self.store, feed, self.audit) for feed in self.feeds)

    def bring(self, *of: tuple[int, NewsKind]) -> None:
        """News for `b` of these keys."""
        self.feeds[1].bring([news(entry(key), kind) for key, kind in of])

    def hear(self, *tags: str) -> None:
        self.a.hear(*tags)
        self.b.hear(*tags)


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    made = Pair()
    for node in (made.a, made.b):
        await node.open()
    yield made
    for node in (made.a, made.b):
        await node.close()
        await node.close()


STORED, GONE = NewsKind.STORED, NewsKind.GONE


async def test_what_one_node_stores_is_found_on_the_other(pair: Pair) -> None:
    await pair.a.admit(entry(1, body=b"first"))
    await quiet(pair.b, 1)
    assert await pair.b.found() == [1]
    assert await pair.b.look(1) == b"first"
    await pair.a.admit(entry(1, body=b"second", stored_at=1.0))
    await quiet(pair.b, 2)
    assert await pair.b.look(1) == b"second"
    assert await pair.b.found() == [1]
    assert repr(pair.b.sharing) == "<Sharing heard=2 due=0 missed=0>"


async def test_what_is_purged_is_in_no_index_and_no_memory(pair: Pair) -> None:
    for key in range(20):
        await pair.a.admit(entry(key, "odd" if key % 2 else "even"))
    await quiet(pair.b, 20)
    for key in range(20):
        await pair.b.look(key)
    pair.hear("odd")
    assert await pair.a.reaper.sweep() == 10
    await quiet(pair.b, 30)
    for node in (pair.a, pair.b):
        assert await node.found() == node.held() == list(range(0, 20, 2))


async def test_a_replacement_without_a_vector_is_not_found_by_its_predecessors(pair: Pair) -> None:
    await pair.a.admit(entry(1))
    await quiet(pair.b, 1)
    await pair.a.admit(entry(1, vector=None, stored_at=1.0))
    await quiet(pair.b, 2)
    assert await pair.b.found() == []


async def test_what_is_dead_here_already_is_not_found(pair: Pair) -> None:
    pair.b.hear("a")
    pair.store.entries[entry(1).key] = entry(1, "a")
    pair.store.entries[entry(2).key] = entry(2, ttl=0.5)
    pair.bring((1, STORED), (2, STORED))
    await quiet(pair.b, 2)
    assert await pair.b.found() == []


async def test_gone_is_overtaken_by_a_newer_one(pair: Pair) -> None:
    """The store decides, not the news."""
    await pair.a.admit(entry(1))
    await quiet(pair.b, 1)
    pair.bring((1, GONE))
    await quiet(pair.b, 2)
    assert await pair.b.found() == [1]


async def test_gone_while_the_entry_is_being_looked_up(pair: Pair) -> None:
    """The lookup has seen it; it is freed, by a node that knows of a purge before this one does."""
    pair.store.entries[entry(1).key] = entry(1)
    pair.store.hold("head done")
    pair.bring((1, STORED))
    await pair.store.reached("head done")
    del pair.store.entries[entry(1).key]
    pair.bring((1, GONE))
    await until(lambda: pair.b.sharing.statistics().heard == 2)
    pair.store.go("head done")
    await quiet(pair.b, 2)
    assert await pair.b.found() == []


async def test_what_is_gone_and_was_never_known_costs_no_look(pair: Pair) -> None:
    pair.bring(*((key, GONE) for key in range(100)))
    await quiet(pair.b, 100)
    assert pair.store.calls["head"] == 0


async def test_what_dies_while_it_is_embedded_stays_out(pair: Pair) -> None:
    pair.store.entries[entry(1).key] = entry(1, "a", embedder="another")
    pair.store.entries[entry(2).key] = entry(2, "b", embedder="another")
    pair.b.embedder.go.clear()
    pair.bring((1, STORED), (2, STORED))
    await pair.b.embedder.reached.wait()
    pair.b.hear("a")
    pair.b.embedder.go.set()
    await quiet(pair.b, 2)
    assert await pair.b.found() == [2]


async def test_without_the_model_another_models_entries_are_found_exactly_only(pair: Pair) -> None:
    pair.store.entries[entry(1).key] = entry(1, embedder="another")
    pair.b.embedder.away = True
    pair.bring((1, STORED))
    await quiet(pair.b, 1)
    assert await pair.b.found() == []
    assert pair.b.sharing.statistics().unembedded == 1
    assert await pair.b.look(1) is not None


async def test_many_are_looked_up_a_few_at_a_time_and_each_once(pair: Pair) -> None:
    for key in range(50):
        pair.store.entries[entry(key).key] = entry(key)
    pair.store.hold("head")
    pair.bring(*((key, STORED) for key in range(50)))
    pair.bring(*((key, STORED) for key in range(AT_ONCE, 50)))
    await until(lambda: pair.b.sharing.statistics().heard == 100 - AT_ONCE)
    for _ in range(10):
        await asyncio.sleep(0)
    assert pair.store.calls["head"] == AT_ONCE
    pair.store.go("head")
    await quiet(pair.b, 100 - AT_ONCE)
    assert pair.store.calls["head"] == 50
    assert await pair.b.found() == list(range(50))


async def test_missed_news(pair: Pair) -> None:
    for key in range(3):
        await pair.a.admit(entry(key, body=b"old"))
    await quiet(pair.b, 3)
    for key in range(3):
        await pair.b.look(key)
    pair.store.entries[entry(0).key] = entry(0, body=b"new", stored_at=1.0)
    del pair.store.entries[entry(1).key]
    pair.store.entries[entry(3).key] = entry(3)
    pair.feeds[1].bring(None)
    await until(lambda: pair.b.sharing.statistics().missed == 1)
    assert pair.b.held() == []
    await until(lambda: pair.b.rebuild.progress.state == "done" and not pair.b.sharing.busy)
    assert await pair.b.found() == [0, 2, 3]
    assert await pair.b.look(0) == b"new"


async def test_more_than_can_wait_is_looked_for_in_the_whole_store(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgecache.sharing.MOST", 20)
    for key in range(50):
        pair.store.entries[entry(key).key] = entry(key)
    pair.bring(*((key, STORED) for key in range(50)))
    await quiet(pair.b, 50)
    assert await pair.b.found() == list(range(50))
    assert pair.store.calls["head"] <= AT_ONCE


async def test_a_store_that_was_away_is_looked_through(pair: Pair) -> None:
    pair.store.entries[entry(1).key] = entry(1)
    pair.store.fail("head")
    pair.bring((1, STORED))
    await quiet(pair.b, 1)
    assert await pair.b.found() == [1]


async def test_a_bug_in_one_lookup_is_said_and_ends_nothing(pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    pair.store.entries[entry(1).key] = entry(1)
    pair.store.fail("head", RuntimeError("a bug"))
    pair.bring((1, STORED))
    await quiet(pair.b, 1)
    assert "a bug" in caplog.text
    pair.bring((1, STORED))
    await quiet(pair.b, 2)
    assert await pair.b.found() == [1]


@pytest.mark.parametrize("error", [StoreUnavailable("closed"), RuntimeError("a bug")])
async def test_a_feed_that_ends_is_followed_again(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    monkeypatch.setattr("edgecache.sharing.RETRY", 0.0)
    node, follow, times = pair.b, pair.feeds[1].follow, iter([error])
    await node.sharing.close()

    def failing() -> AsyncIterator[object]:
        if (broken := next(times, None)) is not None:
            raise broken
        return follow()

    monkeypatch.setattr(pair.feeds[1], "follow", failing)
    await node.sharing.open()
    await until(lambda: node.sharing.statistics().missed == 1)
    await pair.a.admit(entry(1))
    await quiet(node, 1)
    assert await node.found() == [1]
    assert str(error) in caplog.text


async def test_the_index_found_what_the_store_does_not_have(pair: Pair) -> None:
    for key in (1, 2):
        await pair.b.index.add(SCOPE, PARTITION, entry(key).key, VECTOR)
        pair.b.sharing.missing(SCOPE, PARTITION, entry(key).key)
    pair.store.entries[entry(2).key] = entry(2)  # it has come just now
    await quiet(pair.b, 0)
    assert await pair.b.found() == [2]


async def test_a_place_in_the_feed_is_taken_at_the_start() -> None:
    """So nothing falls between it and the first pass over the store."""
    pair = Pair()
    await pair.a.open()
    pair.store.hold("scan done")
    await pair.b.open()
    first = asyncio.create_task(pair.b.rebuild.run())
    await pair.a.admit(entry(1))
    await pair.a.admit(entry(2))
    pair.store.go("scan done")
    await first
    await quiet(pair.b, 2)
    assert await pair.b.found() == [1, 2]
    for node in (pair.a, pair.b):
        await node.close()


# --- claims -----------------------------------------------------------------------------------------------------------


async def test_a_claim_drops_what_lacks_its_tags(pair: Pair) -> None:
    """Node a has added a tag to what both hold; then that tag is purged."""
    await pair.a.admit(entry(1, "a", body=b"old"))
    await quiet(pair.b, 1)
    assert await pair.b.look(1) == b"old"
    claimed = entry(1, "a", "b", body=b"old")
    assert await pair.store.replace(entry(1, "a", body=b"old"), claimed)
    pair.b.hear("b", effect=Effect.CLAIM, claimed=claimed)
    assert pair.b.held() == []
    assert await pair.b.look(1) == b"old"
    pair.b.hear("b", effect=Effect.CLAIM, claimed=claimed)
    assert pair.b.held() == [1], "it has the tag"
    pair.b.hear("b")
    assert await pair.b.look(1) is None


async def test_a_claim_while_the_entry_is_read_from_the_store(pair: Pair) -> None:
    """What was read lacks the tag: it must not stay."""
    pair.store.entries[entry(1).key] = entry(1, "a")
    pair.store.hold("find done")
    looking = asyncio.create_task(pair.b.look(1))
    await pair.store.reached("find done")
    claimed = entry(1, "a", "b")
    await pair.store.put(claimed)
    pair.b.hear("b", effect=Effect.CLAIM, claimed=claimed)
    pair.store.go("find done")
    assert await looking is not None, "it was asked for before the purge"
    pair.b.hear("b")
    assert await pair.b.look(1) is None


async def test_a_replacement_while_its_predecessor_is_read_from_the_store(pair: Pair) -> None:
    pair.store.entries[entry(1).key] = entry(1, body=b"old")
    pair.store.hold("find done")
    looking = asyncio.create_task(pair.b.look(1))
    await pair.store.reached("find done")
    await pair.a.admit(entry(1, body=b"new", stored_at=1.0))
    await until(lambda: pair.b.sharing.statistics().heard == 1)
    pair.store.go("find done")
    assert await looking == b"old"
    assert await pair.b.look(1) == b"new"


async def test_other_records_and_other_entries_are_no_matter(pair: Pair) -> None:
    await pair.b.admit(entry(1, "a"))
    await pair.b.admit(entry(2, "a"))
    pair.b.hear("b", effect=Effect.CLAIM)
    pair.b.hear("b", effect=Effect.CLAIM, claimed=entry(2))
    pair.b.hear("b", effect=Effect.CLAIM, claimed=msgspec.structs.replace(entry(1), scope=Scope("another")))
    pair.b.hear("b", effect=Effect.SOFT)
    assert pair.b.held() == [1]
    assert keys(["a"]) == next(iter(pair.b.memory)).tags
