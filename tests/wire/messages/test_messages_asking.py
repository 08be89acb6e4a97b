"""A neutral conversation as a Messages request, for clients of other dialects."""

import base64
import json
from typing import Any

import pytest
from message_examples import IMAGE, PATH, assistant, encode, recorded, result, text, use, user
from msgspec.structs import replace

from edgecache.core.messages import (
    Audio,
    Conversation,
    File,
    Foreign,
    Format,
    Image,
    Message,
    Part,
    Refusal,
    Text,
    Thinking,
    Tool,
    ToolChoice,
    ToolResult,
    ToolUse,
)
from edgecache.errors import Untranslatable
from edgecache.wire.messages import MESSAGES


def message(role: str, *parts: Part | str, name: str | None = None) -> Message:
    told = tuple(Text(text=part) if isinstance(part, str) else part for part in parts)
    return Message(role=role, parts=told, name=name)


def conversation(*messages: Message, **fields: Any) -> Conversation:
    return Conversation(messages=messages or (message("user", "q"),), **fields)


def written(*messages: Message, stream: bool = False, **fields: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(MESSAGES.write_request(conversation(*messages, **fields), "m", stream=stream))
    return found


def refused(*messages: Message, **fields: Any) -> str:
    with pytest.raises(Untranslatable) as found:
        written(*messages, **fields)
    return found.value.message


SYSTEM, DEVELOPER, USER = message("system", "a"), message("developer", "b"), message("user", "q")


def test_the_least() -> None:
    assert written() == {"model": "m", "max_tokens": 4096, "messages": [user("q")]}
    assert written(stream=True)["stream"] is True


def test_what_stands_before_the_messages_is_the_system_prompt() -> None:
    assert written(SYSTEM, USER)["system"] == "a"
    assert written(SYSTEM, DEVELOPER, USER)["system"] == [text("a"), text("b")]
    assert written(SYSTEM, USER)["messages"] == [user("q")]
    assert "system" not in written(message("system", ""), USER)


def test_system_messages_in_the_middle_stay_there() -> None:
    found = written(USER, SYSTEM, DEVELOPER)["messages"]
    assert found == [user("q"), {"role": "system", "content": [text("a"), text("b")]}]


def test_neighbours_of_one_role_are_joined() -> None:
    found = written(USER, USER, message("assistant", "c"), message("assistant", "d"), USER)["messages"]
    assert found == [user(text("q"), text("q")), assistant(text("c"), text("d")), user("q")]


def test_tools_and_their_results() -> None:
    calls = (ToolUse(id="a", name="f", arguments='{"x": 1}'), ToolUse(id="b", name="f", arguments=""))
    results = (
        ToolResult(id="a", parts=(Text(text="1"),), failed=True),
        ToolResult(id="b", parts=(Text(text="2"), Image(media="image/png", data="aGk="))),
        ToolResult(id="c"),
    )
    told = [message("tool", found) for found in results]
    found = written(USER, message("assistant", "", *calls), *told, message("user", "go"))["messages"]
    blocks = [result("a", "1", is_error=True), result("b", [text("2"), IMAGE]), result("c", []), text("go")]
    assert found == [user("q"), assistant(use("a", x=1), use("b")), user(*blocks)]


PARTS: list[tuple[Part, Any]] = [
    (Refusal(text="No."), text("No.")),
    (Image(url="u", detail="high"), {"type": "image", "source": {"type": "url", "url": "u"}}),
    (Image(media="image/png", data="aGk="), IMAGE),
    (File(url="u", name="n"), {"type": "document", "source": {"type": "url", "url": "u"}, "title": "n"}),
    (
        File(media="application/pdf", data="aGk="),
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "aGk="}},
    ),
    (
        File(media="text/markdown; charset=utf-8", data=base64.b64encode("h\u00ef".encode()).decode()),
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "h\u00ef"}},
    ),
    (Thinking(text="t", signature="s"), {"type": "thinking", "thinking": "t", "signature": "s"}),
    (Thinking(data="d"), {"type": "redacted_thinking", "data": "d"}),
    (Foreign(dialect="anthropic.messages", value={"type": "new"}), {"type": "new"}),
]


@pytest.mark.parametrize(("part", "block"), PARTS)
def test_parts(part: Part, block: Any) -> None:
    assert written(message("user", "q", part))["messages"] == [user(text("q"), block)]


def test_reasoning_that_nobody_signed_is_left_out() -> None:
    found = written(USER, message("assistant", Thinking(text="Hm."), "a"), USER)["messages"]
    assert found[1] == assistant("a")


def test_settings() -> None:
    found = written(max_tokens=7, temperature=0.0, top_p=0.5, stop=("x",), effort="low")
    assert (found["max_tokens"], found["temperature"], found["top_p"]) == (7, 0.0, 0.5)
    assert (found["stop_sequences"], found["output_config"]) == (["x"], {"effort": "low"})
    form = Format(kind="json_schema", name="n", strict=True, schema={"type": "object"})
    assert written(format=form)["output_config"] == {"format": {"type": "json_schema", "schema": {"type": "object"}}}


