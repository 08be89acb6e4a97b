"""The reaper: what is dead is freed everywhere, what has come meanwhile is spared, and nothing stops it."""

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise

import msgspec
import pytest
from purge_entries import PARTITION, SCOPE, VECTOR, entry
from purge_room import Room, number

from edgecache.errors import StoreUnavailable
from edgecache.purge.reaper import ReaperStatistics


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    made = Room()
    await made.index.open()
    yield made
    await made.reaper.close()
    await made.reaper.close()
    await made.index.close()


async def test_what_is_purged_or_expired_is_freed_everywhere_and_the_rest_stays(room: Room) -> None:
    for key, tags, ttl in ((1, ["a"], 100.0), (2, ["b"], 100.0), (3, ["b"], 10.0)):
        await room.admit(entry(key, *tags, ttl=ttl))
    assert await room.reaper.sweep() == 0
    assert room.told() == []
    room.purge("a")
    room.now = 10.0
    assert await room.reaper.sweep() == 2
    assert await room.left() == [(2,), (2,), (2,)]
    assert room.told() == [1, 3]
    assert room.reaper.statistics() == ReaperStatistics(passes=2, reaped=2, compared=0, later=0)
    assert repr(room.reaper) == "<Reaper passes=2 reaped=2>"


async def test_what_may_still_be_served_stale_is_kept(room: Room) -> None:
    await room.admit(msgspec.structs.replace(entry(1, ttl=10.0), grace=5.0))
    room.now = 14.0
    assert await room.reaper.sweep() == 0
    room.now = 15.0
    assert await room.reaper.sweep() == 1
    assert await room.left() == [(), (), ()]


async def test_another_logs_entries_are_freed(room: Room) -> None:
    await room.admit(entry(1))
    room.ledger.reset("another log")
    assert await room.reaper.sweep() == 1
    assert await room.left() == [(), (), ()]


async def test_a_new_answer_stored_while_its_dead_predecessor_is_being_freed(room: Room) -> None:
    """The pass has read the old one; the new one, here or on another node, is stored before it deletes."""
    await room.admit(entry(1, "a"))
    room.purge("a")
    room.store.hold("scan done")
    sweeping = asyncio.create_task(room.reaper.sweep())
    await room.store.reached("scan done")
    await room.admit(entry(1, "a", sequence=1))
    room.store.go("scan done")
    assert await sweeping == 0
    assert await room.left() == [(1,), (1,), (1,)]
    assert room.told() == []


@pytest.mark.parametrize("in_memory", [True, False], ids=["", "too large for memory"])
async def test_a_new_answer_stored_when_its_predecessor_was_just_deleted(room: Room, in_memory: bool) -> None:
    """The reaper has not heard yet that its deletion is done; the vector of the new one must stay."""
    await room.admit(entry(1, "a"))
    room.purge("a")
    room.store.hold("delete done")
    sweeping = asyncio.create_task(room.reaper.sweep())
    await room.store.reached("delete done")
    await room.admit(fresh := entry(1, "a", sequence=1))
    if not in_memory:
        room.memory.forget(fresh)
    room.store.go("delete done")
    assert await sweeping == 1
    assert await room.left() == [(1,) if in_memory else (), (1,), (1,)]


async def test_a_vector_that_came_for_the_dead_one_itself(room: Room) -> None:
    """It is put there between the deletion and its reply: nothing is in the store, so it goes."""
    await room.admit(dead := entry(1, "a"))
    room.purge("a")
    room.store.hold("delete done")
    sweeping = asyncio.create_task(room.reaper.sweep())
    await room.store.reached("delete done")
    await room.index.add(SCOPE, PARTITION, dead.key, VECTOR)
    room.store.go("delete done")
    await sweeping
    assert await room.left() == [(), (), ()]


async def test_a_new_answer_that_died_too_is_freed(room: Room) -> None:
    await room.admit(entry(1, "a"))
    room.purge("a")
    await room.admit(entry(1, "a", sequence=1))
    room.purge("a")
    assert await room.reaper.sweep() == 1
    assert await room.left() == [(), (), ()]


async def test_what_another_node_freed_first_is_not_told_again(room: Room) -> None:
    await room.admit(dead := entry(1, "a"))
    room.purge("a")
    room.store.hold("delete")
    sweeping = asyncio.create_task(room.reaper.sweep())
    await room.store.reached("delete")
    del room.store.entries[dead.key]
    room.store.go("delete")
    assert await sweeping == 0
    assert room.told() == []


async def test_a_deletion_that_was_done_although_it_failed(room: Room) -> None:
    """What it did is found out at the next pass."""
    await room.admit(entry(1, "a"))
    await room.admit(entry(2, "b"))
    room.purge("a", "b")
    room.store.fail("delete done")
    with pytest.raises(StoreUnavailable):
        await room.reaper.sweep()
    assert (await room.left())[1:] == [(), (1, 2)]
    await room.admit(entry(2, "b", sequence=1))
    assert await room.reaper.sweep() == 0
    assert await room.left() == [(2,), (2,), (2,)]
    assert room.told() == [1]


async def test_memory_is_looked_through_in_steps(room: Room) -> None:
    """The event loop has its turn after half a millisecond, here ten entries, and what is replaced meanwhile stays."""
    count, room.ticks.step = 35, 0.0001
    for key in range(count):
        room.memory.put(entry(key, "a", vector=None))
    room.purge("a")
    sweeping = asyncio.create_task(room.reaper.sweep())
    left = [count]
    for _ in range(3):
        await asyncio.sleep(0)
        left.append(len(list(room.memory)))
    freed = [before - after for before, after in pairwise(left)]
    assert sum(freed) and max(freed) <= 10
    late = entry(count - 1, "a", sequence=1)
    room.memory.put(late)
    await sweeping
    assert list(room.memory) == [late]


@pytest.mark.parametrize("error", [StoreUnavailable("away"), RuntimeError("a bug")])
async def test_a_purge_wakes_it_and_a_store_that_was_away_does_not_end_it(
    room: Room,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    await room.admit(entry(1, "a"))
    room.store.fail("scan", error)
    await room.reaper.open()
    room.purge("a")
    room.reaper.wake()
    async with asyncio.timeout(60):
        while "trying again later" not in caplog.text:
            await asyncio.sleep(0)
        room.reaper.wake()
        while room.reaper.statistics().reaped != 1:
            await asyncio.sleep(0)
    assert await room.left() == [(), (), ()]


async def test_many_entries_of_which_some_are_dead(room: Room) -> None:
    for key in range(250):
        await room.admit(entry(key, "odd" if key % 2 else "even"))
    room.purge("odd")
    assert await room.reaper.sweep() == 125
    assert [len(part) for part in await room.left()][:2] == [125, 125]
    assert all(number(key) % 2 == 0 for key in room.store.entries)
