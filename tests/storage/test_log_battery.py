"""What the port `Log` promises, of every implementation."""

import asyncio
import math
import time
from collections.abc import Callable

import pytest
from storage_samples import Storage, purge, take

from edgecache.core.meaning import Meaning
from edgecache.core.purges import Effect, Logged, PurgeRecord
from edgecache.core.tags import Kind, Tag
from edgecache.errors import StoreUnavailable
from edgecache.storage import codec
from edgecache.storage.sqlite import SqliteStorage


async def test_two_hundred_appends_at_once_are_dense(storage: Storage) -> None:
    sequences = await asyncio.gather(*(storage.log.append(purge(number)) for number in range(200)))
    assert sorted(sequences) == list(range(1, 201))
    logged = await storage.log.read(0)
    assert [one.sequence for one in logged] == list(range(1, 201))
    assert {one.sequence: one.record for one in logged} == {
        sequence: purge(number) for number, sequence in enumerate(sequences)
    }


async def test_read_begins_after_and_stops_at_the_limit(storage: Storage) -> None:
    for number in range(1, 8):
        await storage.log.append(purge(number))
    assert await storage.log.read(2, limit=3) == [Logged(number, purge(number)) for number in (3, 4, 5)]
    assert await storage.log.read(7) == []
    assert await storage.log.read(0, limit=0) == []


async def test_follow_sees_everything_in_order(storage: Storage) -> None:
    """What is there, then what comes, whoever appends it, to every follower."""
    for number in range(1, 11):
        await storage.log.append(purge(number))
    followers = [asyncio.create_task(take(storage.log.follow(after), 210 - after)) for after in (0, 5, 10)]
    await asyncio.gather(*(storage.log.append(purge(number)) for number in range(11, 211)))
    async with asyncio.timeout(60):
        seen = await asyncio.gather(*followers)
    whole = list(await storage.log.read(0))
    assert [one.sequence for one in whole] == list(range(1, 211))
    assert seen == [whole, whole[5:], whole[10:]]


async def test_a_follower_that_leaves_disturbs_nobody(storage: Storage) -> None:
    staying = asyncio.create_task(take(storage.log.follow(0), 2))
    leaving = asyncio.create_task(take(storage.log.follow(0), 99))
    await storage.log.append(purge(1))
    leaving.cancel()
    done, _ = await asyncio.wait([leaving], timeout=60)
    assert done == {leaving}
    await storage.log.append(purge(2))
    async with asyncio.timeout(60):
        assert [one.sequence for one in await staying] == [1, 2]


async def test_an_append_whose_caller_left_is_still_heard(storage: Storage) -> None:
    """Cancelled at any moment, a record is either not in the log or followers get it."""
    for number in range(30):
        task = asyncio.create_task(storage.log.append(purge(number)))
        for _ in range(number % 4):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
    seen = asyncio.create_task(take(storage.log.follow(0), await storage.log.append(purge(99))))
    async with asyncio.timeout(60):
        assert await seen == await storage.log.read(0)
    assert [one.sequence for one in await seen] == list(range(1, len(await seen) + 1))


async def test_closing_ends_followers(storage: Storage) -> None:
    follower = asyncio.create_task(take(storage.log.follow(0), 99))
    await storage.log.append(purge(1))
    await storage.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        async with asyncio.timeout(60):
            await follower


async def test_the_log_is_the_same_after_reopening(make_storage: Callable[[], Storage]) -> None:
    first = make_storage()
    await first.open()
    identity = first.log.identity
    await first.log.append(purge(1))
    await first.close()
    second = make_storage()
    await second.open()
    assert identity and second.log.identity == identity
    assert await second.log.append(purge(2)) == 2
    assert await second.log.read(0) == [Logged(1, purge(1)), Logged(2, purge(2))]
    await second.close()


async def test_what_was_trimmed_is_noticed(storage: Storage) -> None:
    """The first sequence is above after + 1, even when all was trimmed: the newest always stays."""
    for number in range(1, 6):
        await storage.log.append(purge(number))
    assert await storage.log.trim(2) == 2
    assert [one.sequence for one in await storage.log.read(1)] == [3, 4, 5]
    assert await storage.log.trim(99) == 2
    assert [one.sequence for one in await storage.log.read(0)] == [5]
    assert await storage.log.append(purge(6)) == 6
    async with asyncio.timeout(60):
        assert [one.sequence for one in await take(storage.log.follow(0), 2)] == [5, 6]


async def test_trimming_an_empty_log(storage: Storage) -> None:
    assert await storage.log.trim(10) == 0
    assert await storage.log.append(purge(1)) == 1


async def test_a_record_that_is_not_unicode_is_refused(storage: Storage) -> None:
    with pytest.raises(StoreUnavailable, match="cannot be logged"):
        await storage.log.append(PurgeRecord("\ud800", (), 0.0))
    assert await storage.log.append(purge(1)) == 1


async def test_every_field_of_a_record_comes_back(storage: Storage) -> None:
    claim = PurgeRecord("a", (Tag(Kind.USER, "u"),), 1.5, Effect.CLAIM, claimed=("scope", b"k" * 16))
    meant = PurgeRecord("b", (), 2.5, meaning=Meaning(b"\x00" * 8, "minilm@abc", 0.25, "scope"))
    soft = PurgeRecord("c", (Tag(Kind.KEY, "k"),), 3.5, Effect.SOFT)
    for record in (claim, meant, soft):
        await storage.log.append(record)
    assert [one.record for one in await storage.log.read(0)] == [claim, meant, soft]


async def test_what_a_newer_version_wrote_has_a_place_and_no_content(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have purged anything: never an error that would stop the log, never skipped without a trace."""
    await storage.log.append(purge(1))
    with monkeypatch.context() as newer:
        newer.setattr(codec, "VERSION", codec.VERSION + 1)
        await storage.log.append(purge(2))
    await storage.log.append(purge(3))
    assert await storage.log.read(0) == [Logged(1, purge(1)), Logged(2, None), Logged(3, purge(3))]
    assert await take(storage.log.follow(1), 2) == [Logged(2, None), Logged(3, purge(3))]
    assert storage.log.statistics().unknown == 2


async def test_what_is_heard_was_asked_for_after_it_was_wanted(storage: Storage) -> None:
    """`sent` is by `time.monotonic`, between asking for the next and having it."""
    follower = storage.log.follow(0)
    for number in range(1, 4):
        await storage.log.append(purge(number))
        asked = time.monotonic()
        async with asyncio.timeout(60):
            heard = await anext(follower)
        assert asked <= heard.sent <= time.monotonic()


async def test_a_node_alone_needs_no_lease_and_others_have_one(storage: Storage) -> None:
    assert storage.log.lease == (math.inf if isinstance(storage, SqliteStorage) else 2.0)


async def test_statistics_count(storage: Storage) -> None:
    await storage.log.append(purge(1))
    await storage.log.read(0)
    statistics = storage.log.statistics()
    assert (statistics.identity, statistics.appended, statistics.followers) == (storage.log.identity, 1, 0)
    assert storage.log.identity in repr(storage.log)
