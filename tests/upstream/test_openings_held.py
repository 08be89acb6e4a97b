"""An overload that arrives as an event is a failure like any other, as long as nothing of the answer was given."""

import asyncio
import gzip
import json

import pytest
from asking import ENOUGH, NEVER, SOON, call, opened, read, target, timers

from edgecache.core.ports import Call
from edgecache.errors import UpstreamBroken, UpstreamTimeout
from edgecache.testing.scripted_upstream import SSE_HEADERS, Answer, ScriptedUpstream, Step, event
from edgecache.upstream import reply as reply_module
from edgecache.wire.overload import MAX_OPENING

ROLE = event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})
TEXT = event({"choices": [{"index": 0, "delta": {"content": "Hi"}}]})
PING = b": ping\n\n"
START = b'event: message_start\ndata: {"type": "message_start", "message": {}}\n\n'
OVERLOADED = b'event: error\ndata: {"type": "error", "error": {"type": "overloaded_error", "message": "no"}}\n\n'
CREATED = event({"type": "response.created", "response": {}})
FAILED = event({"type": "response.failed", "response": {"error": {"code": "server_error"}}})
LIMITED = event({"error": {"code": "rate_limit_exceeded"}})
BAD = event({"error": {"type": "invalid_request_error"}})


def sse(*chunks: bytes | asyncio.Event | Step, **more: object) -> Answer:
    return Answer(headers=SSE_HEADERS, chunks=chunks, **more)  # type: ignore[arg-type]


def ours(dialect: str = "openai.chat") -> Call:
    return call(dialect=dialect, model="m")


@pytest.mark.parametrize(
    ("dialect", "chunks"),
    [
        ("anthropic.messages", [START + PING, OVERLOADED]),
        ("anthropic.messages", [(START + OVERLOADED)[:-1], b"\n"]),
        ("openai.responses", [CREATED + FAILED]),
        ("openai.chat", [PING, ROLE, LIMITED]),
        ("openai.chat", [LIMITED.rstrip()]),
    ],
)
async def test_an_overload_inside_a_stream_sends_us_to_the_next(dialect: str, chunks: list[bytes]) -> None:
    async with ScriptedUpstream() as first, ScriptedUpstream() as second:
        first.enqueue(sse(*chunks))
        second.enqueue(sse(ROLE, TEXT))
        async with opened(target(first.url), target(second.url, "two", order=1)) as pool:
            reply = await pool.send(ours(dialect))
            assert (reply.upstream, await read(reply)) == ("two", ROLE + TEXT)
            one, two = pool.statistics().targets
            assert (one.open, one.retries, two.retries) == (0, 0, 1)


async def test_a_stream_that_is_given_up_is_closed() -> None:
    async with ScriptedUpstream() as first, ScriptedUpstream() as second:
        first.enqueue(sse(START, OVERLOADED, asyncio.Event()))
        async with opened(target(first.url), target(second.url, "two", order=1)) as pool:
            await read(await pool.send(ours()))
            await first.wait_connections(0)


async def test_it_counts_as_a_failure_of_the_target() -> None:
    async with (
        ScriptedUpstream(script=lambda _: sse(START, OVERLOADED)) as upstream,
        opened(target(upstream.url)) as pool,
    ):
        for _ in range(10):
            assert await read(await pool.send(ours())) == START + OVERLOADED
        assert pool.statistics().targets[0].state == "open"


@pytest.mark.parametrize("chunks", [[ROLE, BAD], [TEXT, OVERLOADED], [ROLE + TEXT + OVERLOADED], [b"data: [DONE]\n\n"]])
async def test_other_errors_and_what_comes_after_content_are_the_callers(chunks: list[bytes]) -> None:
    async with ScriptedUpstream() as first, ScriptedUpstream() as second:
        first.enqueue(sse(*chunks))
        async with opened(target(first.url), target(second.url, "two", order=1)) as pool:
            assert await read(await pool.send(ours())) == b"".join(chunks)
        assert second.requests == []


async def test_when_nobody_else_answers_the_stream_is_given_as_it_came() -> None:
    async with ScriptedUpstream() as upstream, opened(target(upstream.url)) as pool:
        upstream.enqueue(sse(START, PING, OVERLOADED, b"data: tail"))
        reply = await pool.send(ours())
        assert (reply.status, await read(reply)) == (200, START + PING + OVERLOADED + b"data: tail")


