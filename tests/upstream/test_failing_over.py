"""By kind of failure: who is asked next, who cools and for how long, and how long all of it may take."""

import asyncio

import pytest
from asking import ENOUGH, NEVER, SOON, UNBROKEN, Clock, always, call, opened, plenty, read, target, timers

from edgecache.errors import Overloaded, UpstreamBroken, UpstreamTimeout
from edgecache.testing.scripted_upstream import Answer, ScriptedUpstream, Step
from edgecache.testing.virtual_time import run_virtual
from edgecache.upstream import Breaking, State, Target, UpstreamPool, client
from edgecache.upstream.deadline import Deadline

CALLERS = {"headers": [("Authorization", "Bearer sk-callers")], "configured_key": False}


@pytest.mark.parametrize("status", [401, 403])
async def test_a_key_of_ours_that_is_refused_is_not_the_callers_trouble(status: int) -> None:
    async with always(status) as first, always(200) as second:
        targets = target(first.url, api_key="old"), target(second.url, "two", order=1, api_key="good")
        async with opened(*targets) as pool:
            assert await read(await pool.send(call())) == b"200"
            assert pool.statistics().targets[0].cooling is (status == 401)


@pytest.mark.parametrize("status", [401, 403])
async def test_a_callers_key_that_is_refused_is(status: int) -> None:
    async with always(status) as first, always(200) as second:
        targets = target(first.url, realm="r"), target(second.url, "two", order=1, realm="r")
        async with opened(*targets) as pool:
            assert await read(await pool.send(call(**CALLERS))) == str(status).encode()
    assert second.requests == []


async def test_retry_after_is_honoured_per_target() -> None:
    clock = Clock()
    async with always(503, ("Retry-After", "30")) as first, always(200) as second:
        targets = target(first.url), target(second.url, "two", order=1)
        async with opened(*targets, clock=clock, breaking=UNBROKEN) as pool:
            asked = []
            for step in (0.0, 29.9, 0.2):
                clock.now += step
                assert await read(await pool.send(call())) == b"200"
                asked.append(len(first.requests))
            assert asked == [1, 1, 2]
            statistics = pool.statistics().targets
            assert (statistics[0].cooling_for, statistics[1].cooling_for) == (30.0, 0.0)


async def test_an_overload_that_says_no_time_does_not_cool() -> None:
    async with (
        always(503) as first,
        always(200) as second,
        opened(target(first.url), target(second.url, "two", order=1)) as pool,
    ):
        for _ in range(3):
            assert await read(await pool.send(call())) == b"200"
        assert len(first.requests) == 3


async def test_a_limit_of_one_caller_does_not_slow_down_the_others() -> None:
    async with always(429, ("Retry-After", "30")) as limited:
        async with opened(target(limited.url)) as pool:
            await read(await pool.send(call(**CALLERS)))
            assert not pool.statistics().targets[0].cooling
        async with opened(target(limited.url, api_key="ours")) as pool:
            await read(await pool.send(call()))
            assert pool.statistics().targets[0].cooling_for == pytest.approx(30.0, abs=5.0)


async def test_the_breaker_opens_for_one_target_and_the_others_take_over() -> None:
    clock = Clock()
    async with always(503) as first, always(200) as second:
        targets = target(first.url), target(second.url, "two", order=1)
        async with opened(*targets, clock=clock, budget=plenty()) as pool:
            for _ in range(50):
                assert await read(await pool.send(call())) == b"200"
            assert (len(first.requests), pool.statistics().targets[0].state) == (10, State.OPEN)
            clock.now += 5.0
            assert pool.statistics().targets[0].state is State.HALF_OPEN
            for _ in range(5):
                assert await read(await pool.send(call())) == b"200"
            assert (len(first.requests), pool.statistics().targets[0].state) == (11, State.OPEN)


async def test_with_all_breakers_open_the_caller_is_told_when_to_come_back() -> None:
    clock = Clock()
    async with ScriptedUpstream() as upstream, opened(target(upstream.url), clock=clock) as pool:
        upstream.enqueue(*(Answer(status=503) for _ in range(10)))
        for _ in range(10):
            await read(await pool.send(call()))
        clock.now += 1.5
        with pytest.raises(Overloaded, match=r"upstream one: most .* failed.* Ask again in 4 s") as caught:
            await pool.send(call())
        assert (caught.value.status, caught.value.retry_after) == (503, 4)
        clock.now += 3.5
        await read(await pool.send(call()))
        assert pool.statistics().targets[0].state is State.CLOSED


