"""A second target is asked where the first is slow: one answer is taken, nothing of the other is left."""

import asyncio

import pytest
from asking import ENOUGH, NEVER, SOON, UNBROKEN, Clock, call, opened, plenty, read, stream, target, timers

from edgecache.core.ports import Call
from edgecache.errors import UpstreamUnreachable
from edgecache.testing.raw_upstream import RawUpstream
from edgecache.testing.scripted_upstream import SSE_HEADERS, Answer, Received, ScriptedUpstream, Step
from edgecache.upstream import RetryBudget, UpstreamPool


class Pair:
    """Two upstreams behind one pool. A head waits for its event; `status` may be set before."""

    def __init__(self) -> None:
        self.release = [asyncio.Event(), asyncio.Event()]
        self.status = [200, 200]
        self.upstreams = [ScriptedUpstream(script=lambda _, n=n: self._answer(n)) for n in (0, 1)]

    def _answer(self, n: int) -> Answer:
        return Answer(status=self.status[n], before_head=self.release[n], body=f"{n}".encode())

    @property
    def targets(self) -> list[object]:
        limits = timers()
        return [target(up.url, f"{n}", order=n, timers=limits) for n, up in enumerate(self.upstreams)]

    async def flying(self, pool: UpstreamPool, asked: Call) -> "asyncio.Future[object]":
        """A request of which both upstreams have heard."""
        sending = asyncio.ensure_future(pool.send(asked))
        for upstream in self.upstreams:
            await upstream.wait_requests(1)
        return sending

    async def gone(self) -> None:
        for upstream in self.upstreams:
            await upstream.wait_connections(0)

    async def __aenter__(self) -> "Pair":
        for upstream in self.upstreams:
            await upstream.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        for upstream in self.upstreams:
            await upstream.close()


