"""What comes back as it came and is not kept: errors, unfinished answers, what the origin forbids, what only it can
judge.
"""

import asyncio
import json

import aiohttp
import pytest

from edgecache.testing.node import JSON, Node, Reply
from edgecache.testing.scripted_upstream import JSON_HEADERS, SSE_HEADERS, Answer, ScriptedUpstream, Step, event
from edgecache.wire.dialect import UNREADABLE

QUESTION = "How do I enable dark mode in the settings?"


def completion(finish: object = "stop", **message: object) -> bytes:
    said = {"role": "assistant", "content": "Hello", **message}
    choice = {"index": 0, "message": said, "finish_reason": finish}
    return json.dumps({"id": "1", "object": "chat.completion", "model": "gpt-4o", "choices": [choice]}).encode()


def chunk(finish: object = None, **delta: object) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return event({"id": "1", "object": "chat.completion.chunk", "model": "gpt-4o", "choices": [choice]})


DONE = b"data: [DONE]\n\n"


async def asked_twice(node: Node, upstream: ScriptedUpstream, answer: Answer, **fields: object) -> list[Reply]:
    """The same question twice, and the same answer waiting each time. Both go upstream."""
    upstream.enqueue(answer, answer)
    replies = []
    for _ in range(2):
        replies.append(await node.chat(QUESTION, **fields))
        await node.landed()
    assert len(upstream.requests) == 2
    assert await node.stored() == 0
    assert [reply.headers["X-Cache"] for reply in replies] == ["MISS", "MISS"]
    return replies


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 429, 500, 502, 503, 529])
@pytest.mark.parametrize("stream", [False, True])
async def test_errors_come_back_as_they_came(node: Node, upstream: ScriptedUpstream, status: int, stream: bool) -> None:
    body = b'{"error": {"message": "no\\u0020good", "type": "x", "extra": 1.50}}'
    headers = (*JSON_HEADERS, ("Retry-After", "3"), ("x-request-id", "req_1"), ("x-ratelimit-remaining-tokens", "0"))
    for reply in await asked_twice(node, upstream, Answer(status=status, headers=headers, body=body), stream=stream):
        assert (reply.status, reply.body) == (status, body)
        assert reply.headers["Cache-Status"].startswith(f"edgecache; fwd=miss; fwd-status={status}")
        assert [reply.headers[name] for name, _ in headers] == [value for _, value in headers]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (completion("length"), "finish_reason length"),
        (completion("content_filter"), "finish_reason content_filter"),
        (completion(None), "finish_reason None"),
        (completion(refusal="I cannot."), "refusal"),
        (b'{"choices": []}', "no choices"),
        (b'{"error": {"message": "200 with an error"}}', "error in the answer"),
        (b"not JSON", UNREADABLE.why_not_stored),
        (b"", UNREADABLE.why_not_stored),
    ],
)
async def test_an_answer_that_did_not_come_to_a_good_end_is_not_stored(
    node: Node, upstream: ScriptedUpstream, body: bytes, why: str
) -> None:
    for reply in await asked_twice(node, upstream, Answer(body=body)):
        assert (reply.status, reply.body) == (200, body)
        detail = why if " " not in why else f'"{why}"'  # RFC 9211 section 2.9: a token or a string
        assert reply.headers["Cache-Status"] == f"edgecache; fwd=miss; fwd-status=200; stored=?0; detail={detail}"


@pytest.mark.parametrize(
    "chunks",
    [
        [chunk(content="Hel"), chunk("length", content="lo"), DONE],
        [chunk(refusal="I cannot."), chunk("stop"), DONE],
        [chunk(content="Hello"), DONE],
        [chunk(content="Hello"), chunk("stop")],
        [chunk(content="Hello"), event({"error": {"message": "overloaded"}}), DONE],
        [DONE],
    ],
    ids=["length", "refusal", "no finish", "no end", "error in the stream", "nothing"],
)
async def test_a_stream_that_did_not_come_to_a_good_end_is_not_stored(
    node: Node, upstream: ScriptedUpstream, chunks: list[bytes]
) -> None:
    for reply in await asked_twice(node, upstream, Answer(headers=SSE_HEADERS, chunks=chunks), stream=True):
        assert reply.body == b"".join(chunks)


@pytest.mark.parametrize("announced", [(), (("Content-Length", "100000"),)], ids=["chunked", "by length"])
async def test_a_stream_that_is_cut_is_cut_for_the_client_too(
    node: Node, upstream: ScriptedUpstream, announced: tuple
) -> None:
    answer = Answer(headers=(*SSE_HEADERS, *announced), chunks=[chunk(content="Hel"), Step.CUT])
    upstream.enqueue(answer, answer)
    for _ in range(2):
        with pytest.raises(aiohttp.ClientPayloadError):
            await node.chat(QUESTION, stream=True)
        await node.landed()
    assert len(upstream.requests) == 2
    assert await node.stored() == 0


