"""Who follows the log, and how far each has come: what `wait=all` goes by."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from storage_samples import purge, take

from edgecache.core.ports import UNKNOWN, Member
from edgecache.storage.redis import RedisStorage
from edgecache.storage.redis_roll import Roll
from edgecache.storage.sqlite import SqliteStorage

LEASE = 0.2
"""Seconds."""


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def nodes(
    make_node: Callable[..., RedisStorage], clock: Clock
) -> AsyncIterator[tuple[RedisStorage, RedisStorage]]:
    """Two that share a log; the clock by which the other one judges silence is moved by the test."""
    one, other = make_node("one", LEASE), make_node("other", LEASE)
    other.log._roll = Roll(clock)
    for node in (one, other):
        await node.open()
    yield one, other
    for node in (one, other):
        await node.close()


async def test_an_embedded_log_has_no_other_nodes(tmp_path: Path) -> None:
    storage = SqliteStorage(tmp_path / "edgecache.db")
    await storage.open()
    await storage.log.read(0)
    assert await storage.log.roll() == {}
    await storage.log.strike("one", 0)
    await storage.close()


async def test_who_reads_is_on_the_roll(nodes: tuple[RedisStorage, RedisStorage]) -> None:
    one, other = nodes
    assert await other.log.roll() == {UNKNOWN: Member(0, LEASE)}
    for number in range(1, 4):
        await other.log.append(purge(number))
    await one.log.read(0)
    assert (await other.log.roll())["one"] == Member(0, LEASE)
    await one.log.read(2)
    assert (await other.log.roll())["one"] == Member(2, LEASE)
    assert "other" not in await other.log.roll()


async def test_asking_for_the_next_says_that_all_before_is_applied(
    nodes: tuple[RedisStorage, RedisStorage], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once: before it waits for anything."""
    one, other = nodes
    follower = one.log.follow(0)
    async with asyncio.timeout(60):
        await anext(follower)
        await other.log.append(purge(1))
        assert await take(follower) == await other.log.read(0)
        assert (await other.log.roll())["one"].applied == 0
        monkeypatch.setattr(one.log, "_wait", None)
        assert not (await anext(follower)).records
        assert (await other.log.roll())["one"].applied == 1


async def test_who_follows_is_heard_of_again_and_again(nodes: tuple[RedisStorage, RedisStorage], clock: Clock) -> None:
    """Nothing is appended, and it stays on the roll."""
    one, other = nodes
    follower = one.log.follow(0)
    async with asyncio.timeout(60):
        sent = [(await anext(follower)).sent for _ in range(3)]
        await other.log.roll()
        clock.now += LEASE
        await anext(follower)
        await other.log.roll()
        await other.log.strike("one", 0)
    assert sent == sorted(set(sent))
    assert "one" in await other.log.roll()


async def test_who_is_silent_for_a_lease_can_be_struck(nodes: tuple[RedisStorage, RedisStorage], clock: Clock) -> None:
    one, other = nodes
    await other.log.append(purge(1))
    await one.log.read(1)
    await other.log.roll()
    await other.log.strike("one", 1)
    assert "one" in await other.log.roll(), "it may still serve: its lease is not over"
    clock.now += LEASE
    await other.log.strike("one", 0)
    assert "one" in await other.log.roll(), "it has applied another one than that"
    await other.log.strike("one", 1)
    assert "one" not in await other.log.roll()
    await one.log.read(1)
    assert "one" in await other.log.roll()


async def test_who_is_heard_of_since_the_roll_was_read_is_not_struck(
    nodes: tuple[RedisStorage, RedisStorage],
    clock: Clock,
) -> None:
    one, other = nodes
    await one.log.read(0)
    await other.log.roll()
    clock.now += LEASE
    await one.log.read(0)
    await other.log.strike("one", 0)
    assert "one" in await other.log.roll()


async def test_who_never_read_the_roll_strikes_nobody(nodes: tuple[RedisStorage, RedisStorage], clock: Clock) -> None:
    one, other = nodes
    await one.log.read(0)
    clock.now += LEASE
    await other.log.strike("one", 0)
    assert "one" in await other.log.roll()


async def test_a_new_log_stands_for_nodes_that_it_cannot_know_until_their_lease_is_over(
    nodes: tuple[RedisStorage, RedisStorage],
) -> None:
    one, _ = nodes
    until, one.log._settled_at = one.log._settled_at, math.inf  # however slow this machine is
    await one.log.read(0)
    assert UNKNOWN in await one.log.roll()
    one.log._settled_at = until
    async with asyncio.timeout(60):
        while UNKNOWN in await one.log.roll():
            await one.log.read(0)
    assert set(await one.log.roll()) == {"one"}


async def test_who_closes_leaves_the_roll(nodes: tuple[RedisStorage, RedisStorage]) -> None:
    one, other = nodes
    await one.log.read(0)
    await one.close()
    assert "one" not in await other.log.roll()
