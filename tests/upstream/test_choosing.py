"""Who is asked first, who after a failure, and how often in an outage."""

import asyncio
import random
import socket
from collections import Counter
from collections.abc import Iterator

import pytest
from asking import SOON, Clock, always, call, opened, read, stream, target, timers

from edgecache.errors import InvalidSettings, NoUpstream, UpstreamTimeout, UpstreamUnreachable
from edgecache.testing.raw_upstream import RawUpstream
from edgecache.testing.scripted_upstream import Step
from edgecache.upstream import State, TargetStatistics, UpstreamPool

SEED = 20_261


@pytest.fixture
def dead() -> Iterator[str]:
    """A URL whose port is taken and refuses connections."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


async def test_the_weights_of_an_order_are_kept() -> None:
    chance = random.Random(SEED)
    async with always(200) as upstream:
        targets = [target(upstream.url, name, weight=weight) for name, weight in (("a", 1.0), ("b", 3.0), ("c", 6.0))]
        async with opened(*targets, chance=chance) as pool:
            replies = [await pool.send(call()) for _ in range(500)]
            for reply in replies:
                await read(reply)
    counts = Counter(reply.upstream for reply in replies)
    assert abs(counts["a"] - 50) < 25 and abs(counts["b"] - 150) < 40 and abs(counts["c"] - 300) < 45, (SEED, counts)


async def test_lower_orders_come_first_and_the_call_may_name_its_upstreams(dead: str) -> None:
    async with always(200) as upstream:
        targets = target(upstream.url, "second", order=2), target(upstream.url, "first", order=1, weight=0.001)
        async with opened(*targets) as pool:
            for _ in range(20):
                reply = await pool.send(call())
                assert reply.upstream == "first"
                await read(reply)
            reply = await pool.send(call(upstreams=("second", "absent")))
            assert reply.upstream == "second"
            await read(reply)


async def test_no_upstream() -> None:
    async with opened() as pool:
        with pytest.raises(NoUpstream, match="no upstream is configured"):
            await pool.send(call())
    async with opened(target("http://127.0.0.1:1")) as pool:
        with pytest.raises(NoUpstream, match="no upstream called x or y is configured"):
            await pool.send(call(upstreams=("x", "y")))
        assert pool.statistics().targets[0].requests == 0


def test_names_are_unique() -> None:
    with pytest.raises(InvalidSettings, match="two upstreams are called one"):
        UpstreamPool([target("http://a"), target("http://b")])


async def test_a_target_that_cannot_be_reached_is_asked_last_for_a_while(dead: str) -> None:
    clock = Clock()
    async with always(200) as upstream:
        targets = target(dead, "dead"), target(upstream.url, "alive", order=1)
        async with opened(*targets, clock=clock) as pool:
            asked = []
            for step in (0.0, 1.0, 3.9, 0.2):
                clock.now += step
                await read(await pool.send(call()))
                asked.append(pool.statistics().targets[0].requests)
            assert asked == [1, 1, 1, 2]
            statistics = pool.statistics()
    assert statistics.targets[0].cooling and not statistics.targets[1].cooling
    assert (statistics.targets[0].failures, statistics.targets[1].failures) == (2, 0)
    assert (statistics.targets[0].retries, statistics.targets[1].retries) == (0, 2)


async def test_a_target_that_answers_again_is_no_longer_asked_last(dead: str) -> None:
    upstream = always(200)
    async with upstream, opened(target(upstream.url), target(dead, "dead", order=1)) as pool:
        await upstream.close()
        with pytest.raises(UpstreamUnreachable):
            await pool.send(call())
        assert all(one.cooling for one in pool.statistics().targets)
        await upstream.open()
        await read(await pool.send(call()))
        assert not pool.statistics().targets[0].cooling


@pytest.mark.parametrize("status", [429, 502, 503, 504, 529])
async def test_an_answer_that_turns_us_away_sends_us_to_the_next(status: int) -> None:
    async with always(status) as first, always(200) as second:
        async with opened(target(first.url), target(second.url, "two", order=1)) as pool:
            reply = await pool.send(call(b"the same bytes"))
            assert (reply.upstream, await read(reply)) == ("two", b"200")
        await first.wait_connections(0)
    assert [one.requests[0].body for one in (first, second)] == [b"the same bytes"] * 2


@pytest.mark.parametrize("status", [400, 401, 404, 408, 500, 501, 520])
async def test_any_other_answer_is_the_answer(status: int) -> None:
    async with (
        always(status) as first,
        always(200) as second,
        opened(target(first.url), target(second.url, "two", order=1)) as pool,
    ):
        reply = await pool.send(call())
        assert (reply.upstream, await read(reply)) == ("one", str(status).encode())
        assert second.requests == []


async def test_an_answer_is_kept_when_no_other_target_gives_one(dead: str) -> None:
    async with always(503) as first, opened(target(first.url), target(dead, "dead", order=1)) as pool:
        reply = await pool.send(call())
        assert (reply.upstream, await read(reply)) == ("one", b"503")


async def test_each_target_is_asked_once_and_the_last_answer_is_given() -> None:
    async with always(503) as first, always(429) as second:
        async with opened(target(first.url), target(second.url, "two", order=1)) as pool:
            reply = await pool.send(call())
            assert (reply.upstream, await read(reply)) == ("two", b"429")
        await first.wait_connections(0)
    assert (len(first.requests), len(second.requests)) == (1, 1)


async def test_what_may_have_been_processed_is_not_sent_again() -> None:
    async with always(200) as second:
        async with (
            RawUpstream(Step.CUT) as first,
            opened(target(first.url), target(second.url, "two", order=1)) as pool,
        ):
            with pytest.raises(UpstreamUnreachable, match="upstream one"):
                await pool.send(call())
        async with RawUpstream(asyncio.Event()) as first:
            slow = target(first.url, timers=timers(first_byte=SOON))
            async with opened(slow, target(second.url, "two", order=1)) as pool:
                with pytest.raises(UpstreamTimeout, match="upstream one"):
                    await pool.send(call())
    assert second.requests == []


async def test_a_body_that_can_be_read_once_is_sent_once(dead: str) -> None:
    async with always(503) as busy, always(200) as other:
        async with opened(target(busy.url), target(other.url, "two", order=1)) as pool:
            reply = await pool.send(call(stream(b"a")))
            assert (reply.upstream, await read(reply)) == ("one", b"503")
        async with opened(target(dead), target(other.url, "two", order=1)) as pool:
            with pytest.raises(UpstreamUnreachable):
                await pool.send(call(stream(b"a")))
    assert other.requests == []


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_a_body_half_read_is_never_begun_again(method: str) -> None:
    """aiohttp repeats requests of idempotent methods by itself: it must not do so with what is left of a stream."""
    async with RawUpstream(Step.CUT) as upstream, opened(target(upstream.url)) as pool:
        with pytest.raises(UpstreamUnreachable):
            await pool.send(call(stream(b"a", b"b"), method=method))
        assert [request.split(b"\r\n\r\n", 1)[1] for request in upstream.requests] == [b"1\r\na\r\n1\r\nb\r\n0\r\n\r\n"]


async def test_statistics_and_repr_say_what_is_under_way() -> None:
    async with always(200) as upstream, opened(target(upstream.url)) as pool:
        reply = await pool.send(call())
        assert pool.statistics().targets[0].open == 1
        assert repr(reply) == "<Reply of one: 200, open>"
        assert repr(pool) == "<UpstreamPool one: 1 open>"
        await read(reply)
        statistics = pool.statistics()
        assert statistics.targets == (TargetStatistics("one", 1, 0, 0, 0, 0, 0, State.CLOSED, 0.0, True),)
        assert (statistics.sent, statistics.retries_left) == (1, 10)
        assert repr(reply) == "<Reply of one: 200, closed>"


async def test_a_pool_must_be_opened() -> None:
    pool = UpstreamPool([target("http://127.0.0.1:1")])
    await pool.close()
    with pytest.raises(RuntimeError, match="upstream one: open it first"):
        await pool.send(call())
