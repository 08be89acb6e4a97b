"""Shared fills: everyone gets everything in order; who leaves disturbs nobody; what is too large is not kept."""

import asyncio
import gc
import logging
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from edgecache.cache.flights import LAG, Flight, Flights
from edgecache.core.entry import Horizon, Scope
from edgecache.errors import Overloaded, UpstreamBroken

SCOPE, KEY = Scope("team"), b"k" * 16
NOW = Horizon("log", 0)
Run = Callable[[Flight[str]], Coroutine[Any, Any, None]]


def flight(keep: int = 1 << 20, *, finish: bool = False) -> Flight[str]:
    return Flight(NOW, (), keep=keep, finish=finish)


class Script:
    """A fill that waits for the test at every step: the head, each chunk, the end."""

    def __init__(self, *chunks: bytes, error: Exception | None = None) -> None:
        self.chunks = chunks
        self.error = error
        self.steps = asyncio.Semaphore(0)
        self.stopped = asyncio.Event()
        self.stop_slowly: asyncio.Event | None = None

    def go(self, steps: int = 1_000) -> None:
        for _ in range(steps):
            self.steps.release()

    async def __call__(self, flight: Flight[str]) -> None:
        try:
            await self.steps.acquire()
            flight.open("head")
            for chunk in self.chunks:
                await self.steps.acquire()
                flight.add(chunk)
                await flight.room()
            await self.steps.acquire()
            if self.error is not None:
                raise self.error
            flight.end()
            await self.steps.acquire()
            flight.settle(None)
        except asyncio.CancelledError:
            if self.stop_slowly is not None:
                await self.stop_slowly.wait()
            self.stopped.set()
            raise


async def whole(flight: Flight[str], passenger: int) -> list[bytes]:
    found = []
    try:
        async with asyncio.timeout(60):
            await flight.wait_head()
            async for chunk in flight.chunks(passenger):
                found.append(chunk)
    finally:
        flight.leave(passenger)
    return found


async def settle() -> None:
    """Let everything that can run, run."""
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.fixture
async def flights() -> AsyncIterator[Flights[str]]:
    """After each test nothing flies, nobody is aboard, and no task is left."""
    flights: Flights[str] = Flights()
    yield flights
    async with asyncio.timeout(60):
        await flights.close()
    await settle()
    assert flights.statistics().flying == 0
    assert flights.find(SCOPE, KEY) is None
    assert asyncio.all_tasks() == {asyncio.current_task()}


def start(flights: Flights[str], run: Run, **options: Any) -> tuple[Flight[str], int]:
    made = flight(**options)
    return made, flights.start(SCOPE, KEY, made, run)


async def test_all_get_all_bytes_in_order_whenever_they_board(flights: Flights[str]) -> None:
    chunks = [bytes([65 + n]) * (n + 1) for n in range(6)]
    script = Script(*chunks)
    made, first = start(flights, script)
    readers = [asyncio.create_task(whole(made, first))]
    for _ in range(len(chunks) + 3):  # before the head, between any two chunks, after the last, after the end
        joined = flights.find(SCOPE, KEY)
        assert joined is made
        readers.append(asyncio.create_task(whole(made, flights.join(made))))
        script.go(1)
        await settle()
    for found in await asyncio.gather(*readers):
        assert found == chunks
    assert flights.statistics() == type(flights.statistics())(flying=0, started=1, joined=len(chunks) + 3)


async def test_the_next_identical_request_finds_the_flight_at_once_and_others_do_not(flights: Flights[str]) -> None:
    script = Script(b"a")
    made, first = start(flights, script)
    assert flights.find(SCOPE, KEY) is made
    assert flights.find(Scope("other"), KEY) is None
    assert flights.find(SCOPE, b"x" * 16) is None
    script.go()
    assert await whole(made, first) == [b"a"]


@pytest.mark.parametrize("steps", range(5))
async def test_whoever_leaves_disturbs_nobody(flights: Flights[str], steps: int) -> None:
    script = Script(b"a", b"b", b"c")
    made, leader = start(flights, script)
    stays = asyncio.create_task(whole(made, flights.join(made)))
    leaves = asyncio.create_task(whole(made, flights.join(made)))
    script.go(steps)
    await settle()
    made.leave(leader)
    made.leave(leader)
    leaves.cancel()
    script.go()
    assert await stays == [b"a", b"b", b"c"]
    assert "passengers=0" in repr(made)


