"""Two nodes on one real Redis: what one stores the other finds, and what is purged is nowhere."""

import asyncio
from collections.abc import Awaitable, Callable

from sharing_nodes import VECTOR, OnRedis, entry, news, quiet, until

from edgecache.core.meaning import Meaning
from edgecache.core.ports import AuditLine
from edgecache.core.purges import Effect
from edgecache.core.tags import keys

Begin = Callable[[], Awaitable[OnRedis]]


async def test_filled_on_one_found_on_the_other_replaced_and_purged(begin: Begin) -> None:
    a, b = await begin(), await begin()
    for key in range(30):
        await a.admit(a.fresh(key, "odd" if key % 2 else "even", body=b"first"))
    await quiet(b, 30)
    assert await b.found() == list(range(30))
    assert [await b.look(key) for key in range(30)] == [b"first"] * 30

    await a.admit(a.fresh(2, "even", body=b"second"))
    await quiet(b, 31)
    assert await b.look(2) == b"second"

    name = await a.purge("odd")
    await a.storage.audit.write(AuditLine(id=name, at=0.0, who="w", what=("odd",), of=1, effect="purge"))
    assert await a.reaper.sweep() == 15
    await quiet(b, 46)
    for node in (a, b):
        assert await node.found() == node.held() == list(range(0, 30, 2))
    await until(lambda: b.ledger.applied == 1)
    assert await b.look(1) is None
    assert await b.reaper.sweep() == 0, "nothing is left of it"
    line = await b.storage.audit.line(name)
    assert line is not None and line.entries == 15


async def test_both_free_at_once_and_each_entry_counts_once(begin: Begin) -> None:
    a, b = await begin(), await begin()
    for key in range(60):
        await (a if key % 3 else b).admit(a.fresh(key, "t"))
    await quiet(a, 20)
    await quiet(b, 40)
    await a.purge("t")
    await until(lambda: b.ledger.applied == 1)
    freed = await asyncio.gather(a.reaper.sweep(), b.reaper.sweep())
    assert sum(freed) == 60
    for node, others in ((a, 20 + freed[1]), (b, 40 + freed[0])):
        await quiet(node, others)
        assert await node.found() == node.held() == []
        assert await node.storage.store.count() == 0


async def test_a_new_answer_of_another_node_survives_the_reaper_of_this_one(begin: Begin) -> None:
    a, b = await begin(), await begin()
    await a.admit(a.fresh(1, "t", body=b"old"))
    await quiet(b, 1)
    await a.purge("t")
    await until(lambda: b.ledger.applied == 1)
    await b.admit(b.fresh(1, "t", body=b"new"))
    assert await a.reaper.sweep() == 0
    await quiet(a, 1)
    for node in (a, b):
        assert await node.found() == [1]
        assert await node.look(1) == b"new"


async def test_a_purge_by_meaning(begin: Begin) -> None:
    """One entry has no vector: the node that frees embeds its question, the other is spared that."""
    a, b = await begin(), await begin()
    far = b"\0" * 12 + VECTOR[:4]
    await a.admit(a.fresh(1))
    await a.admit(a.fresh(2, vector=far))
    await a.admit(a.fresh(3, vector=None))
    await quiet(b, 3)
    for key in (1, 2, 3):
        await b.look(key)
    await a.purge(meaning=Meaning(VECTOR, "e", 0.1))
    assert await a.reaper.sweep() == 2
    await quiet(b, 5)
    await until(lambda: b.ledger.applied == 1)
    for node in (a, b):
        assert node.held() == [2]
        assert await node.found() == [2]
    stored = await b.store.head(entry(2).key)
    assert stored is not None and stored.compared_to == 1
    assert b.reaper.statistics().passes == 0


async def test_a_node_that_comes_later_finds_what_was_there(begin: Begin) -> None:
    a = await begin()
    for key in range(10):
        await a.admit(a.fresh(key, "t" if key < 5 else "u"))
    await a.purge("t")
    b = await begin()
    assert await b.found() == list(range(5, 10))
    await a.admit(a.fresh(20))
    await quiet(b, 1)
    assert await b.found() == [*range(5, 10), 20]


async def test_news_that_never_came(begin: Begin) -> None:
    """They were dropped, or trimmed: the store says what is so."""
    a, b = await begin(), await begin()
    for key in range(5):
        await a.admit(a.fresh(key, "t" if key < 3 else "u"))
    await quiet(b, 5)
    for key in range(5):
        await b.look(key)
    silent, a.storage.feed.tell = a.storage.feed.tell, lambda news: None  # type: ignore[method-assign]
    await a.purge("t")
    await a.reaper.sweep()
    await a.admit(a.fresh(9))
    a.storage.feed.tell = silent  # type: ignore[method-assign]
    a.storage.feed._drop(1)
    a.storage.feed._queued.set()
    await until(lambda: b.sharing.statistics().missed == 1)
    await quiet(b, 5)
    assert b.held() == []
    assert await b.found() == [3, 4, 9]


async def test_a_claimed_tag_takes_back_what_every_node_holds(begin: Begin) -> None:
    a, b = await begin(), await begin()
    first = a.fresh(1, "t")
    await a.admit(first)
    await quiet(b, 1)
    assert await b.look(1) is not None
    claimed = a.fresh(1, "t", "u", stored_at=first.stored_at)
    assert await a.store.replace(first, claimed)
    await a.log.order(keys(["u"]), effect=Effect.CLAIM, claimed=(claimed.scope, claimed.key))
    await a.purge("u")
    await until(lambda: b.ledger.applied == 2)
    assert await b.look(1) is None
    assert await a.look(1) is None


async def test_what_is_told_of_entries_that_are_gone_long_since(begin: Begin) -> None:
    """As the server sends it, with other news, and twice."""
    a, b = await begin(), await begin()
    a.storage.feed.tell([news(entry(key)) for key in range(200)] * 2)
    await quiet(b, 400)
    assert await b.found() == []
