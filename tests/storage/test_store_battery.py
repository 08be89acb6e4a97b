"""What the port `Store` promises, of every implementation."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from storage_samples import SCOPE, Storage, entry, scanned

from edgecache.core.entry import Scope
from edgecache.core.tags import Kind, Tag
from edgecache.errors import StoreUnavailable

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
    async with asyncio.timeout(20):
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