async def test_json_that_is_cut_is_an_error(node: Node, upstream: ScriptedUpstream) -> None:
    answer = Answer(chunks=[completion()[:20], Step.CUT])
    upstream.enqueue(answer)
    cut = await node.chat(QUESTION)
    assert cut.status == 502
    assert cut.error["code"] == "upstream_broken"
    assert await node.stored() == 0


async def test_a_stream_that_was_cut_cannot_be_turned_into_json(node: Node, upstream: ScriptedUpstream) -> None:
    """The provider streams unasked and stops without an end: half an answer must not look whole."""
    upstream.enqueue(Answer(headers=SSE_HEADERS, chunks=[chunk(content="Hel")]))
    assert (await node.chat(QUESTION)).status == 502
    assert await node.stored() == 0


@pytest.mark.parametrize("name", ["CDN-Cache-Control", "Surrogate-Control"])
@pytest.mark.parametrize("value", ["no-store", "private", "max-age=0"])
async def test_what_the_origin_forbids_to_store_is_not(
    node: Node, upstream: ScriptedUpstream, name: str, value: str
) -> None:
    answer = Answer(headers=(*JSON_HEADERS, (name, value)), body=completion())
    for reply in await asked_twice(node, upstream, answer):
        assert f'stored=?0; detail="{name.lower()}: ' in reply.headers["Cache-Status"]


@pytest.mark.parametrize("value", ["Authorization", "*", "Accept-Encoding, X-Team", "origin,COOKIE"])
async def test_what_varies_by_a_header_that_is_not_asked_about_is_not(
    node: Node, upstream: ScriptedUpstream, value: str
) -> None:
    answer = Answer(headers=(*JSON_HEADERS, ("Vary", "Origin"), ("vary", value)), body=completion())
    for reply in await asked_twice(node, upstream, answer):
        assert 'stored=?0; detail="vary: ' in reply.headers["Cache-Status"]


async def test_what_varies_by_encoding_and_origin_is_stored(node: Node, upstream: ScriptedUpstream) -> None:
    upstream.enqueue(
        Answer(
            headers=(*JSON_HEADERS, ("Vary", "Accept-Encoding, ORIGIN, Access-Control-Request-Method")),
            body=completion(),
        )
    )
    await node.chat(QUESTION)
    assert (await node.chat(QUESTION)).headers["X-Cache"] == "HIT"


async def test_cache_control_of_providers_is_not_obeyed(node: Node, upstream: ScriptedUpstream) -> None:
    """They send `no-cache` on every stream."""
    assert ("Cache-Control", "no-cache") in SSE_HEADERS
    await node.chat(QUESTION, stream=True)
    await node.landed()
    assert await node.stored() == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_over_the_routes_limit_is_not_stored(
    node: Node, upstream: ScriptedUpstream, stream: bool
) -> None:
    long = "x" * (5 << 20)
    if stream:
        pieces = [chunk(content=long[at : at + 65_536]) for at in range(0, len(long), 65_536)]
        answer = Answer(headers=SSE_HEADERS, chunks=[*pieces, chunk("stop"), DONE])
    else:
        answer = Answer(body=completion(content=long))
    for reply in await asked_twice(node, upstream, answer, stream=stream):
        assert reply.text == long


@pytest.mark.parametrize("media", ["text/plain", "text/html; charset=utf-8", ""])
async def test_what_is_neither_json_nor_a_stream_comes_back_as_it_came(
    node: Node, upstream: ScriptedUpstream, media: str
) -> None:
    headers = (("Content-Type", media),) if media else ()
    for reply in await asked_twice(node, upstream, Answer(headers=headers, body=b"<html>hello")):
        assert (reply.status, reply.body) == (200, b"<html>hello")


async def test_a_compressed_answer_nobody_asked_for_comes_back_as_it_came(
    node: Node, upstream: ScriptedUpstream
) -> None:
    headers = (*JSON_HEADERS, ("Content-Encoding", "gzip"))
    for reply in await asked_twice(node, upstream, Answer(headers=headers, body=b"\x1f\x8bxx")):
        assert (reply.headers["Content-Encoding"], reply.body) == ("gzip", b"\x1f\x8bxx")


