"""Purges by meaning: every entry is held against them once, and moves on."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest
from purge_entries import SCOPE, VECTOR, entry
from purge_room import OTHER, Room

from edgecache.core.documents import Document
from edgecache.core.entry import Entry
from edgecache.core.meanings import MEANT


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    made = Room(near=VECTOR, far=OTHER)
    await made.index.open()
    yield made
    await made.index.close()


def asking(key: int, question: str, vector: bytes | None = None, **changes: object) -> Entry:
    return msgspec.structs.replace(entry(key, vector=vector), question=question, **changes)


async def test_entries_with_a_vector(room: Room) -> None:
    await room.admit(entry(1))
    await room.admit(entry(2, vector=OTHER))
    name = room.purge_meaning()
    assert await room.reaper.sweep() == 1
    assert (await room.left())[1] == (2,)
    assert room.audit.hits == {name: 1}
    assert room.compared(2) == (1, 1)
    assert room.reader.asked == []
    assert room.reaper.statistics().compared == 1


async def test_entries_without_one_are_embedded_once(room: Room) -> None:
    await room.admit(asking(1, "near"))
    await room.admit(asking(2, "far"))
    assert room.ledger.killer_of(asking(2, "far")) is None
    name = room.purge_meaning()
    assert room.ledger.killer_of(asking(2, "far")) is not None
    assert await room.reaper.sweep() == 1
    assert (await room.left())[:2] == [(2,), (2,)]
    assert room.audit.hits == {name: 1}
    assert room.compared(2) == (1, 1)
    held = room.memory.peek(SCOPE, entry(2).key)
    assert held is not None and room.ledger.killer_of(held) is None
    await room.reaper.sweep()
    assert sorted(room.reader.asked) == ["far", "near"]


async def test_what_cannot_be_embedded_is_dead(room: Room) -> None:
    """Too long for the model: it could never be served. No purge is said to have hit it."""
    await room.admit(asking(1, "too long"))
    room.purge_meaning()
    assert await room.reaper.sweep() == 1
    assert await room.left() == [(), (), ()]
    assert room.audit.hits == {}


async def test_a_purge_of_another_model_that_is_not_here(room: Room) -> None:
    await room.admit(asking(1, "far"))
    room.purge_meaning(embedder="another")
    assert await room.reaper.sweep() == 1


async def test_without_the_model_they_wait(room: Room) -> None:
    for key in range(40):
        await room.admit(asking(key, "far"))
    room.purge_meaning()
    room.reader.away = True
    assert await room.reaper.sweep() == 0
    assert room.reaper.statistics().later == 40
    assert len(room.reader.asked) < 40
    assert room.compared(1) == (0, 0)
    room.reader.away = False
    assert await room.reaper.sweep() == 0
    assert room.compared(1) == (1, 1)
    assert room.reaper.statistics().later == 0


async def test_what_no_purge_by_meaning_concerns_is_not_written(room: Room) -> None:
    await room.admit(entry(1, "a"))
    room.purge("b")
    await room.reaper.sweep()
    room.purge_meaning(OTHER)
    await room.admit(entry(2, sequence=2))
    await room.admit(page := msgspec.structs.replace(entry(3), document=Document()))
    await room.reaper.sweep()
    assert (room.compared(1), room.compared(2), room.compared(3)) == ((2, 2), (0, 0), (0, 0))
    assert room.ledger.killer_of(page) is None
    room.purge("b")
    await room.reaper.sweep()
    assert room.compared(1) == (2, 2)


async def test_many_purges_by_meaning_kill_nothing_by_their_number(room: Room) -> None:
    """Where the reaper comes between them. Those within another scope are no matter: nothing is written."""
    await room.admit(entry(1))
    for _ in range(2):
        for _ in range(MEANT - 1):
            room.purge_meaning(OTHER)
        await room.reaper.sweep()
    assert (await room.left())[1] == (1,)
    before = room.compared(1)
    for _ in range(MEANT + 1):
        room.purge_meaning(scope="another")
    assert await room.reaper.sweep() == 0
    assert room.compared(1) == before
    for _ in range(MEANT + 1):
        room.purge_meaning(OTHER)
    assert await room.reaper.sweep() == 1
    assert room.audit.hits == {}


async def test_a_purge_by_meaning_that_comes_while_questions_are_embedded(room: Room) -> None:
    """It covers one entry that was found alive just before, and one that is being embedded."""
    await room.admit(entry(1))
    await room.admit(asking(2, "near"))
    room.purge_meaning(OTHER)
    room.reader.go.clear()
    sweeping = asyncio.create_task(room.reaper.sweep())
    await room.reader.reached.wait()
    late = room.purge_meaning(VECTOR)
    room.reader.go.set()
    assert await sweeping == 1
    assert room.audit.hits == {late: 1}
    assert room.compared(1) == (1, 1), "it moves on only past what it was held against"
    assert await room.reaper.sweep() == 1
    assert room.audit.hits == {late: 2}


async def test_a_new_version_is_not_taken_for_the_one_that_was_compared(room: Room) -> None:
    await room.admit(asking(1, "far"))
    room.purge_meaning()
    room.reader.go.clear()
    sweeping = asyncio.create_task(room.reaper.sweep())
    await room.reader.reached.wait()
    await room.admit(msgspec.structs.replace(asking(1, "far"), stored_at=0.5))
    room.reader.go.set()
    await sweeping
    assert room.compared(1) == (0, 0)


async def test_comparing_gives_way_to_others(room: Room) -> None:
    """Here every comparison takes longer than half a millisecond."""
    room.ticks.step = 0.001
    for key in range(20):
        await room.admit(entry(key, vector=OTHER))
    room.purge_meaning()
    turns = 0
    sweeping = asyncio.create_task(room.reaper.sweep())
    while not sweeping.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 40, "20 in memory, 20 in the store"