@pytest.mark.parametrize("steps", range(4))
async def test_the_last_to_leave_stops_the_fill(flights: Flights[str], steps: int) -> None:
    script = Script(b"a", b"b", b"c")
    made, leader = start(flights, script)
    second = flights.join(made)
    script.go(steps)
    await settle()
    made.leave(leader)
    await settle()
    assert not script.stopped.is_set()
    made.leave(second)
    await settle()
    assert script.stopped.is_set() or steps == 0
    assert flights.statistics().flying == 0


async def test_a_fill_may_be_stopped_before_it_began(flights: Flights[str]) -> None:
    made, leader = start(flights, Script(b"a"))
    made.leave(leader)
    await settle()
    assert flights.statistics().flying == 0
    assert made.outcome is not None


async def test_nobody_can_join_what_was_left_by_all_while_it_is_stopping(flights: Flights[str]) -> None:
    """Closing the connection to an upstream takes a moment; who comes in it must not be told of the stop."""
    script = Script(b"a", b"b")
    script.stop_slowly = asyncio.Event()
    made, leader = start(flights, script)
    script.go(2)
    await settle()
    made.leave(leader)
    await settle()
    assert flights.find(SCOPE, KEY) is None
    newer, passenger = start(flights, fresh := Script(b"c"))
    script.stop_slowly.set()
    await settle()
    assert flights.find(SCOPE, KEY) is newer
    fresh.go()
    assert await whole(newer, passenger) == [b"c"]


async def test_a_route_may_finish_what_nobody_waits_for(flights: Flights[str]) -> None:
    script = Script(b"a", b"b")
    made, leader = start(flights, script, finish=True)
    made.leave(leader)
    script.go()
    await settle()
    assert made.kept() == b"ab"
    assert made.outcome is None
    assert flights.statistics().flying == 0


@pytest.mark.parametrize("finish", [False, True])
async def test_leaving_while_it_is_stored_does_not_stop_it(flights: Flights[str], finish: bool) -> None:
    script = Script(b"a")
    made, leader = start(flights, script, finish=finish)
    script.go(3)  # head, chunk, end: what is left is to store it
    await settle()
    made.leave(leader)
    await settle()
    assert flights.find(SCOPE, KEY) is made
    script.go()
    await settle()
    assert made.outcome is None


async def test_closing_waits_for_what_is_being_stored_and_stops_the_rest() -> None:
    flights: Flights[str] = Flights()
    storing, filling = Script(b"a"), Script(b"b")
    done, _ = start(flights, storing)
    going = flight()
    passenger = flights.start(SCOPE, b"x" * 16, going, filling)
    reader = asyncio.create_task(whole(going, passenger))
    storing.go(3)
    filling.go(2)
    await settle()
    closing = asyncio.create_task(flights.close())
    await settle()
    storing.go()
    await closing
    assert done.outcome is None
    with pytest.raises(Overloaded, match="ask again"):
        await reader


async def test_an_error_comes_after_the_chunks_before_it(flights: Flights[str]) -> None:
    script = Script(b"a", b"b", error=UpstreamBroken("cut"))
    made, first = start(flights, script)
    second = flights.join(made)
    script.go()
    for passenger in (first, second):
        found = []
        with pytest.raises(UpstreamBroken, match="cut"):
            async for chunk in made.chunks(passenger):
                found.append(chunk)
        assert found == [b"a", b"b"]
        made.leave(passenger)
    assert made.outcome == "cut"
    assert flights.find(SCOPE, KEY) is None


async def test_an_error_before_the_head_reaches_everyone(flights: Flights[str]) -> None:
    async def fails(_: Flight[str]) -> None:
        raise UpstreamBroken("no answer")

    made, first = start(flights, fails)
    for passenger in (first, flights.join(made)):
        with pytest.raises(UpstreamBroken, match="no answer"):
            await whole(made, passenger)


async def test_a_mistake_of_ours_is_logged_and_reaches_everyone(
    flights: Flights[str], caplog: pytest.LogCaptureFixture
) -> None:
    async def fails(_: Flight[str]) -> None:
        raise KeyError("oops")

    made, first = start(flights, fails)
    with caplog.at_level(logging.ERROR), pytest.raises(KeyError):
        await whole(made, first)
    assert "a fill failed" in caplog.text


async def test_too_large_cannot_be_joined_and_what_all_have_read_is_dropped(flights: Flights[str]) -> None:
    chunks = [bytes([n]) * 10 for n in range(10)]
    script = Script(*chunks)
    made, first = start(flights, script, keep=25)
    second = flights.join(made)
    fast, slow = made.chunks(first), made.chunks(second)
    script.go(3)  # head, two chunks: 20 bytes
    assert [await anext(fast) for _ in range(2)] == chunks[:2]
    assert flights.find(SCOPE, KEY) is made
    script.go(1)  # the third makes 30
    assert await anext(fast) == chunks[2]
    assert flights.find(SCOPE, KEY) is None
    assert [await anext(slow) for _ in range(3)] == chunks[:3]
    assert made._chunks == []
    script.go()
    assert [chunk async for chunk in fast] == chunks[3:]
    assert [chunk async for chunk in slow] == chunks[3:]
    assert made.kept() is None
    made.leave(first)
    made.leave(second)
    await settle()


