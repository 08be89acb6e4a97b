"""OpenAI's SDK and chat completions: tools, helpers, structured output, errors. What is plain is in tests/edge."""

import asyncio
from typing import Any

import msgspec
import openai
import pytest
from providers import CALLS, TOKENS, said
from pydantic import BaseModel

from edgecache.testing.node import Node
from edgecache.testing.scripted_upstream import (
    JSON_HEADERS,
    SSE_HEADERS,
    Answer,
    ScriptedUpstream,
    Step,
    event,
    refusal,
)

QUESTION = "What is the weather in Paris and Oslo?"
MESSAGES: list[Any] = [{"role": "user", "content": QUESTION}]
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}
ASKED: dict[str, Any] = {"model": "gpt-4o", "messages": MESSAGES}


async def test_tools_and_their_results(gpt: openai.AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    for _ in range(2):
        first = await gpt.chat.completions.create(**ASKED, tools=[TOOL])
        assert first.choices[0].finish_reason == "tool_calls"
        calls = first.choices[0].message.tool_calls or []
        assert [(call.id, call.function.name, call.function.arguments) for call in calls] == list(CALLS)  # type: ignore[union-attr]
    assert len(upstream.requests) == 1
    results = [{"role": "tool", "tool_call_id": call.id, "content": "rain"} for call in calls]
    history: Any = [*MESSAGES, first.choices[0].message, *results]
    for _ in range(2):
        second = await gpt.chat.completions.create(model="gpt-4o", messages=history, tools=[TOOL])
        assert second.choices[0].message.content == said(QUESTION)
    assert len(upstream.requests) == 2


@pytest.mark.parametrize("first", ["create", "stream"])
async def test_tools_streamed_by_the_helper(
    gpt: openai.AsyncOpenAI, upstream: ScriptedUpstream, node: Node, first: str
) -> None:
    """Also where the fill was not streamed."""
    if first == "create":
        await gpt.chat.completions.create(**ASKED, tools=[TOOL])
    for _ in range(2):
        async with gpt.chat.completions.stream(**ASKED, tools=[TOOL]) as stream:
            kinds = [told.type async for told in stream]
            final = await stream.get_final_completion()
        assert kinds.count("tool_calls.function.arguments.done") == 2
        calls = final.choices[0].message.tool_calls or []
        assert [(call.function.name, call.function.arguments) for call in calls] == [call[1:] for call in CALLS]
        await node.landed()
    assert len(upstream.requests) == 1


class Colour(BaseModel):
    red: int


async def test_structured_output(gpt: openai.AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    message = {"role": "assistant", "content": '{"red": 7}', "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    shape = {"id": "c", "object": "chat.completion", "created": 1, "model": "gpt-4o", "choices": [choice]}
    upstream.enqueue(Answer(body=msgspec.json.encode(shape)))
    for _ in range(2):
        parsed = await gpt.chat.completions.parse(**ASKED, response_format=Colour)
        assert parsed.choices[0].message.parsed == Colour(red=7)
    assert len(upstream.requests) == 1


async def test_usage_is_the_same_whoever_asks_first(
    gpt: openai.AsyncOpenAI, upstream: ScriptedUpstream, node: Node
) -> None:
    stream = await gpt.chat.completions.create(**ASKED, stream=True)
    assert [chunk.usage async for chunk in stream] and len(upstream.requests) == 1
    await node.landed()
    whole = await gpt.chat.completions.create(**ASKED)
    assert whole.usage is not None
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == TOKENS
    assert len(upstream.requests) == 1


async def test_too_many_requests(gpt: openai.AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    busy = refusal(429, "Slow down.")
    upstream.enqueue(Answer(status=429, headers=(*JSON_HEADERS, ("Retry-After", "7")), body=busy.body))
    with pytest.raises(openai.RateLimitError, match="Slow down") as raised:
        await gpt.chat.completions.create(**ASKED)
    assert raised.value.response.headers["Retry-After"] == "7"
    assert raised.value.type == "invalid_request_error"
    assert (await gpt.chat.completions.create(**ASKED)).choices[0].message.content == said(QUESTION)


async def test_a_body_that_is_none(node: Node, gpt: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="JSON"):
        await gpt.post("/chat/completions", content=b"{", cast_to=object, options={"headers": {}})


async def test_an_upstream_that_is_gone(gpt: openai.AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    await upstream.close()
    with pytest.raises(openai.InternalServerError):
        await gpt.chat.completions.create(**ASKED)


async def test_a_stream_that_is_left_in_the_middle(
    gpt: openai.AsyncOpenAI, upstream: ScriptedUpstream, node: Node
) -> None:
    """Nothing is stored of it; who asks next gets a whole one."""
    chunk = event({"id": "1", "choices": [{"index": 0, "delta": {"content": "Hel"}}]})
    upstream.enqueue(Answer(headers=SSE_HEADERS, chunks=[chunk, asyncio.Event()]))
    stream = await gpt.chat.completions.create(**ASKED, stream=True)
    await anext(stream)  # type: ignore[call-overload]
    await stream.close()
    await upstream.wait_connections(0)
    await node.landed()
    assert await node.stored() == 0
    async with gpt.chat.completions.stream(**ASKED) as helper:
        final = await helper.get_final_completion()
    assert final.choices[0].message.content == said(QUESTION)


async def test_a_task_that_is_cancelled(gpt: openai.AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    upstream.enqueue(Answer(before_head=asyncio.Event()))
    asking = asyncio.create_task(gpt.chat.completions.create(**ASKED))
    await upstream.wait_requests(1)
    asking.cancel()
    await upstream.wait_connections(0)
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_a_stream_that_is_cut_is_not_kept(
    gpt: openai.AsyncOpenAI, upstream: ScriptedUpstream, node: Node
) -> None:
    chunk = event({"id": "1", "choices": [{"index": 0, "delta": {"content": "Hel"}}]})
    upstream.enqueue(Answer(headers=SSE_HEADERS, chunks=[chunk, Step.CUT]))
    with pytest.raises(openai.APIError, match="cut before its end"):
        async for _ in await gpt.chat.completions.create(**ASKED, stream=True):
            pass
    await node.landed()
    assert await node.stored() == 0
