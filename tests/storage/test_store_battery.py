"""What the port `Store` promises, of every implementation."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from storage_samples import SCOPE, Storage, entry, scanned

from edgecache.core.entry import Horizon, Scope
from edgecache.core.tags import Kind, Tag
from edgecache.errors import StoreUnavailable
from edgecache.storage.sqlite import SqliteStorage

ODD = "naïve \x00 \u202eabc 👩‍👩‍👧 \uffff \U0010ffff e\u0301"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"question": ODD, "route": ODD, "scope": Scope(ODD), "tags": (Tag(Kind.KEY, ODD),), "headers": ((ODD, ODD),)},
        {"vector": None, "body": b"", "tags": (), "headers": (), "question": ""},
        {"key": b"\x00" * 16, "partition": b"*" * 16},
        {"key": b"\n\r*?[]{}\xff\x00abcdef", "ttl": 0.5 + 86_400 * 365},
        {"ttl": float("inf")},
        {"body": bytes(range(256)) * 40_000},
    ],
    ids=["plain", "unicode", "empty", "zero key", "odd key", "for ever", "10 MB"],
)
async def test_what_was_put_comes_back_field_by_field(storage: Storage, changes: dict[str, Any]) -> None:
    stored = entry(**changes)
    await storage.store.put(stored)
    assert await storage.store.get(stored.scope, stored.key) == stored
    assert await storage.store.find(stored.key) == stored
    assert await scanned(storage.store) == {stored.key: msgspec.structs.replace(stored, body=b"")}


async def test_another_scope_gets_nothing(storage: Storage) -> None:
    """Rule 7 of the house: the key alone opens nothing."""
    await storage.store.put(entry(1))
    assert await storage.store.get(Scope("other"), entry(1).key) is None
    assert await storage.store.delete([entry(1, scope=Scope("other"))]) == []
    assert await storage.store.get(SCOPE, entry(1).key) is not None


async def test_replacing_leaves_one_entry(storage: Storage) -> None:
    await storage.store.put(entry(1))
    changed = entry(1, body=b"new", question="new?", vector=None)
    await storage.store.put(changed)
    assert await storage.store.get(SCOPE, changed.key) == changed
    assert await storage.store.count() == 1


async def test_delete_counts_what_was_there(storage: Storage) -> None:
    await asyncio.gather(*(storage.store.put(entry(number)) for number in range(5)))
    doomed = [await storage.store.head(entry(number).key) or entry(number) for number in (1, 3, 3, 99)]
    assert await storage.store.delete(doomed) == doomed[:2]
    assert await storage.store.delete(doomed) == []
    assert not await storage.store.delete([])
    assert set(await scanned(storage.store)) == {entry(number).key for number in (0, 2, 4)}
    assert await storage.store.count() == 3


async def test_a_head_is_an_entry_without_its_body(storage: Storage) -> None:
    await storage.store.put(stored := entry(1))
    assert await storage.store.head(stored.key) == msgspec.structs.replace(stored, body=b"")
    assert await storage.store.head(entry(2).key) is None


async def test_deleting_an_old_version_leaves_the_new_one(storage: Storage) -> None:
    """The reaper finds an entry dead, and meanwhile it is filled again."""
    await storage.store.put(old := entry(1, horizon=Horizon("log", 7)))
    for changes in ({"horizon": Horizon("log", 8)}, {"horizon": Horizon("other", 7)}, {"stored_at": old.stored_at + 1}):
        await storage.store.put(new := entry(1, **{"stored_at": old.stored_at} | changes))
        assert await storage.store.delete([old]) == []
        assert await storage.store.find(old.key) == new
        assert await storage.store.delete([new]) == [new]
        assert await storage.store.count() == 0


async def test_deleting_asks_not_for_tags(storage: Storage) -> None:
    await storage.store.put(stored := entry(1))
    claimed = msgspec.structs.replace(stored, tags=(*stored.tags, Tag(Kind.KEY, "more")))
    assert await storage.store.replace(stored, claimed)
    assert await storage.store.delete([stored]) == [stored]
    assert await storage.store.count() == 0


async def test_replacing_asks_for_version_and_tags(storage: Storage) -> None:
    await storage.store.put(old := entry(1))
    new = msgspec.structs.replace(old, tags=(*old.tags, Tag(Kind.KEY, "more")), body=b"new", ttl=1.0)
    others = [
        msgspec.structs.replace(old, stored_at=old.stored_at + 1),
        msgspec.structs.replace(old, horizon=Horizon("log", 8)),
        msgspec.structs.replace(old, scope=Scope("other")),
        msgspec.structs.replace(old, tags=old.tags[1:]),
        msgspec.structs.replace(old, tags=(*old.tags[1:], Tag(Kind.KEY, "another"))),
        entry(2),
    ]
    for other in others:
        assert not await storage.store.replace(other, new)
        assert await storage.store.find(old.key) == old
    same = msgspec.structs.replace(old, tags=old.tags[::-1], body=b"")
    assert await storage.store.replace(same, new)
    assert await storage.store.find(old.key) == new
    assert await storage.store.count() == 1


async def test_of_many_that_replace_one_wins(make_storage: Callable[[], Storage], storage: Storage) -> None:
    """Tags added by two at a time: the second must see those of the first."""
    other = storage if isinstance(storage, SqliteStorage) else make_storage()
    await other.open()
    await storage.store.put(old := entry(1))
    offers = [msgspec.structs.replace(old, tags=(*old.tags, Tag(Kind.KEY, str(number)))) for number in range(20)]
    races = ((storage, other)[number % 2].store.replace(old, offer) for number, offer in enumerate(offers))
    won = [offer for offer, done in zip(offers, await asyncio.gather(*races), strict=True) if done]
    assert len(won) == 1
    assert await storage.store.find(old.key) == won[0]
    await other.close()


async def test_compared_moves_forward_only_and_only_this_version(storage: Storage) -> None:
    await storage.store.put(first := entry(1, compared_to=3))
    await storage.store.put(second := entry(2))
    other = msgspec.structs.replace(second, stored_at=1.0)
    for through in (9, 5):
        await storage.store.compared([first, other, entry(3)], through)
    expected = {first.key: 9, second.key: 0}
    assert {key: one.compared_to for key, one in (await scanned(storage.store)).items()} == expected
    for key, through in expected.items():
        found, head = await storage.store.find(key), await storage.store.head(key)
        assert found and head and (found.compared_to, head.compared_to) == (through, through)
    await storage.store.compared([], 10)
    await storage.store.put(first)
    assert (await storage.store.find(first.key)) == first


async def test_a_store_without_entries(storage: Storage) -> None:
    assert await scanned(storage.store) == {}
    assert await storage.store.count() == 0
    assert await storage.store.get(SCOPE, b"?" * 16) is None


async def test_scan_is_complete_while_others_write(storage: Storage) -> None:
    """Entries that are there all the while come, whatever is put, replaced and deleted meanwhile."""
    await asyncio.gather(*(storage.store.put(entry(number)) for number in range(700)))
    seen: set[bytes] = set()
    writes = 0
    async for batch in storage.store.scan():
        seen |= {found.key for found in batch}
        for number in range(writes, writes + 40):
            await storage.store.put(gone := entry(10_000 + number))
            await storage.store.put(entry(number, body=b"replaced"))
            await storage.store.delete([gone])
        writes += 40
    assert {entry(number).key for number in range(700)} <= seen


async def test_a_text_that_is_not_unicode_is_refused(storage: Storage) -> None:
    with pytest.raises(StoreUnavailable, match="cannot be stored"):
        await storage.store.put(entry(question="\ud800"))
    assert await storage.store.count() == 0


async def test_everything_is_there_after_reopening(make_storage: Callable[[], Storage]) -> None:
    first = make_storage()
    await first.open()
    await asyncio.gather(*(first.store.put(entry(number)) for number in range(50)))
    await first.close()
    second = make_storage()
    await second.open()
    assert set(await scanned(second.store)) == {entry(number).key for number in range(50)}
    assert await second.store.get(SCOPE, entry(7).key) == entry(7, stored_at=(await _found(second, 7)).stored_at)
    await second.close()


async def _found(storage: Storage, number: int) -> Any:
    return await storage.store.find(entry(number).key)


async def test_open_and_close_are_safe_twice(make_storage: Callable[[], Storage]) -> None:
    storage = make_storage()
    await storage.close()
    await storage.open()
    await storage.open()
    await storage.store.put(entry(1))
    await storage.close()
    await storage.close()
    for call in (storage.store.get(SCOPE, entry(1).key), storage.store.put(entry(2)), storage.store.count()):
        with pytest.raises(StoreUnavailable):
            await call
    await storage.open()
    assert await storage.store.count() == 1
    await storage.close()


async def test_constructing_does_nothing(make_storage: Callable[[], Storage]) -> None:
    with pytest.raises(StoreUnavailable, match="not open"):
        await make_storage().store.get(SCOPE, b"?" * 16)


async def test_closing_under_load_answers_every_call(storage: Storage) -> None:
    """Each call ends, with its result or with StoreUnavailable; none hangs, none raises anything else."""
    calls = [asyncio.create_task(storage.store.put(entry(number))) for number in range(100)]
    calls += [asyncio.create_task(_counted(storage)) for _ in range(20)]
    await asyncio.sleep(0)
    await storage.close()
    async with asyncio.timeout(60):
        ends = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(end) for end in ends} <= {type(None), StoreUnavailable}


async def _counted(storage: Storage) -> None:
    await storage.store.count()


async def test_statistics_count(storage: Storage) -> None:
    await storage.store.put(stored := entry(1))
    await storage.store.get(SCOPE, entry(1).key)
    await storage.store.get(SCOPE, entry(2).key)
    await storage.store.delete([stored])
    statistics = storage.store.statistics()
    assert (statistics.puts, statistics.gets, statistics.hits, statistics.deleted) == (1, 2, 1, 1)
    assert storage.statistics().store == statistics
    assert type(storage).__name__ in repr(storage)