async def test_half_open_lets_one_request_through_and_the_others_wait_for_its_end() -> None:
    clock, hang = Clock(), asyncio.Event()
    async with ScriptedUpstream() as upstream, opened(target(upstream.url), clock=clock) as pool:
        upstream.enqueue(*(Answer(status=503) for _ in range(10)), Answer(before_head=hang))
        for _ in range(10):
            await read(await pool.send(call()))
        clock.now += 5.0
        trial = asyncio.ensure_future(pool.send(call()))
        await upstream.wait_requests(11)
        with pytest.raises(Overloaded):
            await pool.send(call())
        hang.set()
        await read(await trial)
        await read(await pool.send(call()))
        assert pool.statistics().targets[0].state is State.CLOSED


async def test_a_trial_whose_caller_leaves_is_followed_by_another() -> None:
    clock, hang = Clock(), asyncio.Event()
    async with ScriptedUpstream() as upstream, opened(target(upstream.url), clock=clock) as pool:
        upstream.enqueue(*(Answer(status=503) for _ in range(10)), Answer(before_head=hang))
        for _ in range(10):
            await read(await pool.send(call()))
        clock.now += 5.0
        trial = asyncio.ensure_future(pool.send(call()))
        await upstream.wait_requests(11)
        trial.cancel()
        await asyncio.wait([trial])
        await read(await pool.send(call()))
        assert pool.statistics().targets[0].state is State.CLOSED


async def held(pool: UpstreamPool, upstream: ScriptedUpstream, asked: object) -> "asyncio.Future[object]":
    sending = asyncio.ensure_future(pool.send(asked))  # type: ignore[arg-type]
    await upstream.wait_requests(len(upstream.requests) + 1)
    return sending


async def test_beyond_its_concurrency_a_target_is_waited_for_then_another_is_asked() -> None:
    hang = asyncio.Event()
    async with ScriptedUpstream(script=lambda _: Answer(before_head=hang)) as first, always(200) as second:
        targets = target(first.url, concurrency=1, wait=SOON), target(second.url, "two", order=1)
        async with opened(*targets) as pool:
            one = await held(pool, first, call())
            assert await read(await pool.send(call())) == b"200"
            statistics = pool.statistics()
            assert [(of.requests, of.retries) for of in statistics.targets] == [(1, 0), (1, 0)]
            assert statistics.retries_left == 10, "passing over is no retry"
            hang.set()
            await read(await one)


async def test_within_an_order_who_has_a_place_is_asked_first() -> None:
    hang = asyncio.Event()
    async with ScriptedUpstream(script=lambda _: Answer(before_head=hang)) as first, always(200) as second:
        targets = target(first.url, concurrency=1, wait=NEVER, weight=1e9), target(second.url, "two", weight=1e-9)
        async with opened(*targets) as pool:
            one = await held(pool, first, call())
            async with asyncio.timeout(10):
                assert await read(await pool.send(call())) == b"200"
            hang.set()
            await read(await one)


async def test_a_place_comes_free_when_an_answer_was_read_or_dropped() -> None:
    async with ScriptedUpstream() as upstream, opened(target(upstream.url, concurrency=1, wait=NEVER)) as pool:
        for end in ("read", "close", "cancel"):
            upstream.enqueue(Answer(chunks=[b"a", b"b"]))
            reply = await pool.send(call())
            waiting = asyncio.ensure_future(pool.send(call()))
            await asyncio.wait([waiting], timeout=SOON)
            statistics = pool.statistics().targets[0]
            assert (statistics.open, statistics.waiting, waiting.done()) == (1, 1, False)
            if end == "cancel":
                waiting.cancel()
                await asyncio.wait([waiting])
                await reply.close()
                waiting = asyncio.ensure_future(pool.send(call()))
            elif end == "read":
                await read(reply)
            else:
                await reply.close()
            await read(await waiting)
            assert pool.statistics().targets[0].open == 0


async def test_cancel_while_waiting_for_a_slot_takes_none() -> None:
    hang = asyncio.Event()
    async with (
        ScriptedUpstream(script=lambda _: Answer(before_head=hang)) as upstream,
        opened(target(upstream.url, concurrency=1, wait=NEVER)) as pool,
    ):
        one = await held(pool, upstream, call())
        for _ in range(20):
            waiting = asyncio.ensure_future(pool.send(call()))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
        assert pool.statistics().targets[0].waiting == 0
        hang.set()
        await read(await one)
        await read(await pool.send(call()))