async def test_the_slowest_aboard_paces_a_fill_too_large_to_be_kept(flights: Flights[str]) -> None:
    chunks = [bytes([n]) * (LAG // 4) for n in range(12)]
    script = Script(*chunks)
    script.go()
    made, first = start(flights, script, keep=10)
    second = flights.join(made)
    slow = made.chunks(second)
    fast = asyncio.create_task(whole(made, first))
    await settle()
    assert sum(map(len, made._chunks)) <= LAG + LAG // 4
    assert not fast.done()
    assert [chunk async for chunk in slow] == chunks
    made.leave(second)
    assert await fast == chunks


async def test_when_the_slowest_leaves_the_others_go_on(flights: Flights[str]) -> None:
    chunks = [bytes([n]) * LAG for n in range(5)]
    script = Script(*chunks)
    script.go()
    made, first = start(flights, script, keep=10)
    slow = flights.join(made)
    fast = asyncio.create_task(whole(made, first))
    await settle()
    assert not fast.done()
    made.leave(slow)
    assert await fast == chunks


async def test_finishing_too_large_an_answer_without_passengers_holds_no_bytes(flights: Flights[str]) -> None:
    script = Script(*[b"x" * LAG] * 4)
    made, leader = start(flights, script, keep=10, finish=True)
    made.leave(leader)
    script.go()
    await settle()
    assert made.kept() is None
    assert made._chunks == []
    assert flights.statistics().flying == 0


async def test_a_newer_flight_is_found_and_outlives_the_older_ones_landing(flights: Flights[str]) -> None:
    older_script, newer_script = Script(b"old"), Script(b"new")
    older, first = start(flights, older_script)
    newer, second = start(flights, newer_script)
    assert flights.find(SCOPE, KEY) is newer
    assert flights.statistics().flying == 2
    older_script.go()
    assert await whole(older, first) == [b"old"]
    await settle()
    assert flights.find(SCOPE, KEY) is newer
    newer_script.go()
    assert await whole(newer, second) == [b"new"]


@pytest.mark.parametrize("seed", range(60))
async def test_any_order_of_boarding_reading_and_leaving(flights: Flights[str], seed: int) -> None:
    """Seeded schedules: who stays to the end has all bytes, who leaves has a prefix; nothing is left over."""
    print(f"seed {seed}")
    rng = random.Random(seed)
    chunks = [bytes([n]) * rng.randrange(1, 30) for n in range(rng.randrange(12))]
    script = Script(*chunks)
    made, first = start(flights, script, keep=rng.choice([20, 100, 1_000]), finish=rng.random() < 0.3)
    readers = [(asyncio.create_task(whole(made, first)), bool(rng.getrandbits(1)))]
    await asyncio.sleep(0)
    for _ in range(40):
        action = rng.randrange(4)
        if action == 0 and (found := flights.find(SCOPE, KEY)) is not None:
            readers.append((asyncio.create_task(whole(found, flights.join(found))), rng.random() < 0.5))
            await asyncio.sleep(0)  # it has begun, as a request that boards has
        elif action == 1:
            leaving = [task for task, leaves in readers if leaves and not task.done()]
            if leaving:
                rng.choice(leaving).cancel()
        else:
            script.go(1)
        for _ in range(rng.randrange(4)):
            await asyncio.sleep(0)
    script.go()
    results = await asyncio.gather(*(task for task, _ in readers), return_exceptions=True)
    for (_, leaves), result in zip(readers, results, strict=True):
        if isinstance(result, BaseException):
            assert leaves
            assert isinstance(result, asyncio.CancelledError)
        else:
            assert result == chunks
    await settle()
    assert "passengers=0" in repr(made)


async def test_it_says_what_it_is(flights: Flights[str]) -> None:
    script = Script(b"abc")
    made, first = start(flights, script)
    assert repr(made).startswith("<Flight waiting passengers=1 bytes=0 ")
    script.go(2)
    await settle()
    assert repr(made).startswith("<Flight open passengers=1 bytes=3 ")
    assert repr(flights) == "<Flights flying=1 started=1 joined=0>"
    script.go()
    await whole(made, first)
    await settle()
    assert repr(made).startswith("<Flight settled passengers=0 bytes=3 ")
    gc.collect()