def test_tools() -> None:
    tools = (Tool(name="f"), Tool(name="g", description="d", parameters={"type": "object"}, strict=True))
    found = written(tools=tools)
    assert found["tools"] == [
        {"name": "f", "input_schema": {"type": "object", "properties": {}}},
        {"name": "g", "description": "d", "strict": True, "input_schema": {"type": "object"}},
    ]
    assert "tool_choice" not in found


@pytest.mark.parametrize(
    ("choice", "parallel", "told"),
    [
        (None, None, None),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        (ToolChoice(kind="auto"), None, {"type": "auto"}),
        (ToolChoice(kind="required"), True, {"type": "any", "disable_parallel_tool_use": False}),
        (ToolChoice(kind="none"), False, {"type": "none"}),
        (ToolChoice(kind="tool", name="f"), None, {"type": "tool", "name": "f"}),
    ],
)
def test_choice_of_tools(choice: ToolChoice | None, parallel: bool | None, told: Any) -> None:
    assert written(tools=(Tool(name="f"),), choice=choice, parallel=parallel).get("tool_choice") == told


def test_a_choice_without_tools_says_nothing() -> None:
    assert "tool_choice" not in written(choice=ToolChoice(kind="none"), parallel=False)
    assert "choice of tools" in refused(choice=ToolChoice(kind="required"))


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"other": {"logit_bias": {}}}, "`logit_bias`"),
        ({"count": 2}, "several answers"),
        ({"temperature": 1.5}, "temperature above 1"),
        ({"effort": "minimal"}, "`minimal`"),
        ({"format": Format(kind="json_object")}, "`json_object`"),
        ({"format": Format(kind="json_schema")}, "`json_schema` without a schema"),
        ({"tools": (Tool(name="f"),), "choice": ToolChoice(kind="new")}, "`new`"),
    ],
)
def test_fields_without_counterpart_are_named(fields: dict[str, Any], named: str) -> None:
    assert named in refused(**fields)


@pytest.mark.parametrize(
    ("part", "named"),
    [
        (Audio(format="wav", data=""), "type audio"),
        (Foreign(dialect="openai.chat", value={}), "openai.chat"),
        (Foreign(dialect="anthropic.messages", value=5), "anthropic.messages"),
        (File(media="text/plain", data="not base64!"), "UTF-8 in base64"),
        (File(media="text/plain", data="/w=="), "UTF-8 in base64"),
        (File(media="application/zip", data="aGk="), "`application/zip`"),
        (File(name="n"), "neither data nor a URL"),
        (ToolUse(id="a", name="f", arguments="["), "arguments"),
        (ToolResult(id="a", parts=(Audio(format="wav", data=""),)), "type audio"),
    ],
)
def test_parts_without_counterpart_are_named(part: Part, named: str) -> None:
    assert named in refused(message("user", part))


def test_a_lone_system_prompt_has_no_counterpart() -> None:
    assert "nobody but the system" in refused(SYSTEM, DEVELOPER)


def test_what_the_assistant_would_continue_has_no_counterpart() -> None:
    assert "would continue" in refused(USER, message("assistant", "a"))


def test_ids_of_calls_are_made_of_what_the_api_takes() -> None:
    call, answer = ToolUse(id="functions.f:0", name="f", arguments="{}"), ToolResult(id="functions.f:0")
    found = written(USER, message("assistant", call), message("tool", answer))["messages"]
    assert found[1:] == [assistant(use("functions_f_0")), user(result("functions_f_0", []))]


def test_a_named_author_has_no_counterpart() -> None:
    assert "`name`" in refused(message("user", "q", name="Ann"))


def test_what_was_read_is_written_again() -> None:
    """Recorded conversations that hold nothing of this dialect alone; neighbours of one role are joined."""
    seen = 0
    for name, (asked, _, _) in recorded().items():
        found = MESSAGES.read(asked, PATH)
        if found.conversation is None or found.conversation.other:
            continue
        body = MESSAGES.write_request(found.conversation, found.model, stream=found.stream)
        again = MESSAGES.read(body, PATH).conversation
        assert again is not None
        assert again.messages == joined(found.conversation.messages), name
        assert replace(again, messages=()) == replace(found.conversation, messages=()), name
        seen += 1
    assert seen == 46


def joined(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    told: list[Message] = []
    for message in messages:
        if told and told[-1].role == message.role != "tool":
            message = replace(message, parts=(*told.pop().parts, *message.parts))
        told.append(message)
    return tuple(told)


def test_a_request_of_this_dialect_comes_back() -> None:
    schema = {"type": "json_schema", "schema": {"type": "object"}}
    asked = {
        "model": "m",
        "max_tokens": 5,
        "system": [text("a"), text("b")],
        "messages": [user(text("q"), IMAGE), assistant(text("c"), use("t", x=1)), user(result("t", "d"), text("e"))],
        "tools": [{"name": "f", "description": "d", "input_schema": {"type": "object"}}],
        "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
        "temperature": 0.5,
        "stop_sequences": ["x"],
        "output_config": {"effort": "max", "format": schema},
        "stream": True,
    }
    found = MESSAGES.read(encode(asked), PATH)
    assert found.conversation is not None
    assert json.loads(MESSAGES.write_request(found.conversation, "m", stream=True)) == asked