async def test_what_was_held_comes_in_order_and_in_the_pieces_in_which_it_arrived() -> None:
    rest = asyncio.Event()
    async with ScriptedUpstream() as upstream, opened(target(upstream.url)) as pool:
        upstream.enqueue(sse(PING, rest, TEXT, TEXT))
        sending = asyncio.ensure_future(pool.send(ours()))
        await asyncio.wait([sending], timeout=SOON)
        assert not sending.done(), "no head before there is content"
        rest.set()
        chunks = [chunk async for chunk in (await sending).chunks()]
        assert (chunks[0], b"".join(chunks)) == (PING, PING + TEXT + TEXT)


@pytest.mark.parametrize(
    "asked, answer",
    [
        (call(), sse(PING, asyncio.Event())),
        (ours(), Answer(chunks=[b"{", asyncio.Event()])),
        (ours(), Answer(status=400, headers=SSE_HEADERS, chunks=[OVERLOADED, asyncio.Event()])),
        (ours(), Answer(headers=[*SSE_HEADERS, ("Content-Encoding", "gzip")], chunks=[b"\x1f", asyncio.Event()])),
    ],
    ids=["passed through", "not a stream", "not 200", "compressed"],
)
async def test_nothing_else_is_held(asked: Call, answer: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reply_module, "OPENING_S", NEVER)
    async with ScriptedUpstream() as upstream, opened(target(upstream.url)) as pool:
        upstream.enqueue(answer)
        async with asyncio.timeout(10):
            reply = await pool.send(asked)
        await reply.close()


async def test_a_compressed_stream_comes_as_it_was_sent() -> None:
    body = gzip.compress(OVERLOADED)
    async with ScriptedUpstream() as upstream, opened(target(upstream.url)) as pool:
        upstream.enqueue(Answer(headers=[*SSE_HEADERS, ("Content-Encoding", "gzip")], body=body))
        assert await read(await pool.send(ours())) == body


async def test_holding_is_bounded_in_bytes() -> None:
    never = asyncio.Event()
    long = event({"type": "response.created", "response": {"instructions": "x" * MAX_OPENING}})
    async with ScriptedUpstream() as upstream, opened(target(upstream.url)) as pool:
        upstream.enqueue(sse(long, never))
        reply = await pool.send(ours())
        got = b""
        async for chunk in reply.chunks():
            got += chunk
            if len(got) == len(long):
                break
        assert got == long
        await reply.close()


async def test_holding_is_bounded_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reply_module, "OPENING_S", SOON)
    rest = asyncio.Event()
    async with ScriptedUpstream() as upstream, opened(target(upstream.url)) as pool:
        upstream.enqueue(sse(PING, rest, TEXT))
        async with asyncio.timeout(10):
            reply = await pool.send(ours())
        rest.set()
        assert await read(reply) == PING + TEXT
        assert pool.statistics().targets[0].failures == 0


async def test_a_stream_cut_while_it_is_held_breaks_at_its_place() -> None:
    async with ScriptedUpstream() as first, ScriptedUpstream() as second:
        first.enqueue(sse(ROLE, Step.CUT))
        async with opened(target(first.url), target(second.url, "two", order=1)) as pool:
            chunks = (await pool.send(ours())).chunks()
            assert await anext(chunks) == ROLE
            with pytest.raises(UpstreamBroken):
                await anext(chunks)
            assert pool.statistics().targets[0].failures == 1
        assert second.requests == [], "it may have been processed"


async def test_the_timers_run_while_a_stream_is_held() -> None:
    async with (
        ScriptedUpstream() as upstream,
        opened(target(upstream.url, timers=timers(between_chunks=ENOUGH))) as pool,
    ):
        upstream.enqueue(sse(PING, asyncio.Event()))
        chunks = (await pool.send(ours())).chunks()
        assert await anext(chunks) == PING
        with pytest.raises(UpstreamTimeout):
            await anext(chunks)


async def test_the_caller_leaves_while_a_stream_is_held() -> None:
    async with (
        ScriptedUpstream(script=lambda _: sse(PING, asyncio.Event())) as upstream,
        opened(target(upstream.url)) as pool,
    ):
        for _ in range(50):
            upstream.requests.clear()
            sending = asyncio.ensure_future(pool.send(ours()))
            await upstream.wait_requests(1)
            for _ in range(5):
                await asyncio.sleep(0)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            await upstream.wait_connections(0)
            assert pool.statistics().targets[0].open == 0


@pytest.mark.parametrize("at", range(0, len(ROLE + PING + TEXT), 7))
async def test_wherever_its_bytes_are_cut_a_stream_stays_the_same(at: int) -> None:
    body = ROLE + PING + TEXT
    async with ScriptedUpstream() as upstream, opened(target(upstream.url)) as pool:
        upstream.enqueue(sse(body[:at] or b":\n\n", body[at:]))
        assert await read(await pool.send(ours())) == (body if at else b":\n\n" + body)
        assert json.loads(TEXT[6:])
