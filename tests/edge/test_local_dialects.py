"""The model on the node speaks every dialect: streamed and whole, as the official SDKs read it."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import anthropic
import httpx
import httpx2
import openai
import pytest
import pytest_asyncio

from edgecache.testing.fake_model import FakeModel
from edgecache.testing.node import running_node

TEXT = "You asked: Hi there?"
TURN = {"role": "user", "content": "Hi there?"}


class Local:
    """Both SDKs on one node with one model."""

    def __init__(self, model: FakeModel, o: openai.AsyncOpenAI, a: anthropic.AsyncAnthropic) -> None:
        self.model = model
        self.openai = o
        self.anthropic = a


@pytest_asyncio.fixture
async def local(tmp_path: Path) -> AsyncIterator[Local]:
    model = FakeModel()
    async with running_node(tmp_path, local=model) as node, AsyncExitStack() as stack:
        # reading certificates would block the loop
        web = await stack.enter_async_context(httpx.AsyncClient(verify=False, trust_env=False))
        web2 = await stack.enter_async_context(httpx2.AsyncClient(verify=False, trust_env=False))
        o = openai.AsyncOpenAI(base_url=f"{node.url}/v1", api_key="demo", max_retries=0, http_client=web)
        a = anthropic.AsyncAnthropic(base_url=node.url, api_key="demo", max_retries=0, http_client=web2)
        yield Local(model, o, a)


async def test_messages(local: Local) -> None:
    ask = {"model": "local", "max_tokens": 50, "messages": [TURN]}
    whole = await local.anthropic.messages.create(**ask)  # type: ignore[call-overload]
    assert (whole.content[0].text, whole.stop_reason, whole.usage.input_tokens) == (TEXT, "end_turn", 2)
    async with local.anthropic.messages.stream(**ask) as stream:  # type: ignore[arg-type]
        assert "".join([text async for text in stream.text_stream]) == TEXT
        assert (await stream.get_final_message()).stop_reason == "end_turn"
    assert len(local.model.prompts) == 1


async def test_messages_streamed_first(local: Local) -> None:
    ask = {"model": "local", "max_tokens": 50, "messages": [TURN]}
    async with local.anthropic.messages.stream(**ask) as stream:  # type: ignore[arg-type]
        final = await stream.get_final_message()
    assert (final.content[0].text, final.usage.output_tokens > 0) == (TEXT, True)  # type: ignore[union-attr]
    whole = await local.anthropic.messages.create(**ask)  # type: ignore[call-overload]
    assert whole.content[0].text == final.content[0].text  # type: ignore[union-attr]
    assert len(local.model.prompts) == 1


async def test_responses(local: Local) -> None:
    whole = await local.openai.responses.create(model="local", input="Hi there?", store=False)
    assert (whole.output_text, whole.status) == (TEXT, "completed")
    async with local.openai.responses.stream(model="local", input="Hi there?", store=False) as stream:
        kinds = [event.type async for event in stream]
        assert (await stream.get_final_response()).output_text == TEXT
    assert (kinds[0], kinds[-1]) == ("response.created", "response.completed")
    chat = await local.openai.chat.completions.create(model="local", messages=[TURN])  # type: ignore[list-item]
    assert chat.choices[0].message.content == TEXT
    assert len(local.model.prompts) == 1, "one answer for both"


async def test_responses_streamed_first(local: Local) -> None:
    async with local.openai.responses.stream(model="local", input="Hi there?") as stream:
        final = await stream.get_final_response()
    assert final.output_text == TEXT
    again = await local.openai.responses.create(model="local", input="Hi there?")
    assert (again.output_text, again.id) == (TEXT, final.id)
    assert len(local.model.prompts) == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_completions(local: Local, stream: bool) -> None:
    for _ in range(2):
        answer = await local.openai.completions.create(model="local", prompt="Hi there?", stream=stream)
        text = "".join([c.choices[0].text async for c in answer]) if stream else answer.choices[0].text  # type: ignore[union-attr]
        assert text == TEXT
    assert len(local.model.prompts) == 1


async def test_what_it_cannot_do_is_refused_in_each_dialects_words(local: Local) -> None:
    with pytest.raises(anthropic.BadRequestError, match="tools"):
        await local.anthropic.messages.create(
            model="local",
            max_tokens=5,
            messages=[TURN],
            tools=[{"name": "f", "input_schema": {"type": "object"}}],  # type: ignore[list-item]
        )
    with pytest.raises(anthropic.BadRequestError, match="max_tokens"):
        await local.anthropic.messages.create(
            model="local",
            max_tokens=5,
            messages=[TURN],
            extra_body={"max_tokens": "many"},  # type: ignore[list-item]
        )
    with pytest.raises(openai.BadRequestError, match="tools") as caught:
        await local.openai.responses.create(model="local", input="x", tools=[{"type": "web_search"}])
    assert caught.value.param == "tools"
    with pytest.raises(openai.BadRequestError, match="temperature") as caught:
        await local.openai.responses.create(model="local", input="x", temperature="hot")  # type: ignore[arg-type]
    assert caught.value.param == "temperature"
    with pytest.raises(openai.BadRequestError) as caught:
        await local.openai.completions.create(model="local", prompt="x", suffix="y")
    assert caught.value.param == "suffix"
    assert local.model.prompts == []
