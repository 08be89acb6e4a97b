"""Identical requests in flight share one fill, and nobody's leaving disturbs anybody."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from edgecache.testing.node import JSON, SEMANTIC, Node, chat_body, running_node
from edgecache.testing.scripted_upstream import JSON_HEADERS, SSE_HEADERS, Answer, ScriptedUpstream, Step, event

QUESTION = "How do I enable dark mode in the settings?"
USAGE = {"include_usage": True}
DONE = b"data: [DONE]\n\n"
COMPLETION = json.dumps(
    {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}]}
).encode()


def piece(text: str, finish: str | None = None) -> bytes:
    return event({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]})


def stream(*steps: bytes | asyncio.Event | Step) -> Answer:
    return Answer(headers=SSE_HEADERS, chunks=steps)


@asynccontextmanager
async def listening(node: Node, **fields: object) -> AsyncGenerator[aiohttp.ClientResponse, None]:
    """A streamed answer that has begun."""
    body = chat_body(QUESTION, stream=True, **fields)
    async with node.session.post(f"{node.url}/v1/chat/completions", data=body, headers=JSON) as response:
        yield response


async def aboard(node: Node, count: int) -> None:
    """Until that many requests have joined or begun a flight, since the start."""
    async with asyncio.timeout(60):
        while (found := (await node.statistics())["flights"])["started"] + found["joined"] < count:
            pass


async def in_flight(node: Node, count: int) -> None:
    async with asyncio.timeout(60):
        while (await node.statistics())["flights"]["flying"] != count:
            pass


@pytest.mark.parametrize("streamed", [False, True])
async def test_identical_requests_at_once_are_one_upstream_request(
    node: Node, upstream: ScriptedUpstream, streamed: bool
) -> None:
    barrier = asyncio.Event()
    upstream.enqueue(
        Answer(headers=SSE_HEADERS, before_head=barrier, chunks=[piece("Hello", "stop"), DONE])
        if streamed
        else Answer(before_head=barrier, body=COMPLETION)
    )
    asked = [asyncio.create_task(node.chat(QUESTION, stream=streamed)) for _ in range(20)]
    await aboard(node, 20)
    barrier.set()
    replies = await asyncio.gather(*asked)
    assert len(upstream.requests) == 1
    assert len({reply.body for reply in replies}) == 1
    assert {reply.text for reply in replies} == {"Hello"}
    collapsed = ["collapsed" in reply.headers["Cache-Status"] for reply in replies]
    assert sorted(collapsed) == [False] + [True] * 19
    assert {reply.headers["X-Cache"] for reply in replies} == {"MISS"}


async def test_each_waiter_gets_every_piece_as_it_arrives(node: Node, upstream: ScriptedUpstream) -> None:
    barriers = [asyncio.Event() for _ in range(3)]
    upstream.enqueue(stream(piece("one"), barriers[0], piece("two"), barriers[1], piece("three", "stop"), DONE))
    async with listening(node) as first, listening(node) as second:
        for response in (first, second):
            assert await response.content.readuntil(b"\n\n") == piece("one")
        async with listening(node) as late:
            assert await late.content.readuntil(b"\n\n") == piece("one")
            barriers[0].set()
            for response in (first, second, late):
                assert await response.content.readuntil(b"\n\n") == piece("two")
            barriers[1].set()
            for response in (first, second, late):
                assert await response.read() == piece("three", "stop") + DONE
    assert len(upstream.requests) == 1


async def test_streamed_and_whole_answers_share_a_fill(node: Node, upstream: ScriptedUpstream) -> None:
    barrier = asyncio.Event()
    usage = event({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}})
    upstream.enqueue(stream(piece("Hel"), barrier, piece("lo", "stop"), usage, DONE))
    async with listening(node) as first:
        await first.content.readuntil(b"\n\n")
        whole = asyncio.create_task(node.chat(QUESTION))
        with_usage = asyncio.create_task(node.chat(QUESTION, stream=True, stream_options=USAGE))
        await aboard(node, 3)
        barrier.set()
        assert await first.read() == piece("lo", "stop") + DONE
    assert (await whole).text == "Hello"
    assert (await whole).headers["Content-Type"] == "application/json"
    assert (await whole).json()["usage"]["total_tokens"] == 2
    assert (await with_usage).body == piece("Hel") + piece("lo", "stop") + usage + DONE
    assert len(upstream.requests) == 1


async def test_a_whole_answer_in_flight_is_streamed_to_who_wants_a_stream(
    node: Node, upstream: ScriptedUpstream
) -> None:
    barrier = asyncio.Event()
    upstream.enqueue(Answer(before_head=barrier, body=COMPLETION))
    first = asyncio.create_task(node.chat(QUESTION))
    await aboard(node, 1)
    second = asyncio.create_task(node.chat(QUESTION, stream=True))
    await aboard(node, 2)
    barrier.set()
    assert (await first).body == COMPLETION
    assert (await second).text == "Hello"
    assert (await second).body.endswith(DONE)
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("leaver", [0, 1, 2], ids=["the leader", "a waiter", "the last"])
async def test_who_leaves_disturbs_nobody(node: Node, upstream: ScriptedUpstream, leaver: int) -> None:
    barrier = asyncio.Event()
    upstream.enqueue(stream(piece("Hel"), barrier, piece("lo", "stop"), DONE))
    async with listening(node) as a, listening(node) as b, listening(node) as c:
        staying = [a, b, c]
        for response in staying:
            await response.content.readuntil(b"\n\n")
        staying.pop(leaver).close()
        while (await node.statistics())["flights"]["passengers"] != 2:
            pass
        barrier.set()
        for response in staying:
            assert await response.read() == piece("lo", "stop") + DONE
    await node.landed()
    assert await node.stored() == 1
    assert (await node.chat(QUESTION)).headers["X-Cache"] == "HIT"
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("begun", [False, True], ids=["before the head", "in the stream"])
async def test_the_last_to_leave_ends_the_upstream_request(node: Node, upstream: ScriptedUpstream, begun: bool) -> None:
    never = asyncio.Event()
    upstream.enqueue(stream(piece("Hel"), never) if begun else Answer(before_head=never))
    asked = [asyncio.create_task(node.chat(QUESTION, stream=True)) for _ in range(3)]
    await aboard(node, 3)
    await upstream.wait_requests(1)
    for task in asked:
        task.cancel()
    await asyncio.gather(*asked, return_exceptions=True)
    await upstream.wait_connections(0)
    await in_flight(node, 0)
    assert await node.stored() == 0
    assert (await node.chat(QUESTION)).status == 200
    assert len(upstream.requests) == 2


async def test_who_asks_just_as_the_last_one_leaves_gets_an_answer(node: Node, upstream: ScriptedUpstream) -> None:
    """Of the fill that goes on for it, or of one of its own; never the error of one that is being cancelled."""
    for number in range(20):
        barrier = asyncio.Event()
        upstream.enqueue(stream(piece("Hel"), barrier, piece("lo", "stop"), DONE))
        async with listening(node, seed=number) as leaving:
            await leaving.content.readuntil(b"\n\n")
            leaving.close()
        asked = asyncio.create_task(node.chat(QUESTION, stream=True, seed=number))
        for _ in range(number % 4):
            await asyncio.sleep(0)
        await aboard(node, 2 * number + 2)
        barrier.set()
        reply = await asked
        assert (reply.status, reply.text in ("Hello", f"You asked: {QUESTION}")) == (200, True)


async def test_a_rule_may_say_to_finish_what_nobody_waits_for(tmp_path: Path, upstream: ScriptedUpstream) -> None:
    async with running_node(tmp_path, upstream=upstream, policy=SEMANTIC + "finish = true\n") as node:
        barrier = asyncio.Event()
        upstream.enqueue(stream(piece("Hel"), barrier, piece("lo", "stop"), DONE))
        async with listening(node) as response:
            await response.content.readuntil(b"\n\n")
        while (await node.statistics())["flights"]["passengers"]:
            pass
        barrier.set()
        await node.landed()
        hit = await node.chat(QUESTION)
        assert (hit.headers["X-Cache"], hit.text) == ("HIT", "Hello")
        assert len(upstream.requests) == 1


async def test_an_error_is_shared(node: Node, upstream: ScriptedUpstream) -> None:
    barrier = asyncio.Event()
    headers = (*JSON_HEADERS, ("Retry-After", "7"), ("Set-Cookie", "a=b"))
    upstream.enqueue(Answer(status=429, headers=headers, body=b'{"error": {}}', before_head=barrier))
    asked = [asyncio.create_task(node.chat(QUESTION)) for _ in range(5)]
    await aboard(node, 5)
    barrier.set()
    replies = await asyncio.gather(*asked)
    assert {(reply.status, reply.body, reply.headers["Retry-After"]) for reply in replies} == {
        (429, b'{"error": {}}', "7")
    }
    assert sum("Set-Cookie" in reply.headers for reply in replies) == 1
    assert len(upstream.requests) == 1
    assert await node.stored() == 0


@pytest.mark.parametrize("status", [304, 400, 401, 404, 412, 415, 416])
async def test_a_refusal_is_not_shared(node: Node, upstream: ScriptedUpstream, status: int) -> None:
    """It may be of the headers or the credential of the one who asked."""
    barrier = asyncio.Event()
    upstream.enqueue(Answer(status=status, before_head=barrier))
    asked = [asyncio.create_task(node.chat(QUESTION)) for _ in range(3)]
    await aboard(node, 3)
    await upstream.wait_requests(1)
    barrier.set()
    assert sorted(reply.status for reply in await asyncio.gather(*asked)) == [200, 200, status]
    assert len(upstream.requests) == 3


async def test_what_one_caller_asks_of_a_whole_answer_is_not_asked_for_all(
    node: Node, upstream: ScriptedUpstream
) -> None:
    headers = {
        "Range": "bytes=0-3", "If-Range": '"a"', "If-Match": '"a"', "If-None-Match": "*", "X-Mine": "kept",
        "If-Modified-Since": "Sat, 29 Oct 1994 19:43:31 GMT", "If-Unmodified-Since": "Sat, 29 Oct 1994 19:43:31 GMT",
    }  # fmt: skip
    await node.chat(QUESTION, headers=headers)
    sent = {name.lower() for name, _ in upstream.requests[0].headers}
    assert {name for name in headers if name.lower() in sent} == {"X-Mine"}


async def test_a_compressed_answer_is_shared_as_what_it_is(node: Node, upstream: ScriptedUpstream) -> None:
    barrier = asyncio.Event()
    headers = (*JSON_HEADERS, ("Content-Encoding", "gzip"))
    upstream.enqueue(Answer(headers=headers, body=b"\x1f\x8b", before_head=barrier))
    asked = [asyncio.create_task(node.chat(QUESTION)) for _ in range(3)]
    await aboard(node, 3)
    barrier.set()
    for reply in await asyncio.gather(*asked):
        assert (reply.headers["Content-Encoding"], reply.body) == ("gzip", b"\x1f\x8b")


async def test_an_unreachable_upstream_is_an_error_for_all(node: Node, upstream: ScriptedUpstream) -> None:
    await upstream.close()
    replies = await asyncio.gather(*(node.chat(QUESTION) for _ in range(5)))
    assert {(reply.status, reply.error["code"]) for reply in replies} == {(502, "upstream_unreachable")}


async def test_a_stream_that_is_cut_is_cut_for_all(node: Node, upstream: ScriptedUpstream) -> None:
    barrier = asyncio.Event()
    upstream.enqueue(stream(piece("Hel"), barrier, Step.CUT))
    async with listening(node) as first, listening(node) as second:
        for response in (first, second):
            await response.content.readuntil(b"\n\n")
        barrier.set()
        for response in (first, second):
            with pytest.raises(aiohttp.ClientPayloadError):
                await response.read()
    assert await node.stored() == 0


async def test_an_answer_that_must_not_be_stored_is_not_shared(node: Node, upstream: ScriptedUpstream) -> None:
    barrier = asyncio.Event()
    headers = (*JSON_HEADERS, ("CDN-Cache-Control", "private"))
    upstream.enqueue(*(Answer(headers=headers, body=COMPLETION, before_head=barrier) for _ in range(5)))
    asked = [asyncio.create_task(node.chat(QUESTION)) for _ in range(5)]
    await aboard(node, 5)
    await upstream.wait_requests(1)
    barrier.set()
    replies = await asyncio.gather(*asked)
    assert {reply.status for reply in replies} == {200}
    assert sorted(reply.headers["X-Cache"] for reply in replies) == ["BYPASS"] * 4 + ["MISS"]
    assert len(upstream.requests) == 5
    assert await node.stored() == 0


def endless(size: int) -> Callable[[], list[bytes]]:
    return lambda: [piece("x" * 65_536)] * (size // 65_536)


async def test_a_slow_client_of_a_huge_answer_does_not_fill_the_memory(node: Node, upstream: ScriptedUpstream) -> None:
    """Over the route's limit the fill waits for its slowest passenger: what is held does not grow with the answer."""
    at_end = asyncio.Event()
    watched = WatchedSteps([*endless(96 << 20)(), piece("", "stop"), DONE], at_end)
    upstream.enqueue(Answer(headers=SSE_HEADERS, chunks=watched))
    async with listening(node) as slow:
        await slow.content.readuntil(b"\n\n")
        held = -1
        while held != (held := watched.sent):  # until the upstream can send no more
            for _ in range(20):
                await node.statistics()
        assert held * 65_536 < 48 << 20
        assert not at_end.is_set()
        async for _ in slow.content.iter_any():
            pass
    assert at_end.is_set()
    assert await node.stored() == 0


class WatchedSteps(list[bytes]):
    """Chunks that count how many of them were taken."""

    def __init__(self, chunks: list[bytes], at_end: asyncio.Event) -> None:
        super().__init__(chunks)
        self.sent = 0
        self._at_end = at_end

    def __iter__(self):
        for chunk in list.__iter__(self):
            self.sent += 1
            yield chunk
        self._at_end.set()
