"""The same question through two SDKs, as people write it in each: one asks the provider, the others get its answer."""

import json
from typing import Any

import anthropic
import openai
import pytest
from providers import CALLS, TOKENS, said

from edgecache.testing.node import Node
from edgecache.testing.scripted_upstream import ScriptedUpstream

MODEL = "model-of-these-tests"
QUESTION = "What is the weather in Paris and Oslo?"
SYSTEM = "You are terse."
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
CHAT_TOOL: Any = {"type": "function", "function": {"name": "weather", "description": "Now", "parameters": SCHEMA}}
RESPONSES_TOOL: Any = {"type": "function", "name": "weather", "description": "Now", "parameters": SCHEMA}
MESSAGES_TOOL: Any = {"name": "weather", "description": "Now", "input_schema": SCHEMA}
DIALECTS = ("chat", "responses", "messages")


class Clients:
    """Each asks one question; `tools` offers one, `seen` is a turn with its calls and results before the question."""

    def __init__(self, gpt: openai.AsyncOpenAI, claude: anthropic.AsyncAnthropic) -> None:
        self._gpt = gpt
        self._claude = claude

    async def ask(self, dialect: str, *, stream: bool, tools: bool = False, seen: bool = False) -> Any:
        """Text, calls (name and arguments), finish, and tokens."""
        return await {"chat": self._chat, "responses": self._responses, "messages": self._messages}[dialect](
            stream, tools, seen
        )

    async def _chat(self, stream: bool, tools: bool, seen: bool) -> Any:
        messages: list[Any] = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": QUESTION}]
        if seen:
            calls = [{"id": i, "type": "function", "function": {"name": n, "arguments": a}} for i, n, a in CALLS]
            messages.append({"role": "assistant", "content": None, "tool_calls": calls})
            messages += [{"role": "tool", "tool_call_id": name, "content": "rain"} for name, _, _ in CALLS]
        asked: Any = {"model": MODEL, "messages": messages, "max_completion_tokens": 100}
        asked |= {"tools": [CHAT_TOOL]} if tools else {}
        if stream:
            async with self._gpt.chat.completions.stream(**asked, stream_options={"include_usage": True}) as helper:
                final: Any = await helper.get_final_completion()
        else:
            final = await self._gpt.chat.completions.create(**asked)
        choice = final.choices[0]
        made = [(c.function.name, json.loads(c.function.arguments)) for c in choice.message.tool_calls or ()]
        return choice.message.content or "", made, (final.usage.prompt_tokens, final.usage.completion_tokens)

    async def _responses(self, stream: bool, tools: bool, seen: bool) -> Any:
        items: list[Any] = [{"role": "user", "content": QUESTION}]
        if seen:
            items += [{"type": "function_call", "call_id": i, "name": n, "arguments": a} for i, n, a in CALLS]
            items += [{"type": "function_call_output", "call_id": name, "output": "rain"} for name, _, _ in CALLS]
        asked: Any = {"model": MODEL, "instructions": SYSTEM, "input": items, "max_output_tokens": 100}
        asked |= {"store": False} | ({"tools": [RESPONSES_TOOL]} if tools else {})
        if stream:
            async with self._gpt.responses.stream(**asked) as helper:
                final: Any = await helper.get_final_response()
        else:
            final = await self._gpt.responses.create(**asked)
        made = [(item.name, json.loads(item.arguments)) for item in final.output if item.type == "function_call"]
        return final.output_text, made, (final.usage.input_tokens, final.usage.output_tokens)

    async def _messages(self, stream: bool, tools: bool, seen: bool) -> Any:
        messages: list[Any] = [{"role": "user", "content": QUESTION}]
        if seen:
            uses = [{"type": "tool_use", "id": i, "name": n, "input": json.loads(a)} for i, n, a in CALLS]
            given = [{"type": "tool_result", "tool_use_id": name, "content": "rain"} for name, _, _ in CALLS]
            messages += [{"role": "assistant", "content": uses}, {"role": "user", "content": given}]
        asked: Any = {"model": MODEL, "system": SYSTEM, "messages": messages, "max_tokens": 100}
        asked |= {"tools": [MESSAGES_TOOL]} if tools else {}
        if stream:
            async with self._claude.messages.stream(**asked) as helper:
                final: Any = await helper.get_final_message()
        else:
            final = await self._claude.messages.create(**asked)
        text = "".join(block.text for block in final.content if block.type == "text")
        made = [(block.name, block.input) for block in final.content if block.type == "tool_use"]
        return text, made, (final.usage.input_tokens, final.usage.output_tokens)


@pytest.fixture
def clients(gpt: openai.AsyncOpenAI, claude: anthropic.AsyncAnthropic) -> Clients:
    return Clients(gpt, claude)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("first", DIALECTS)
async def test_a_text(clients: Clients, upstream: ScriptedUpstream, node: Node, first: str, streamed: bool) -> None:
    answers = [await clients.ask(first, stream=streamed)]
    await node.landed()
    answers += [await clients.ask(other, stream=stream) for other in DIALECTS for stream in (False, True)]
    assert answers == [(said(QUESTION), [], TOKENS)] * 7
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("first", DIALECTS)
async def test_calls_of_tools(
    clients: Clients, upstream: ScriptedUpstream, node: Node, first: str, streamed: bool
) -> None:
    answers = [await clients.ask(first, stream=streamed, tools=True)]
    await node.landed()
    answers += [await clients.ask(other, stream=stream, tools=True) for other in DIALECTS for stream in (False, True)]
    assert answers == [("", [(name, json.loads(put)) for _, name, put in CALLS], TOKENS)] * 7
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("first", DIALECTS)
async def test_results_of_tools(clients: Clients, upstream: ScriptedUpstream, node: Node, first: str) -> None:
    answers = [await clients.ask(first, stream=True, tools=True, seen=True)]
    await node.landed()
    answers += [await clients.ask(other, stream=False, tools=True, seen=True) for other in DIALECTS]
    assert [answer[1:] for answer in answers] == [([], TOKENS)] * 4
    assert len(upstream.requests) == 1
