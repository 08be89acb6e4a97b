"""Requests written for a provider, and whatever requests come."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from responses_recorded import exchanges
from responses_requests import CLOSED, USE, user
from responses_values import json_values

from edgecache.core.entry import Framing
from edgecache.core.messages import (
    Audio,
    Conversation,
    Foreign,
    Format,
    Image,
    Message,
    Part,
    Text,
    Thinking,
    Tool,
    ToolChoice,
    ToolResult,
    ToolUse,
)
from edgecache.errors import BadRequest, Untranslatable
from edgecache.wire.dialect import Request
from edgecache.wire.responses import RESPONSES


def written(*parts: Part, role: str = "user", **more: Any) -> dict[str, Any]:
    talk = Conversation(messages=(Message(role=role, parts=parts),), **more)
    told = json.loads(RESPONSES.write_request(talk, "m", stream=False))
    assert isinstance(told, dict)
    return told


def test_a_request_for_a_provider() -> None:
    talk = Conversation(
        messages=(
            Message(role="system", parts=(Text(text="Be brief."),)), user(Text(text="hi"), Image(url="https://x")),
            Message(role="assistant", parts=(Thinking(text="Hm."), Text(text="Wait."), USE)),
            Message(role="tool", parts=(ToolResult(id="c", parts=(Text(text="rain"),), failed=True),)),
        ),
        tools=(Tool(name="f"),), max_tokens=9, effort="low",
    )  # fmt: skip
    assert json.loads(RESPONSES.write_request(talk, "m", stream=True)) == {
        "model": "m", "instructions": "Be brief.", "max_output_tokens": 9, "reasoning": {"effort": "low"},
        "stream": True, "store": False,
        "tools": [{"type": "function", "name": "f", "parameters": None, "strict": False}],
        "input": [
            {"type": "message", "role": "user", "content": [
                {"type": "input_text", "text": "hi"},
                {"type": "input_image", "image_url": "https://x", "detail": "auto"}]},
            {"type": "message", "role": "assistant", "content": "Wait."},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "rain"},
        ],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ({"stop": ("a",)}, "stop"),
        ({"count": 2}, "several answers"),
        ({"other": {"seed": 1}}, "seed"),
        ({"messages": (user(Audio(format="wav", data="QQ==")),)}, "audio"),
        ({"messages": (user(Foreign(dialect="openai.chat", value={})),)}, "foreign"),
        ({"messages": (Message(role="user", parts=(Text(text="a"),), name="eve"),)}, "name"),
    ],
)
def test_what_has_no_counterpart_here(more: Any, what: str) -> None:
    talk = Conversation(**{"messages": (user(Text(text="a")),), **more})
    with pytest.raises(Untranslatable, match=what):
        RESPONSES.write_request(talk, "m", stream=False)


words = st.text(min_size=1, max_size=5)
spoken = st.lists(st.builds(Text, text=words), min_size=1, max_size=3).map(tuple)
images = st.builds(Image, url=words.map("https://".__add__), detail=st.sampled_from([None, "low"]))
uses = st.builds(ToolUse, id=words, name=words, arguments=words)
results = st.builds(ToolResult, id=words, parts=spoken)
turns = st.one_of(
    st.builds(Message, role=st.sampled_from(["user", "developer", "system"]), parts=spoken),
    st.builds(Message, role=st.just("user"), parts=st.tuples(images)),
    st.builds(Message, role=st.just("tool"), parts=st.tuples(results)),
    st.builds(lambda said, calls: Message(role="assistant", parts=(*said, *calls)), spoken, st.lists(uses, max_size=2)),
)
closed = st.sampled_from([None, CLOSED])
functions = st.builds(Tool, name=words, parameters=closed, strict=st.sampled_from([None, True]))
talks = st.builds(
    Conversation,
    messages=st.lists(turns, min_size=1, max_size=5).map(tuple),
    tools=st.lists(functions, max_size=2).map(tuple),
    choice=st.none() | st.builds(ToolChoice, kind=st.sampled_from(["auto", "none", "required"])),
    parallel=st.none() | st.booleans(),
    max_tokens=st.none() | st.integers(1, 9),
    temperature=st.none() | st.floats(0, 2),
    format=st.none() | st.just(Format(kind="json_object")) | st.builds(
        Format, kind=st.just("json_schema"), name=words, schema=st.just(CLOSED), strict=st.sampled_from([None, True])
    ),
    effort=st.none() | st.just("low"),
)  # fmt: skip


@given(talk=talks)
def test_what_is_written_is_read_as_it_was(talk: Conversation) -> None:
    request = RESPONSES.read(RESPONSES.write_request(talk, "m", stream=True), "/v1/responses")
    assert request.conversation == talk
    assert not request.bound and request.stream


def test_recorded_conversations_survive() -> None:
    count = 0
    for name, body, _ in exchanges():
        request = RESPONSES.read(body, "/v1/responses")
        if request.conversation is None:
            continue
        try:
            again = RESPONSES.write_request(request.conversation, request.model, stream=False)
        except Untranslatable:
            continue
        read = RESPONSES.read(again, "/v1/responses").conversation
        assert without_thoughts(read) == without_thoughts(request.conversation), name
        count += 1
    assert count > 30


def without_thoughts(talk: Conversation | None) -> Any:
    assert talk is not None
    parts = [(m.role, p) for m in talk.messages for p in m.parts if not isinstance(p, Thinking)]
    return msgspec.structs.replace(talk, messages=()), parts


# --- whatever comes --------------------------------------------------------------------------------------------------

NAMES = (
    "input", "instructions", "tools", "tool_choice", "text", "reasoning", "stream", "stream_options", "store", "prompt",
    "metadata", "user", "background", "include", "truncation", "max_output_tokens", "temperature", "modalities",
)  # fmt: skip
INNER = ("type", "role", "content", "id", "status", "summary", "encrypted_content", "call_id", "name", "arguments",
         "output", "text", "image_url", "detail", "file_data", "filename", "tools", "format", "schema", "parameters",
         "strict", "effort", "environment", "version")  # fmt: skip
KINDS = st.sampled_from([
    "message", "reasoning", "function_call", "function_call_output", "item_reference", "input_text", "input_image",
    "input_file", "function", "custom", "json_schema", "shell", "user", "assistant", "text", "refusal",
])  # fmt: skip
anything = st.recursive(
    json_values,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(INNER), inner | KINDS, max_size=6),
    max_leaves=15,
)


@settings(max_examples=80)
@given(fields=st.dictionaries(st.sampled_from(NAMES), anything, max_size=6))
def test_any_request_is_read(fields: Any) -> None:
    request = RESPONSES.read(json.dumps({"model": "m", **fields}).encode(), "/v1/responses")
    msgspec.json.encode(request.question)
    for why in (request.question.uncacheable, request.question.exact_only):
        assert why is None or why.isprintable()
    use(request)


def use(request: Request) -> None:
    """What a node does with any request."""
    assert RESPONSES.hider(request) is not None
    RESPONSES.render(Framing.JSON, b"{}", request)
    if request.conversation is not None:
        try:
            RESPONSES.write_request(request.conversation, "m", stream=False)
        except Untranslatable as error:
            RESPONSES.error(error)
    try:
        RESPONSES.prompt(request)
    except BadRequest as error:
        assert json.loads(RESPONSES.error(error))["error"]["message"]


@given(body=st.binary(max_size=40) | json_values.map(json.dumps).map(str.encode))
def test_any_body_is_read_or_refused(body: bytes) -> None:
    try:
        use(RESPONSES.read(body, "/v1/responses"))
    except BadRequest as error:
        assert error.message