def hedged(seconds: float = SOON, **more: object) -> Call:
    return call(b"same", hedge=seconds, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("winner", [0, 1])
async def test_the_first_good_head_wins_and_the_loser_is_cancelled_and_closed(winner: int) -> None:
    async with Pair() as pair, opened(*pair.targets) as pool:
        sending = await pair.flying(pool, hedged())
        pair.release[winner].set()
        reply = await sending
        assert reply.upstream == f"{winner}"
        await pair.upstreams[1 - winner].wait_connections(0)
        assert [one.open for one in pool.statistics().targets] == [1 - winner, winner]
        assert await read(reply) == f"{winner}".encode()
        statistics = pool.statistics()
    assert [(one.requests, one.retries, one.hedges) for one in statistics.targets] == [(1, 0, 0), (1, 0, 1)]
    assert statistics.retries_left == 9
    assert [up.requests[0].body for up in pair.upstreams] == [b"same", b"same"]


async def test_both_heads_in_the_same_turn_leave_one_answer_open() -> None:
    async with Pair() as pair, opened(*pair.targets, budget=plenty(), breaking=UNBROKEN) as pool:
        for _ in range(20):
            for upstream, release in zip(pair.upstreams, pair.release, strict=True):
                upstream.requests.clear()
                release.clear()
            sending = await pair.flying(pool, hedged(0.0))
            for release in pair.release:
                release.set()
            reply = await sending
            assert sum(one.open for one in pool.statistics().targets) == 1
            assert await read(reply) == reply.upstream.encode()
            assert sum(one.open for one in pool.statistics().targets) == 0


async def test_the_caller_leaves_while_two_attempts_fly() -> None:
    async with Pair() as pair, opened(*pair.targets, budget=plenty(), breaking=UNBROKEN) as pool:
        for _ in range(20):
            for upstream in pair.upstreams:
                upstream.requests.clear()
            sending = await pair.flying(pool, hedged(0.0))
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            await pair.gone()
            assert [one.open for one in pool.statistics().targets] == [0, 0]


async def test_the_caller_leaves_at_each_turn_of_a_race() -> None:
    """From before the first connection to after the end: whichever await it hits, nothing stays."""
    async with Pair() as pair, opened(*pair.targets, budget=plenty(), breaking=UNBROKEN) as pool:
        for release in pair.release:
            release.set()
        for turns in range(120):
            sending = asyncio.ensure_future(_ask(pool))
            for _ in range(turns // 2):
                await asyncio.sleep(0)
            sending.cancel()
            await asyncio.wait([sending])
            assert [one.open for one in pool.statistics().targets] == [0, 0], turns


async def _ask(pool: UpstreamPool) -> bytes:
    return await read(await pool.send(hedged(0.0)))


async def test_who_answers_in_time_is_not_hedged() -> None:
    async with Pair() as pair, opened(*pair.targets) as pool:
        pair.release[0].set()
        assert await read(await pool.send(hedged(NEVER))) == b"0"
        assert pair.upstreams[1].requests == []


async def test_whose_head_is_there_is_not_hedged_though_its_opening_is_still_held() -> None:
    role = b'data: {"choices": [{"index": 0, "delta": {"role": "assistant"}}]}\n\n'
    text = b'data: {"choices": [{"index": 0, "delta": {"content": "a"}}]}\n\n'
    rest = asyncio.Event()
    async with Pair() as pair, opened(*pair.targets) as pool:
        pair.upstreams[0].enqueue(Answer(headers=SSE_HEADERS, chunks=[role, rest, text]))
        sending = asyncio.ensure_future(pool.send(hedged(2 * ENOUGH, dialect="openai.chat")))
        await asyncio.wait([sending], timeout=2.5 * ENOUGH)
        assert not sending.done()
        rest.set()
        assert await read(await sending) == role + text
        assert pair.upstreams[1].requests == []


async def test_a_body_that_can_be_read_once_is_never_hedged() -> None:
    async with Pair() as pair, opened(*pair.targets) as pool:
        asked = call(stream(b"a"), hedge=0.0)
        sending = asyncio.ensure_future(pool.send(asked))
        await pair.upstreams[0].wait_requests(1)
        await asyncio.wait([sending], timeout=SOON)
        pair.release[0].set()
        assert await read(await sending) == b"0"
        assert pair.upstreams[1].requests == []


async def test_hedges_count_against_the_budget() -> None:
    async with Pair() as pair:
        budget = RetryBudget(Clock(), ratio=0.0, burst=1.0)
        async with opened(*pair.targets, budget=budget) as pool:
            sending = await pair.flying(pool, hedged())
            pair.release[0].set()
            await read(await sending)
            pair.release[0].clear()
            second = asyncio.ensure_future(pool.send(hedged(0.0)))
            await pair.upstreams[0].wait_requests(2)
            await asyncio.wait([second], timeout=SOON)
            pair.release[0].set()
            assert await read(await second) == b"0"
        assert len(pair.upstreams[1].requests) == 1


async def test_the_hedge_fails_and_the_first_is_waited_for() -> None:
    async with Pair() as pair, opened(*pair.targets) as pool:
        pair.status[1] = 503
        sending = await pair.flying(pool, hedged())
        pair.release[1].set()
        await asyncio.wait([sending], timeout=SOON)
        assert not sending.done()
        pair.release[0].set()
        assert await read(await sending) == b"0"


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_the_first_turns_us_away_and_the_hedge_is_waited_for(status: int) -> None:
    async with Pair() as pair, opened(*pair.targets) as pool:
        pair.status[0] = status
        sending = await pair.flying(pool, hedged())
        pair.release[0].set()
        await asyncio.wait([sending], timeout=SOON)
        assert not sending.done()
        pair.release[1].set()
        assert await read(await sending) == b"1"


async def test_when_both_turn_us_away_one_answer_is_given() -> None:
    async with Pair() as pair, opened(*pair.targets) as pool:
        pair.status[:] = [503, 429]
        sending = await pair.flying(pool, hedged())
        pair.release[0].set()
        pair.release[1].set()
        reply = await sending
        assert reply.status in pair.status
        await read(reply)


async def test_what_may_have_been_processed_is_waited_for_where_the_other_was_asked_already() -> None:
    hang = asyncio.Event()

    def slow(_: Received) -> Answer:
        return Answer(before_head=hang, body=b"slow")

    cut = asyncio.Event()
    async with (
        RawUpstream(cut, Step.CUT) as first,
        ScriptedUpstream(script=slow) as second,
        opened(target(first.url), target(second.url, "two", order=1)) as pool,
    ):
        sending = asyncio.ensure_future(pool.send(hedged()))
        await second.wait_requests(1)
        cut.set()
        await first.wait_connections(0)
        hang.set()
        assert await read(await sending) == b"slow"


async def test_when_neither_answers_the_error_is_told() -> None:
    cut = asyncio.Event()
    async with (
        RawUpstream(cut, Step.CUT) as first,
        RawUpstream(cut, Step.CUT) as second,
        opened(target(first.url), target(second.url, "two", order=1)) as pool,
    ):
        sending = asyncio.ensure_future(pool.send(hedged()))
        await second.wait_requests(1)
        cut.set()
        with pytest.raises(UpstreamUnreachable):
            await sending
