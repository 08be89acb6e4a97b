"""The reaper: what is dead is freed everywhere, what has come meanwhile is spared, and nothing stops it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from purge_entries import PARTITION, SCOPE, VECTOR, entry

from edgecache.cache.exact import ExactCache
from edgecache.cache.semantic import SemanticIndex
from edgecache.core.entry import Entry, Scope
from edgecache.core.ledger import Ledger
from edgecache.core.purges import Logged, PurgeRecord
from edgecache.core.tags import keys
from edgecache.errors import StoreUnavailable
from edgecache.purge.reaper import PIECE, Reaper
from edgecache.storage.sqlite import SqliteStorage
from edgecache.testing.node import Clock


class Held:
    """A store whose pages can be held after they were read, and which can be away."""

    def __init__(self, storage: SqliteStorage) -> None:
        self.storage = storage
        self.read, self.go = asyncio.Event(), asyncio.Event()
        self.go.set()
        self.away = 0
        self.error: Exception = StoreUnavailable("away")

    async def put(self, entry: Entry) -> None:
        await self.storage.store.put(entry)

    async def delete(self, entries: Sequence[tuple[Scope, bytes]]) -> int:
        return await self.storage.store.delete(entries)

    async def scan(self) -> AsyncIterator[Sequence[Entry]]:
        if self.away:
            self.away -= 1
            raise self.error
        async for batch in self.storage.store.scan():
            self.read.set()
            await self.go.wait()
            yield batch


class Room:
    """What a reaper works on."""

    def __init__(self, storage: SqliteStorage) -> None:
        self.store = Held(storage)
        self.memory = ExactCache(1 << 22)
        self.index = SemanticIndex(4)
        self.ledger = Ledger("log")
        self.clock = Clock(1.0)
        self.reaper = Reaper(
            self.store, self.index, self.memory, self.ledger, clock=self.clock, interval=3_600.0, rest=0.0
        )

    async def admit(self, entry: Entry) -> None:
        """As admission does it: memory, announcement, store, index."""
        self.memory.put(entry)
        self.reaper.spare(entry.scope, entry.key)
        await self.store.put(entry)
        await self.index.add(entry.scope, entry.partition, entry.key, VECTOR)

    def purge(self, *tags: str) -> None:
        self.ledger.apply(Logged(self.ledger.applied + 1, PurgeRecord("id", keys(tags), 0.0)))

    async def left(self) -> list[tuple[int, ...]]:
        """Keys in memory, store and index."""
        stored = [found.key async for batch in self.store.storage.store.scan() for found in batch]
        found = [neighbour.key for neighbour in await self.index.search(SCOPE, PARTITION, VECTOR, 100)]
        held = [entry.key for entry in self.memory]
        return [tuple(sorted(int.from_bytes(key, "big") for key in part)) for part in (held, stored, found)]


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    storage = SqliteStorage(tmp_path / "edgecache.db")
    await storage.open()
    made = Room(storage)
    await made.index.open()
    yield made
    await made.reaper.close()
    await made.reaper.close()
    await made.index.close()
    await storage.close()


async def test_what_is_purged_or_expired_is_freed_everywhere_and_the_rest_stays(room: Room) -> None:
    for number, tags, ttl in ((1, ["a"], 100.0), (2, ["b"], 100.0), (3, ["b"], 10.0)):
        await room.admit(entry(number, *tags, ttl=ttl))
    assert await room.reaper.sweep() == 0
    room.purge("a")
    room.clock.now = 10.0
    assert await room.reaper.sweep() == 2
    assert await room.left() == [(2,), (2,), (2,)]
    assert room.reaper.statistics() == type(room.reaper.statistics())(passes=2, reaped=2)
    assert repr(room.reaper) == "<Reaper passes=2 reaped=2>"


async def test_another_logs_entries_are_freed(room: Room) -> None:
    await room.admit(entry(1))
    room.ledger.reset("another log")
    assert await room.reaper.sweep() == 1
    assert await room.left() == [(), (), ()]


async def test_a_new_answer_stored_while_its_dead_predecessor_is_being_freed(room: Room) -> None:
    """The pass has read the old one; the new one is stored under the same key before it deletes."""
    await room.admit(entry(1, "a"))
    room.purge("a")
    room.store.go.clear()
    sweeping = asyncio.create_task(room.reaper.sweep())
    await room.store.read.wait()
    await room.admit(entry(1, "a", sequence=1))
    room.store.go.set()
    assert await sweeping == 0
    assert await room.left() == [(1,), (1,), (1,)]


async def test_a_new_answer_that_memory_did_not_keep(room: Room) -> None:
    """Too large for it, or evicted: then only the announcement tells."""
    await room.admit(entry(1, "a"))
    room.purge("a")
    room.store.go.clear()
    sweeping = asyncio.create_task(room.reaper.sweep())
    await room.store.read.wait()
    await room.admit(fresh := entry(1, "a", sequence=1))
    room.memory.forget(fresh)
    room.store.go.set()
    assert await sweeping == 0
    assert await room.left() == [(), (1,), (1,)]


async def test_a_new_answer_on_its_way_to_the_store_when_the_pass_begins(room: Room) -> None:
    """Its write was ordered before the pass began, so nothing was announced during it: it was deleted."""
    await room.admit(entry(1, "a"))
    room.purge("a")
    fresh = entry(1, "a", sequence=1)
    room.memory.put(fresh)
    room.reaper.spare(SCOPE, fresh.key)
    room.store.go.clear()
    sweeping = asyncio.create_task(room.reaper.sweep())
    await room.store.read.wait()
    await room.store.put(fresh)
    room.store.go.set()
    assert await sweeping == 0
    assert await room.left() == [(1,), (1,), (1,)]


async def test_a_new_answer_that_died_too_is_freed_by_a_later_pass(room: Room) -> None:
    await room.admit(entry(1, "a"))
    room.purge("a")
    await room.admit(entry(1, "a", sequence=1))
    room.purge("a")
    assert await room.reaper.sweep() == 1
    assert await room.left() == [(), (), ()]


async def test_memory_is_looked_through_in_pieces(room: Room) -> None:
    """The event loop has its turn between them, and what is replaced meanwhile stays."""
    count = 3 * PIECE
    for number in range(count):
        room.memory.put(entry(number, "a", vector=None))
    room.purge("a")
    sweeping = asyncio.create_task(room.reaper.sweep())
    await asyncio.sleep(0)
    assert 0 < len(list(room.memory)) < count
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
    room.store.away, room.store.error = 1, error
    await room.reaper.open()
    room.purge("a")
    room.reaper.wake()
    async with asyncio.timeout(10):
        while "trying again later" not in caplog.text:
            await asyncio.sleep(0)
        room.reaper.wake()
        while room.reaper.statistics().reaped != 1:
            await asyncio.sleep(0)
    assert await room.left() == [(), (), ()]
