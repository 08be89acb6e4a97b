"""How many entries each purge hit, as the audit log says."""

from collections.abc import AsyncIterator

import msgspec
import pytest
from purge_entries import SCOPE, entry
from purge_room import Room

from edgecache.core.entry import Entry
from edgecache.core.purges import Effect, Logged, PurgeRecord
from edgecache.core.tags import EVERYTHING, Kind, Tag, keys, within
from edgecache.errors import StoreUnavailable
from edgecache.purge import hits


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    made = Room()
    await made.index.open()
    yield made
    await made.index.close()


def tagged(key: int, *tags: str, scope: str = SCOPE) -> Entry:
    """With the tags every answer has."""
    own = (EVERYTHING, Tag(Kind.SCOPE, scope), *keys(tags))
    return msgspec.structs.replace(entry(key), tags=own, scope=scope)


async def test_each_entry_counts_for_the_purge_that_killed_it(room: Room) -> None:
    for number in range(6):
        await room.admit(tagged(number, "a" if number < 2 else "b"))
    await room.admit(tagged(6, "b", scope="another"))
    first, second = room.purge("a", "c"), room.record([within(SCOPE, Tag(Kind.KEY, "b"))])
    assert await room.reaper.sweep() == 6
    assert room.audit.hits == {first: 2, second: 4}
    last = room.record([EVERYTHING])
    assert await room.reaper.sweep() == 1
    assert await room.reaper.sweep() == 0
    assert room.audit.hits == {first: 2, second: 4, last: 1}


async def test_what_expired_or_died_of_a_gap_counts_for_none(room: Room) -> None:
    await room.admit(msgspec.structs.replace(tagged(1, "a"), ttl=0.5))
    assert await room.reaper.sweep() == 1
    room.record([EVERYTHING])
    await room.admit(entry(2, "b", sequence=1))
    room.ledger.apply(Logged(3, PurgeRecord("after a gap", keys(["unrelated"]), 0.0)))
    assert await room.reaper.sweep() == 1
    assert room.audit.hits == {}


async def test_another_logs_sequences_are_not_mistaken(room: Room) -> None:
    old = room.purge("a")
    room.ledger.reset("another log")
    await room.admit(msgspec.structs.replace(entry(1, "b"), horizon=room.ledger.horizon()))
    new = room.purge("b")
    assert old == new == "id-1"
    assert await room.reaper.sweep() == 1
    room.record([EVERYTHING])
    await room.admit(entry(2, "a"))
    assert await room.reaper.sweep() == 1, "of the old log: that is why"
    assert room.audit.hits == {new: 1}


async def test_counts_wait_for_an_audit_log_that_is_away(room: Room) -> None:
    await room.admit(entry(1, "a"))
    first = room.purge("a")
    room.audit.away = True
    with pytest.raises(StoreUnavailable):
        await room.reaper.sweep()
    await room.admit(entry(2, "b", sequence=1))
    second = room.purge("b")
    with pytest.raises(StoreUnavailable):
        await room.reaper.sweep()
    room.audit.away = False
    await room.reaper.sweep()
    assert room.audit.hits == {first: 1, second: 1}


async def test_memory_for_counting_is_bounded(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hits, "KNOWN", 3)
    for number in range(5):
        await room.admit(entry(number, f"tag {number}"))
    names = [room.purge(f"tag {number}") for number in range(5)]
    assert await room.reaper.sweep() == 5
    assert room.audit.hits == dict.fromkeys(names[2:], 1)


async def test_a_soft_purge_is_counted_by_the_node_that_ordered_it(room: Room) -> None:
    here, there = room, Room(room.store)
    for number in range(3):
        await here.admit(tagged(number, "a"))
    await here.admit(tagged(3, "b"))
    for node in (here, there):
        name = node.soften("a")
    here.reaper.ordered(name)
    for node in (here, there, here):
        assert await node.reaper.sweep() == 0
    assert (here.audit.hits, there.audit.hits) == ({name: 3}, {})


async def test_a_soft_purge_hits_what_was_filled_before_it_and_lives(room: Room) -> None:
    await room.admit(tagged(1, "a"))
    await room.admit(tagged(2, "a", "b"))
    hard = room.purge("b")
    soft = room.record([within(SCOPE, Tag(Kind.KEY, "a"))], Effect.SOFT)
    await room.admit(msgspec.structs.replace(tagged(3, "a"), horizon=room.ledger.horizon()))
    room.reaper.ordered(soft)
    await room.reaper.sweep()
    assert room.audit.hits == {hard: 1, soft: 1}


async def test_a_soft_purge_whose_pass_failed_is_counted_by_the_next(room: Room) -> None:
    for number in range(150):
        await room.admit(tagged(number, "a"))
    soft = room.soften("a")
    room.reaper.ordered(soft)
    room.store.fail("scan", after=1)
    with pytest.raises(StoreUnavailable):
        await room.reaper.sweep()
    await room.reaper.sweep()
    assert room.audit.hits == {soft: 150}


async def test_orders_that_were_not_heard_are_no_matter(room: Room) -> None:
    room.reaper.ordered("never heard of")
    room.purge("a")
    room.reaper.ordered("id-1")
    await room.reaper.sweep()
    assert room.audit.hits == {}
