"""The official SDK, unmodified, in front of the node: only its base URL is another one."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import httpx
import openai
import pytest

from edgecache.testing.fake_model import FakeModel
from edgecache.testing.node import Node, running_node
from edgecache.testing.scripted_upstream import (
    JSON_HEADERS,
    SSE_HEADERS,
    Answer,
    ScriptedUpstream,
    Step,
    event,
    refusal,
)

QUESTION = "How do I enable dark mode in the settings?"
PARAPHRASE = "How do I turn on dark mode in the settings?"
TEXT = f"You asked: {QUESTION}"
MESSAGES: list = [{"role": "user", "content": QUESTION}]


@pytest.fixture
async def client(node: Node) -> AsyncGenerator[openai.AsyncOpenAI, None]:
    http = httpx.AsyncClient(verify=False, trust_env=False)  # reading certificates would block the loop
    options = {"base_url": f"{node.url}/v1", "api_key": "sk-own", "max_retries": 0, "http_client": http}
    async with openai.AsyncOpenAI(**options) as client:
        yield client


async def test_a_completion(client: openai.AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    for outcome in ("MISS", "HIT"):
        raw = await client.chat.completions.with_raw_response.create(model="gpt-4o", messages=MESSAGES)
        assert raw.headers["X-Cache"] == outcome
        completion = raw.parse()
        assert completion.choices[0].message.content == TEXT
        assert completion.choices[0].finish_reason == "stop"
        assert completion.usage is not None and completion.usage.total_tokens > 0
    assert len(upstream.requests) == 1
    assert upstream.requests[0].header("Authorization") == "Bearer sk-own"
    paraphrased = await client.chat.completions.create(
        model="gpt-4o", messages=[{"role": "user", "content": PARAPHRASE}]
    )
    assert paraphrased.choices[0].message.content == TEXT
    assert len(upstream.requests) == 1


async def test_a_stream(client: openai.AsyncOpenAI, upstream: ScriptedUpstream, node: Node) -> None:
    for _ in range(2):
        stream = await client.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True)
        chunks = [chunk async for chunk in stream]
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == TEXT
        assert chunks[0].choices[0].delta.role == "assistant"
        assert chunks[-1].choices[0].finish_reason == "stop"
        assert all(chunk.usage is None for chunk in chunks)
        await node.landed()
    assert len(upstream.requests) == 1


async def test_a_stream_with_usage(client: openai.AsyncOpenAI, upstream: ScriptedUpstream, node: Node) -> None:
    """From the upstream, from what was kept of a stream, and from what was kept of a whole answer."""
    await client.chat.completions.create(model="whole", messages=MESSAGES)
    for model in ("gpt-4o", "gpt-4o", "whole"):
        stream = await client.chat.completions.create(
            model=model, messages=MESSAGES, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
        assert chunks[-1].choices == []
        assert chunks[-1].usage is not None and chunks[-1].usage.prompt_tokens == 10
        assert "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices) == TEXT
        await node.landed()
    assert len(upstream.requests) == 2


async def test_the_helper_that_gathers_a_stream(client: openai.AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    await client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
    async with client.chat.completions.stream(model="gpt-4o", messages=MESSAGES) as stream:
        final = await stream.get_final_completion()
    assert final.choices[0].message.content == TEXT
    assert len(upstream.requests) == 1


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (403, openai.PermissionDeniedError),
        (404, openai.NotFoundError),
        (409, openai.ConflictError),
        (422, openai.UnprocessableEntityError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_the_providers_errors(
    client: openai.AsyncOpenAI,
    upstream: ScriptedUpstream,
    status: int,
    error: type[openai.APIStatusError],
    stream: bool,
) -> None:
    upstream.enqueue(refusal(status, "No, for this reason."))
    with pytest.raises(error, match="No, for this reason"):
        await client.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=stream)


async def test_retries_of_the_sdk(client: openai.AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    upstream.enqueue(Answer(status=429, headers=(*JSON_HEADERS, ("Retry-After-Ms", "1")), body=b"{}"))
    completion = await client.with_options(max_retries=1).chat.completions.create(model="gpt-4o", messages=MESSAGES)
    assert completion.choices[0].message.content == TEXT
    assert len(upstream.requests) == 2


async def test_errors_of_our_own(tmp_path: Path) -> None:
    async with running_node(tmp_path, local=FakeModel()) as node:
        http = httpx.AsyncClient(verify=False, trust_env=False)
        options = {"base_url": f"{node.url}/v1", "api_key": "sk-own", "max_retries": 0, "http_client": http}
        async with openai.AsyncOpenAI(**options) as client:
            with pytest.raises(openai.NotFoundError) as missing:
                await client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
            assert (missing.value.code, missing.value.param) == ("model_not_found", "model")
            with pytest.raises(openai.BadRequestError, match="temperature"):
                await client.chat.completions.create(model="local", messages=MESSAGES, temperature=9)
            with pytest.raises(openai.NotFoundError):
                await client.embeddings.create(model="x", input="y")
            answer = await client.chat.completions.create(model="local", messages=MESSAGES)
            assert answer.choices[0].message.content == TEXT
            assert [model.id async for model in client.models.list()] == ["local", "smollm2-135m-instruct"]


async def test_the_list_of_models(client: openai.AsyncOpenAI) -> None:
    assert [model.id async for model in client.models.list()] == ["scripted"]


async def test_a_stream_that_is_left(client: openai.AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    chunk = event({"id": "1", "choices": [{"index": 0, "delta": {"content": "Hel"}}]})
    upstream.enqueue(Answer(headers=SSE_HEADERS, chunks=[chunk, asyncio.Event()]))
    stream = await client.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True)
    async for first in stream:
        assert first.choices[0].delta.content == "Hel"
        break
    await stream.close()
    await upstream.wait_connections(0)


async def test_a_stream_that_is_cut(client: openai.AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    """The SDK must not take half an answer for a whole one."""
    chunk = event({"id": "1", "choices": [{"index": 0, "delta": {"content": "Hel"}}]})
    upstream.enqueue(Answer(headers=SSE_HEADERS, chunks=[chunk, Step.CUT]))
    stream = await client.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True)
    with pytest.raises(openai.APIError, match="cut before its end"):
        async for _ in stream:
            pass


async def test_a_client_that_loses_patience(client: openai.AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    upstream.enqueue(Answer(before_head=asyncio.Event()))
    while not upstream.requests:  # a busy machine may take longer to ask the provider
        with pytest.raises(openai.APITimeoutError):
            await client.with_options(timeout=0.2).chat.completions.create(model="gpt-4o", messages=MESSAGES)
    await upstream.wait_connections(0)
    completion = await client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
    assert completion.choices[0].message.content == TEXT


async def test_the_synchronous_client(node: Node, upstream: ScriptedUpstream) -> None:
    def ask() -> list[str]:
        with openai.OpenAI(base_url=f"{node.url}/v1", api_key="sk-own", max_retries=0) as client:
            whole = client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
            stream = client.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True)
            gathered = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
            return [str(whole.choices[0].message.content), gathered]

    assert await asyncio.to_thread(ask) == [TEXT, TEXT]
    assert len(upstream.requests) == 1