async def test_nothing_compressed_is_asked_for_when_the_answer_may_be_stored(
    node: Node, upstream: ScriptedUpstream
) -> None:
    await node.chat(QUESTION, headers={"Accept-Encoding": "gzip, br"})
    assert upstream.requests[0].header("Accept-Encoding") in (None, "identity")


MESSAGES = b'"messages": [{"role": "user", "content": "Hi"}]'


@pytest.mark.parametrize(
    "body",
    [
        b'{"model": "gpt-4o", "model": "gpt-4o", ' + MESSAGES + b"}",
        b'{"model": "gpt-4o", "messages": [{"role": "user", "role": "user", "content": "Hi"}]}',
        b"{" + MESSAGES + b"}",
        b'{"model": 7, ' + MESSAGES + b"}",
        b'{"model": "gpt-4o"}',
        b'{"model": "gpt-4o", "messages": []}',
        b'{"model": "gpt-4o", "messages": "Hi"}',
        b'{"model": "gpt-4o", "messages": [1]}',
        b'{"model": "gpt-4o", "stream": "yes", ' + MESSAGES + b"}",
        b'{"model": "gpt-4o", "modalities": ["audio"], ' + MESSAGES + b"}",
        b'{"model": "gpt-4o", "seed": 1e999, ' + MESSAGES + b"}",
        b'[1, "array"]',
        b" null\n",
        b"7",
    ],
)
async def test_what_only_the_provider_can_judge_goes_to_it_as_it_came(
    node: Node, upstream: ScriptedUpstream, body: bytes
) -> None:
    answer = Answer(status=400, body=b'{"error": {"message": "theirs"}}')
    upstream.enqueue(answer, answer)
    for number in (1, 2):
        reply = await node.ask("POST", "/v1/chat/completions", body, headers={**JSON, "Accept-Encoding": "gzip"})
        assert (reply.status, reply.body) == (400, answer.body)
        assert reply.headers["X-Cache"] == "BYPASS"
        assert "fwd=bypass" in reply.headers["Cache-Status"]
        assert len(upstream.requests) == number
        assert upstream.requests[-1].body == body
        assert upstream.requests[-1].header("Accept-Encoding") is None, "what an answer cost is read from it"
    assert await node.stored() == 0


async def test_a_compressed_request_goes_to_the_provider_as_it_came(node: Node, upstream: ScriptedUpstream) -> None:
    for _ in range(2):
        await node.ask("POST", "/v1/chat/completions", b"\x1f\x8b...", headers={**JSON, "Content-Encoding": "gzip"})
    assert [request.body for request in upstream.requests] == [b"\x1f\x8b..."] * 2
    assert upstream.requests[0].header("Content-Encoding") == "gzip"


async def test_an_upstream_that_cannot_be_reached_is_an_error_in_the_providers_shape(
    node: Node, upstream: ScriptedUpstream
) -> None:
    await upstream.close()
    refused = await node.chat(QUESTION)
    assert refused.status == 502
    assert refused.error["code"] == "upstream_unreachable"
    await upstream.open()
    assert (await node.chat(QUESTION)).status == 200


async def test_a_stream_that_fails_is_no_answer_for_who_wants_one_body(node: Node, upstream: ScriptedUpstream) -> None:
    """It joined the stream of another caller, who sees the error in it."""
    go = asyncio.Event()
    begun = b'data: {"choices":[{"index":0,"delta":{"content":"Half"}}]}\n\n'
    failed = b'data: {"error":{"message":"overloaded"}}\n\ndata: [DONE]\n\n'
    upstream.enqueue(Answer(headers=SSE_HEADERS, chunks=[begun, go, failed]))
    streaming = asyncio.create_task(node.chat(QUESTION, stream=True))
    await upstream.wait_requests(1)
    joining = asyncio.create_task(node.chat(QUESTION))
    async with asyncio.timeout(60):
        while (await node.statistics())["flights"]["joined"] < 1:
            await asyncio.sleep(0)
    go.set()
    assert b"overloaded" in (await streaming).body
    whole = await joining
    assert whole.status == 502
    assert whole.error["code"] == "upstream_broken"
    assert len(upstream.requests) == 1


async def test_an_answer_with_more_keys_than_are_read_is_not_stored(node: Node, upstream: ScriptedUpstream) -> None:
    """A purge of a key that was cut off would spare it."""
    keys = " ".join(f"{number:01000d}" for number in range(17))
    body = b'{"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}]}'
    answer = Answer(headers=(*JSON_HEADERS, ("Surrogate-Key", keys)), body=body)
    for reply in await asked_twice(node, upstream, answer):
        assert 'detail="too many surrogate keys"' in reply.headers["Cache-Status"]
