"""Nothing is left behind when a caller leaves, whatever stage its request is in."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator

import pytest
from asking import UNBROKEN, call, opened, plenty, read, target, timers

from edgecache.testing.raw_upstream import RawUpstream
from edgecache.testing.scripted_upstream import Answer, Received, ScriptedUpstream
from edgecache.upstream import UpstreamPool

TIMES = 200


def hanging(_: Received) -> Answer:
    return Answer(before_head=asyncio.Event())


def half(_: Received) -> Answer:
    return Answer(chunks=[b"half", asyncio.Event()])


async def cancelled(task: "asyncio.Future[object]") -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_while_waiting_for_the_head() -> None:
    async with ScriptedUpstream(script=hanging) as upstream, opened(target(upstream.url)) as pool:
        for _ in range(TIMES):
            sending = asyncio.ensure_future(pool.send(call()))
            await upstream.wait_connections(1)
            await cancelled(sending)
            await upstream.wait_connections(0)
        assert pool.statistics().targets[0].requests == TIMES


async def test_at_each_of_the_first_turns_of_the_loop() -> None:
    """Turn after turn, from before the connection to after the answer: whichever await it hits, nothing stays."""
    async with ScriptedUpstream() as upstream, opened(target(upstream.url, connections=1)) as pool:
        for turns in range(TIMES):
            sending = asyncio.ensure_future(_ask(pool))
            for _ in range(turns // 4):
                await asyncio.sleep(0)
            sending.cancel()
            await asyncio.wait([sending])
            assert pool.statistics().targets[0].open == 0
        assert await _ask(pool)


async def _ask(pool: UpstreamPool) -> bytes:
    return await read(await pool.send(call()))


async def test_in_the_tls_handshake() -> None:
    async with RawUpstream(asyncio.Event()) as upstream:
        url = upstream.url.replace("http:", "https:")
        async with opened(target(url, timers=timers())) as pool:
            for _ in range(TIMES):
                sending = asyncio.ensure_future(pool.send(call()))
                await upstream.wait_connections(1)
                await cancelled(sending)
                await upstream.wait_connections(0)


async def test_in_the_middle_of_an_answer() -> None:
    async with ScriptedUpstream(script=half) as upstream, opened(target(upstream.url)) as pool:
        for _ in range(TIMES):
            chunks = (await pool.send(call())).chunks()
            assert await anext(chunks) == b"half"
            reading = asyncio.ensure_future(anext(chunks))
            await asyncio.sleep(0)
            await cancelled(reading)
            await upstream.wait_connections(0)


async def test_closing_early_drops_the_connection() -> None:
    async with ScriptedUpstream(script=half) as upstream, opened(target(upstream.url)) as pool:
        for _ in range(TIMES):
            reply = await pool.send(call())
            await reply.close()
            await reply.close()
            await upstream.wait_connections(0)


async def test_in_the_middle_of_a_streamed_request() -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"a"
        await asyncio.Event().wait()

    async with ScriptedUpstream() as upstream, opened(target(upstream.url)) as pool:
        for _ in range(TIMES):
            sending = asyncio.ensure_future(pool.send(call(body())))
            await upstream.wait_connections(1)
            await cancelled(sending)
            await upstream.wait_connections(0)
        assert upstream.requests == []


async def test_while_waiting_for_a_free_connection() -> None:
    async with ScriptedUpstream() as upstream, opened(target(upstream.url, connections=1)) as pool:
        hold = asyncio.Event()
        upstream.enqueue(Answer(before_head=hold))
        first = asyncio.ensure_future(pool.send(call()))
        await upstream.wait_requests(1)
        for _ in range(TIMES):
            sending = asyncio.ensure_future(pool.send(call()))
            await asyncio.sleep(0)
            await cancelled(sending)
        hold.set()
        await read(await first)
        await read(await pool.send(call()))
        assert (upstream.accepted, len(upstream.requests)) == (1, 2)


async def test_while_another_target_is_tried_after_one_that_turned_us_away() -> None:
    def busy(_: Received) -> Answer:
        return Answer(status=503, chunks=[b"busy", asyncio.Event()])

    async with ScriptedUpstream(script=busy) as first, ScriptedUpstream(script=hanging) as second:
        targets = target(first.url), target(second.url, "two", order=1)
        async with opened(*targets, budget=plenty(), breaking=UNBROKEN) as pool:
            for _ in range(TIMES):
                sending = asyncio.ensure_future(pool.send(call()))
                await second.wait_connections(1)
                await cancelled(sending)
                await first.wait_connections(0)
                await second.wait_connections(0)


async def test_a_body_read_to_its_end_keeps_the_connection_and_the_pool_is_bounded() -> None:
    async with ScriptedUpstream() as upstream, opened(target(upstream.url, connections=2)) as pool:
        for _ in range(5):
            await asyncio.gather(*(_ask(pool) for _ in range(10)))
        assert upstream.accepted == 2


async def test_a_kept_connection_does_not_keep_the_answers_that_came_over_it() -> None:
    async with ScriptedUpstream() as upstream, opened(target(upstream.url)) as pool:
        replies = []
        for _ in range(5):
            rest = asyncio.Event()
            upstream.enqueue(Answer(chunks=[b"a", rest, b"b"]))
            reply = await pool.send(call())
            rest.set()
            assert await read(reply) == b"ab"
            replies.append(weakref.ref(reply))
        del reply
        gc.collect()
        assert [reply() for reply in replies] == [None] * 5
        assert (upstream.accepted, upstream.connections) == (1, 1)


async def test_closing_the_pool_ends_what_is_under_way() -> None:
    async with ScriptedUpstream(script=half) as upstream, opened(target(upstream.url)) as pool:
        reply = await pool.send(call())
        await pool.close()
        await pool.close()
        await reply.close()
        await upstream.wait_connections(0)


async def test_many_long_answers_keep_nobody_from_asking() -> None:
    """Waiting for a connection of ours would look like a provider that cannot be reached."""
    never = asyncio.Event()
    held = Answer(chunks=[b"x", never])
    async with ScriptedUpstream(script=lambda _: held) as upstream, opened(target(upstream.url)) as pool:
        replies = await asyncio.gather(*(pool.send(call()) for _ in range(300)))
        assert len(upstream.requests) == 300
        for reply in replies:
            await reply.close()
