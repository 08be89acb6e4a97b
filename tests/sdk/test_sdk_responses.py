"""OpenAI's SDK and the Responses API."""

import asyncio
from typing import Any

import openai
import pytest
from providers import CALLS, TOKENS, response_saying, said
from pydantic import BaseModel

from edgecache.testing.node import Node
from edgecache.testing.scripted_upstream import JSON_HEADERS, SSE_HEADERS, Answer, ScriptedUpstream, Step, refusal

QUESTION = "What is the weather in Paris and Oslo?"
ASKED: dict[str, Any] = {"model": "gpt-4o", "input": QUESTION}
TOOL: dict[str, Any] = {
    "type": "function",
    "name": "weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": False,
}
BEGUN = (
    b'event: response.created\ndata: {"type":"response.created","sequence_number":0,"response":{"id":"resp_1",'
    b'"object":"response","created_at":1,"model":"gpt-4o","status":"in_progress","output":[],"tools":[],'
    b'"tool_choice":"auto","parallel_tool_calls":true}}\n\n'
    b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","sequence_number":1,'
    b'"item_id":"msg_1","output_index":0,"content_index":0,"delta":"Hel","logprobs":[]}\n\n'
)


async def test_a_response(gpt: openai.AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    for outcome in ("MISS", "HIT"):
        raw = await gpt.responses.with_raw_response.create(**ASKED)
        assert raw.headers["X-Cache"] == outcome
        response = raw.parse()
        assert (response.output_text, response.status) == (said(QUESTION), "completed")
        assert response.usage is not None
        assert (response.usage.input_tokens, response.usage.output_tokens) == TOKENS
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("first", ["create", "stream"])
async def test_the_helper_that_gathers_a_stream(
    gpt: openai.AsyncOpenAI, upstream: ScriptedUpstream, node: Node, first: str
) -> None:
    """Also of what was not streamed when it was filled."""
    if first == "create":
        await gpt.responses.create(**ASKED)
    for _ in range(2):
        async with gpt.responses.stream(**ASKED) as stream:
            events = [told async for told in stream]
            final = await stream.get_final_response()
        assert final.output_text == said(QUESTION)
        assert "".join(told.delta for told in events if told.type == "response.output_text.delta") == said(QUESTION)
        assert [told.sequence_number for told in events] == list(range(len(events)))
        await node.landed()
    assert (await gpt.responses.create(**ASKED)).output_text == said(QUESTION)
    assert len(upstream.requests) == 1


async def test_padding_is_not_replayed(gpt: openai.AsyncOpenAI, upstream: ScriptedUpstream, node: Node) -> None:
    for _ in range(2):
        stream = await gpt.responses.create(**ASKED, stream=True)
        events = [told async for told in stream]
        await node.landed()
    assert not any("obfuscation" in (told.model_extra or {}) for told in events)
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("streamed", [False, True])
async def test_tools_and_their_results(
    gpt: openai.AsyncOpenAI, upstream: ScriptedUpstream, node: Node, streamed: bool
) -> None:
    for stream in (streamed, not streamed, streamed):
        first = await gathered(gpt, stream, **ASKED, tools=[TOOL])
        calls = [item for item in first.output if item.type == "function_call"]
        assert [(call.call_id, call.name, call.arguments) for call in calls] == list(CALLS)
        await node.landed()
    assert len(upstream.requests) == 1
    results = [{"type": "function_call_output", "call_id": call.call_id, "output": "rain"} for call in calls]
    made = [call.model_dump(exclude_none=True, exclude={"parsed_arguments"}) for call in calls]
    history = [{"role": "user", "content": QUESTION}, *made, *results]
    for stream in (False, True):
        second = await gathered(gpt, stream, model="gpt-4o", input=history, tools=[TOOL])
        assert second.output_text == said(QUESTION)
        await node.landed()
    assert len(upstream.requests) == 2


async def gathered(gpt: openai.AsyncOpenAI, stream: bool, **asked: Any) -> Any:
    if not stream:
        return await gpt.responses.create(**asked)
    async with gpt.responses.stream(**asked) as helper:
        return await helper.get_final_response()


class Colour(BaseModel):
    red: int


async def test_structured_output(gpt: openai.AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    upstream.enqueue(response_saying('{"red": 7}'))
    for _ in range(2):
        parsed = await gpt.responses.parse(**ASKED, text_format=Colour)
        assert parsed.output_parsed == Colour(red=7)
    assert len(upstream.requests) == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"previous_response_id": "resp_0"},
        {"conversation": "conv_1"},
        {"background": True},
        {"tools": [{"type": "web_search"}]},
    ],
    ids=lambda fields: next(iter(fields)),
)
async def test_what_must_not_be_reused(
    gpt: openai.AsyncOpenAI, upstream: ScriptedUpstream, fields: dict[str, Any]
) -> None:
    for _ in range(2):
        await gpt.responses.create(**ASKED, **fields)
    assert len(upstream.requests) == 2


async def test_a_response_by_its_id_is_the_providers(gpt: openai.AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    """What the provider keeps is asked of it."""
    await gpt.responses.create(**ASKED)
    with pytest.raises(openai.NotFoundError):
        await gpt.responses.retrieve("resp_1")
    assert [request.method for request in upstream.requests] == ["POST", "GET"]


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_the_providers_errors(
    gpt: openai.AsyncOpenAI, upstream: ScriptedUpstream, status: int, error: type[openai.APIStatusError], stream: bool
) -> None:
    body = refusal(status, "No, for this reason.").body
    upstream.enqueue(Answer(status=status, headers=(*JSON_HEADERS, ("Retry-After", "7")), body=body))
    with pytest.raises(error, match="No, for this reason") as raised:
        await gpt.responses.create(**ASKED, stream=stream)
    assert raised.value.response.headers["Retry-After"] == "7"
    assert (await gpt.responses.create(**ASKED)).output_text == said(QUESTION)


async def test_a_stream_that_is_left_in_the_middle(
    gpt: openai.AsyncOpenAI, upstream: ScriptedUpstream, node: Node
) -> None:
    upstream.enqueue(Answer(headers=SSE_HEADERS, chunks=[BEGUN, asyncio.Event()]))
    stream = await gpt.responses.create(**ASKED, stream=True)
    await anext(aiter(stream))
    await stream.close()
    await upstream.wait_connections(0)
    await node.landed()
    assert await node.stored() == 0


async def test_a_stream_that_is_cut(gpt: openai.AsyncOpenAI, upstream: ScriptedUpstream, node: Node) -> None:
    """The SDK must not take half an answer for a whole one."""
    upstream.enqueue(Answer(headers=SSE_HEADERS, chunks=[BEGUN, Step.CUT]))
    with pytest.raises(openai.APIError, match="cut before its end"):
        async for _ in await gpt.responses.create(**ASKED, stream=True):
            pass
    await node.landed()
    assert await node.stored() == 0
