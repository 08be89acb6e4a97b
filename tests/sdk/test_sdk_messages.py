"""Anthropic's SDK, unmodified: only its base URL is another one."""

import asyncio
from typing import Any

import anthropic
import pytest
from providers import CALLS, TOKENS, said

from edgecache.testing.node import Node
from edgecache.testing.scripted_upstream import JSON_HEADERS, SSE_HEADERS, Answer, ScriptedUpstream, Step

QUESTION = "What is the weather in Paris and Oslo?"
MESSAGES: list[Any] = [{"role": "user", "content": QUESTION}]
ASKED: dict[str, Any] = {"model": "claude-of-these-tests", "max_tokens": 100, "messages": MESSAGES}
TOOL: dict[str, Any] = {
    "name": "weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}
START = (
    b'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant",'
    b'"model":"claude-of-these-tests","content":[],"stop_reason":null,"stop_sequence":null,'
    b'"usage":{"input_tokens":1,"output_tokens":1}}}\n\n'
    b'event: content_block_start\ndata: {"type":"content_block_start","index":0,'
    b'"content_block":{"type":"text","text":""}}\n\n'
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
    b'"delta":{"type":"text_delta","text":"Hel"}}\n\n'
)


def text_of(message: Any) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


async def test_a_message(claude: anthropic.AsyncAnthropic, upstream: ScriptedUpstream) -> None:
    for outcome in ("MISS", "HIT"):
        raw = await claude.messages.with_raw_response.create(**ASKED)
        assert raw.headers["X-Cache"] == outcome
        message = await raw.parse()
        assert (text_of(message), message.stop_reason) == (said(QUESTION), "end_turn")
        assert (message.usage.input_tokens, message.usage.output_tokens) == TOKENS
    assert len(upstream.requests) == 1
    shown = upstream.requests[0].header("x-api-key") or upstream.requests[0].header("Authorization") or ""
    assert shown.removeprefix("Bearer ") == "sk-own"


@pytest.mark.parametrize("first", ["create", "stream"])
async def test_the_helper_that_gathers_a_stream(
    claude: anthropic.AsyncAnthropic, upstream: ScriptedUpstream, node: Node, first: str
) -> None:
    """Also of what was not streamed when it was filled."""
    if first == "create":
        await claude.messages.create(**ASKED)
    for _ in range(2):
        async with claude.messages.stream(**ASKED) as stream:
            text = "".join([piece async for piece in stream.text_stream])
            final = await stream.get_final_message()
        assert text == text_of(final) == said(QUESTION)
        assert (final.usage.input_tokens, final.usage.output_tokens) == TOKENS
        await node.landed()
    assert text_of(await claude.messages.create(**ASKED)) == said(QUESTION)
    assert len(upstream.requests) == 1


async def test_the_events_of_a_stream(claude: anthropic.AsyncAnthropic, upstream: ScriptedUpstream, node: Node) -> None:
    kinds = []
    for _ in range(2):
        kinds.append([told.type async for told in await claude.messages.create(**ASKED, stream=True)])
        await node.landed()
    assert kinds[0] == kinds[1]
    assert (kinds[0][0], kinds[0][-1]) == ("message_start", "message_stop")
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("streamed", [False, True])
async def test_tools_and_their_results(
    claude: anthropic.AsyncAnthropic, upstream: ScriptedUpstream, node: Node, streamed: bool
) -> None:
    for stream in (streamed, not streamed, streamed):
        first = await gathered(claude, stream, **ASKED, tools=[TOOL])
        assert first.stop_reason == "tool_use"
        uses = [block for block in first.content if block.type == "tool_use"]
        assert [(use.id, use.name, str(use.input).replace("'", '"')) for use in uses] == list(CALLS)
        await node.landed()
    assert len(upstream.requests) == 1
    results = [{"type": "tool_result", "tool_use_id": use.id, "content": "rain"} for use in uses]
    history = [*MESSAGES, {"role": "assistant", "content": first.content}, {"role": "user", "content": results}]
    for stream in (False, True):
        second = await gathered(claude, stream, **{**ASKED, "messages": history}, tools=[TOOL])
        assert second.stop_reason == "end_turn"
    assert len(upstream.requests) == 2


async def gathered(claude: anthropic.AsyncAnthropic, stream: bool, **asked: Any) -> Any:
    if not stream:
        return await claude.messages.create(**asked)
    async with claude.messages.stream(**asked) as helper:
        return await helper.get_final_message()


async def test_tokens_are_counted_by_the_provider(claude: anthropic.AsyncAnthropic, upstream: ScriptedUpstream) -> None:
    for _ in range(2):
        counted = await claude.messages.count_tokens(model="claude-of-these-tests", messages=MESSAGES)
        assert counted.input_tokens == 12
    assert len(upstream.requests) == 2


ERRORS = [
    (400, "invalid_request_error", anthropic.BadRequestError),
    (401, "authentication_error", anthropic.AuthenticationError),
    (403, "permission_error", anthropic.PermissionDeniedError),
    (404, "not_found_error", anthropic.NotFoundError),
    (413, "request_too_large", anthropic.APIStatusError),
    (429, "rate_limit_error", anthropic.RateLimitError),
    (500, "api_error", anthropic.InternalServerError),
]


@pytest.mark.parametrize(("status", "kind", "error"), ERRORS)
@pytest.mark.parametrize("stream", [False, True])
async def test_the_providers_errors(
    claude: anthropic.AsyncAnthropic,
    upstream: ScriptedUpstream,
    status: int,
    kind: str,
    error: type[anthropic.APIStatusError],
    stream: bool,
) -> None:
    body = f'{{"type":"error","error":{{"type":"{kind}","message":"No, for this reason."}},"request_id":"req_1"}}'
    headers = (*JSON_HEADERS, ("Retry-After", "7"), ("request-id", "req_1"))
    upstream.enqueue(Answer(status=status, headers=headers, body=body.encode()))
    with pytest.raises(error, match="No, for this reason") as raised:
        await claude.messages.create(**ASKED, stream=stream)
    assert raised.value.type == kind
    assert raised.value.response.headers["Retry-After"] == "7"
    assert text_of(await claude.messages.create(**ASKED)) == said(QUESTION)


async def test_errors_of_our_own(claude: anthropic.AsyncAnthropic, upstream: ScriptedUpstream) -> None:
    """In Anthropic's shape, with the type that goes with the status."""
    with pytest.raises(anthropic.BadRequestError, match="JSON") as raised:
        await claude.post("/v1/messages", content=b"{", cast_to=object)
    assert raised.value.type == "invalid_request_error"
    await upstream.close()
    with pytest.raises(anthropic.InternalServerError) as raised:
        await claude.messages.create(**ASKED)
    assert raised.value.type == "api_error"


async def test_a_stream_that_is_left_in_the_middle(
    claude: anthropic.AsyncAnthropic, upstream: ScriptedUpstream, node: Node
) -> None:
    upstream.enqueue(Answer(headers=SSE_HEADERS, chunks=[START, asyncio.Event()]))
    stream = await claude.messages.create(**ASKED, stream=True)
    await anext(aiter(stream))
    await stream.close()
    await upstream.wait_connections(0)
    await node.landed()
    assert await node.stored() == 0


async def test_a_stream_that_is_cut(claude: anthropic.AsyncAnthropic, upstream: ScriptedUpstream, node: Node) -> None:
    """The SDK must not take half an answer for a whole one."""
    upstream.enqueue(Answer(headers=SSE_HEADERS, chunks=[START, Step.CUT]))
    with pytest.raises(anthropic.APIError, match="cut before its end"):
        async with claude.messages.stream(**ASKED) as stream:
            await stream.get_final_message()
    await node.landed()
    assert await node.stored() == 0