async def test_when_all_are_full_the_caller_is_told_what_to_do() -> None:
    hang = asyncio.Event()
    async with (
        ScriptedUpstream(script=lambda _: Answer(before_head=hang)) as upstream,
        opened(target(upstream.url, concurrency=1, wait=SOON)) as pool,
    ):
        one = await held(pool, upstream, call())
        with pytest.raises(Overloaded, match=r"1 requests .* within 0.02 s\. .*raise concurrency") as caught:
            await pool.send(call())
        assert caught.value.retry_after == 1
        hang.set()
        await read(await one)


async def test_all_attempts_of_a_request_count_from_its_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    began: list[float] = []

    class Noting(Deadline):
        def __init__(self, target: Target, at: float, *, streams: bool) -> None:
            began.append(at)
            super().__init__(target, at, streams=streams)

    monkeypatch.setattr(client, "Deadline", Noting)
    async with always(503) as first, always(429) as second, always(200) as third:
        targets = [target(one.url, f"{n}", order=n) for n, one in enumerate((first, second, third))]
        async with opened(*targets) as pool:
            before = asyncio.get_running_loop().time()
            assert await read(await pool.send(call())) == b"200"
            assert len(began) == 3 and len(set(began)) == 1 and before <= began[0]


def test_the_total_ends_what_began_late() -> None:
    async def main() -> None:
        time = asyncio.get_running_loop().time
        limits = timers(first_byte=50.0, between_chunks=50.0, total=60.0)
        deadline = Deadline(target("http://a", timers=limits), time() - 45.0, streams=False)
        deadline_at = time() + 15.0
        for guard in (deadline.head, deadline.chunk):
            with pytest.raises(TimeoutError):
                async with guard():
                    deadline.connected(reused=False)
                    await asyncio.sleep(NEVER)
            assert time() == pytest.approx(deadline_at)
            assert "the answer did not end within 60 s (total)" in str(deadline.error())

    run_virtual(main())


async def test_no_attempt_begins_when_the_time_is_over() -> None:
    slow = asyncio.Event()
    async with ScriptedUpstream() as first, always(200) as second:
        first.enqueue(Answer(status=503, before_head=slow))
        targets = target(first.url), target(second.url, "two", order=1, timers=timers(total=SOON))
        async with opened(*targets) as pool:
            sending = asyncio.ensure_future(pool.send(call()))
            await asyncio.wait([sending], timeout=2 * SOON)
            slow.set()
            assert await read(await sending) == b""
        assert second.requests == []


async def test_the_wait_for_a_place_counts_too() -> None:
    async with ScriptedUpstream(script=lambda _: Answer(chunks=[b"a", asyncio.Event()])) as upstream:
        one = target(upstream.url, concurrency=1, wait=NEVER, timers=timers(total=ENOUGH))
        async with opened(one) as pool:
            unread = await pool.send(call())
            async with asyncio.timeout(10):
                with pytest.raises((UpstreamTimeout, Overloaded)):
                    await pool.send(call())
            await unread.close()


async def test_a_breaker_that_opens_while_a_place_is_waited_for_takes_none() -> None:
    clock = Clock()
    async with ScriptedUpstream() as upstream:
        one = target(upstream.url, concurrency=1, wait=ENOUGH)
        async with opened(one, clock=clock, breaking=Breaking(least=1)) as pool:
            upstream.enqueue(Answer(status=503, before_head=(hang := asyncio.Event())))
            first = await held(pool, upstream, call())
            waiting = asyncio.ensure_future(pool.send(call()))
            await asyncio.sleep(0)
            hang.set()
            await read(await first)
            with pytest.raises(Overloaded, match="left alone"):
                await waiting
            clock.now += 5.0
            await read(await pool.send(call()))


async def test_who_is_passed_over_on_the_way_costs_no_retry() -> None:
    hang = asyncio.Event()
    async with always(503) as first, ScriptedUpstream() as full, always(200) as third:
        full.enqueue(Answer(before_head=hang))
        targets = target(first.url), target(full.url, "full", order=1, concurrency=1, wait=0.0)
        async with opened(*targets, target(third.url, "three", order=2)) as pool:
            held_there = await held(pool, full, call(upstreams=("full",)))
            assert await read(await pool.send(call())) == b"200"
            assert pool.statistics().retries_left == 9
            hang.set()
            await read(await held_there)


async def test_who_fails_in_mid_answer_is_left_alone_too() -> None:
    answer = Answer(chunks=[b"half", Step.CUT])
    async with ScriptedUpstream(script=lambda _: answer) as upstream, opened(target(upstream.url)) as pool:
        for _ in range(5):
            with pytest.raises(UpstreamBroken):
                await read(await pool.send(call()))
        assert pool.statistics().targets[0].state is State.OPEN
