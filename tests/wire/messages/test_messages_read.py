"""`POST /v1/messages`: what a request says, in neutral words."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from message_examples import (
    CACHED,
    IMAGE,
    OTHER,
    PATH,
    TOOL,
    ask,
    assistant,
    identity,
    read,
    recorded,
    result,
    text,
    use,
    user,
)

from edgecache.core.messages import (
    Conversation,
    File,
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
from edgecache.wire.messages import MESSAGES

DOCUMENT = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "h\u00ef"}}
NAME = "anthropic.messages"


def conversation(*messages: Any, **fields: Any) -> Conversation:
    found = read(ask(*messages, **fields)).conversation
    assert found is not None
    return found


def parts(*content: Any, role: str = "user") -> tuple[Part, ...]:
    return conversation({"role": role, "content": list(content)}, user("q")).messages[0].parts


def foreign(value: Any) -> Foreign:
    return Foreign(dialect=NAME, value=value)


# --- the conversation ---------------------------------------------------------------------------------------------


def test_what_is_said_about_the_response() -> None:
    found = read(ask(stream=True, metadata={"user_id": "u"}))
    assert (found.dialect, found.model, found.stream, found.users) == (NAME, "m", True, ("u",))
    assert (found.include_usage, found.echo, found.bound) == (True, None, False)
    assert json.loads(found.body) == found.fields
    assert not read(ask()).stream


def test_a_conversation() -> None:
    found = conversation(user("a"), assistant(text("b"), text("c")), {"role": "system", "content": "now"}, user("d"))
    assert found == Conversation(
        messages=(
            Message(role="user", parts=(Text(text="a"),)),
            Message(role="assistant", parts=(Text(text="b"), Text(text="c"))),
            Message(role="system", parts=(Text(text="now"),)),
            Message(role="user", parts=(Text(text="d"),)),
        ),
        max_tokens=9,
    )


@pytest.mark.parametrize("system", ["be kind", [text("be kind")], [text("be kind", **CACHED)]])
def test_the_system_prompt_is_the_first_message(system: Any) -> None:
    found = conversation(system=system)
    assert found.messages[0] == Message(role="system", parts=(Text(text="be kind"),))
    assert found.other == {}


@pytest.mark.parametrize("system", ["", [], None])
def test_no_system_prompt(system: Any) -> None:
    assert conversation(system=system) == conversation()


BASE64 = {"type": "base64", "media_type": "application/pdf", "data": "aGk="}
PARTS = [
    (text("a"), Text(text="a")),
    (text("a", citations=None, **CACHED), Text(text="a")),
    (text("a", citations=[]), Text(text="a")),
    (IMAGE, Image(media="image/png", data="aGk=")),
    ({"type": "image", "source": {"type": "url", "url": "u"}}, Image(url="u")),
    ({"type": "document", "source": BASE64, "title": "t"}, File(name="t", media="application/pdf", data="aGk=")),
    ({"type": "document", "source": {"type": "url", "url": "u"}, "context": None}, File(url="u")),
    ({**DOCUMENT, "citations": {"enabled": False}}, File(media="text/plain", data="aMOv")),
]


@pytest.mark.parametrize(("block", "part"), PARTS)
def test_parts_that_others_have_too(block: Any, part: Part) -> None:
    assert parts(block) == (part,)


ONLY_HERE = [
    text("a", citations=[{"type": "char_location"}]),
    text("a", new=1),
    {"type": "text"},
    {"type": "text", "text": 5},
    {"type": "image", "source": {"type": "file", "file_id": "f"}},
    {**IMAGE, "transformations": {"oversized_image": "error"}},
    {**DOCUMENT, "citations": {"enabled": True}},
    {**DOCUMENT, "context": "c"},
    {"type": "document", "source": {"type": "content", "content": "c"}},
    {"type": "search_result", "source": "s", "title": "t", "content": [text("c")]},
    {"type": "container_upload", "file_id": "f"},
    use("a"),
    {"type": "thinking", "thinking": "a", "signature": "b"},
    {"type": []},
    {},
    5,
    None,
    "a",
]


@pytest.mark.parametrize("block", ONLY_HERE)
def test_parts_that_only_this_dialect_has_stay_as_they_are(block: Any) -> None:
    assert parts(block) == (foreign(block),)


def test_what_an_assistant_said() -> None:
    sealed, thought = (
        {"type": "redacted_thinking", "data": "d"},
        {"type": "thinking", "thinking": "t", "signature": "s"},
    )
    called = {**use("i", x=[1]), "caller": {"type": "direct"}}
    found = parts(thought, sealed, text("a"), called, role="assistant")
    expected = (Thinking(text="t", signature="s"), Thinking(data="d"), Text(text="a"))
    assert found == (*expected, ToolUse(id="i", name="f", arguments='{"x":[1]}'))


@pytest.mark.parametrize(
    "block",
    [
        {**use("i"), "input": "x"},
        {**use("i"), "caller": {"type": "code_execution_20250825", "tool_id": "t"}},
        {**use("i"), "toolset_name": "browser"},
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
        {"type": "compaction", "content": "c"},
        IMAGE,
        result("i"),
    ],
)
def test_what_an_assistant_said_only_here(block: Any) -> None:
    assert parts(block, role="assistant") == (foreign(block),)


def test_words_that_the_answer_continues_are_known_here_only() -> None:
    found = conversation(user("a"), assistant(text("b", **CACHED))).messages[-1]
    assert found == Message(role="assistant", parts=(foreign(assistant(text("b"))),))


def test_results_of_tools_have_a_message_each() -> None:
    blocks = [result("a", "1"), result("b", [text("2"), IMAGE], is_error=True), text("go"), text("on")]
    found = conversation(user("q"), assistant(use("a"), use("b")), user(*blocks))
    assert found.messages[2:] == (
        Message(role="tool", parts=(ToolResult(id="a", parts=(Text(text="1"),)),)),
        Message(
            role="tool",
            parts=(ToolResult(id="b", parts=(Text(text="2"), Image(media="image/png", data="aGk=")), failed=True),),
        ),
        Message(role="user", parts=(Text(text="go"), Text(text="on"))),
    )
    assert found.of_agent


def test_parts_of_results() -> None:
    odd = {"type": "tool_reference", "tool_name": "f"}
    blocks: list[Any] = [
        {"type": "tool_result", "tool_use_id": "a"},
        result("b", ""),
        result("c", [odd]),
        result("d", [use("x")]),
    ]
    found = [message.parts[0].parts for message in conversation(user(*blocks)).messages]  # type: ignore[attr-defined]
    assert found == [(), (Text(text=""),), (foreign(odd),), (foreign(use("x")),)]


@pytest.mark.parametrize(
    "message",
    [
        {"role": "wizard", "content": "a"},
        {"role": ["user"], "content": "a"},
        {"content": "a"},
        {"role": "user"},
        {"role": "user", "content": None},
        {"role": "user", "content": {"type": "text", "text": "a"}},
        {"role": "system", "content": "a", "clear_at": "never"},
        {"role": "user", "content": "a", "name": "n"},
    ],
)
def test_messages_that_only_this_dialect_has(message: Any) -> None:
    assert conversation(message).messages == (Message(role="user", parts=(foreign(message),)),)
    assert read(ask(message)).question.exact_only


# --- other fields -------------------------------------------------------------------------------------------------


def test_settings() -> None:
    schema = {"type": "json_schema", "schema": {"type": "object"}}
    found = conversation(
        temperature=1, top_p=0.5, stop_sequences=["x", "y"], output_config={"effort": "low", "format": schema}
    )
    assert (found.max_tokens, found.temperature, found.top_p, found.stop) == (9, 1.0, 0.5, ("x", "y"))
    assert (found.effort, found.format) == ("low", Format(kind="json_schema", schema={"type": "object"}, strict=True))
    assert found.other == {}
    assert conversation(output_format=schema).format == found.format


def test_tools() -> None:
    defaults = {"type": "custom", "defer_loading": False, "allowed_callers": ["direct"], "input_examples": []}
    found = conversation(tools=[{**TOOL, **CACHED}, {**TOOL, **defaults, "strict": True}])
    plain = Tool(name="f", description="d", parameters=TOOL["input_schema"])
    assert found.tools == (plain, Tool(name="f", description="d", parameters=plain.parameters, strict=True))
    assert found.other == {}


@pytest.mark.parametrize(
    ("choice", "kind", "parallel"),
    [
        ({"type": "auto"}, ToolChoice(kind="auto"), None),
        ({"type": "any", "disable_parallel_tool_use": True}, ToolChoice(kind="required"), False),
        ({"type": "none"}, ToolChoice(kind="none"), None),
        ({"type": "tool", "name": "f", "disable_parallel_tool_use": False}, ToolChoice(kind="tool", name="f"), True),
    ],
)
def test_choice_of_tools(choice: Any, kind: ToolChoice, parallel: bool | None) -> None:
    found = conversation(tools=[TOOL], tool_choice=choice)
    assert (found.choice, found.parallel, found.other) == (kind, parallel, {})


@pytest.mark.parametrize("name", OTHER)
def test_what_has_no_counterpart_is_kept(name: str) -> None:
    assert conversation(**{name: OTHER[name]}).other == {name: OTHER[name]}


@pytest.mark.parametrize("tool", [{"type": "bash_20250124", "name": "bash"}, {"name": "f"}, 5, {**TOOL, "new": 1}])
def test_one_tool_that_others_do_not_have_keeps_them_all(tool: Any) -> None:
    found = conversation(tools=[{**TOOL, **CACHED}, tool])
    assert (found.tools, found.other) == ((), {"tools": [TOOL, tool]})


def test_two_formats_are_not_one() -> None:
    one, two = ({"type": "json_schema", "schema": {"title": name}} for name in "ab")
    found = conversation(output_config={"format": one}, output_format=two)
    assert (found.format, found.other) == (
        Format(kind="json_schema", schema=one["schema"], strict=True),
        {"output_format": two},
    )


# --- of any shape -------------------------------------------------------------------------------------------------

FIELDS = [
    *("model", "messages", "system", "tools", "tool_choice", "max_tokens", "temperature", "stop_sequences", "stream"),
    *(
        "output_config",
        "output_format",
        "format",
        "effort",
        "schema",
        "metadata",
        "user_id",
        "mcp_servers",
        "container",
    ),
    *("role", "content", "type", "text", "source", "data", "media_type", "url", "input", "id", "name", "tool_use_id"),
    *("cache_control", "citations", "caller", "is_error", "input_schema"),
]
WORDS = ["user", "assistant", "system", "text", "image", "document", "tool_use", "tool_result", "thinking", "base64"]
names = st.sampled_from(FIELDS)
leaves = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=3)
)
odd = st.recursive(
    leaves | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=5),
    max_leaves=15,
)
good = st.sampled_from([text("a"), IMAGE, DOCUMENT, use("a"), result("a"), result("a", [text("b")]), 5, None])
block = st.builds(
    lambda base, more: {**base, **more} if isinstance(base, dict) else base,
    good,
    st.dictionaries(names, odd, max_size=2),
)
message = st.builds(
    lambda role, content: {"role": role, "content": content}, st.sampled_from(WORDS[:3]), st.lists(block, max_size=3)
)


@given(st.dictionaries(names, odd, max_size=4), st.lists(message, max_size=3), odd)
def test_nothing_is_raised_by_requests_of_any_shape(fields: dict[str, Any], told: list[Any], whole: Any) -> None:
    for asked in ({**ask(), **fields}, {**ask(), "messages": told}, {**ask(*told), **fields}, whole):
        found = read(asked)
        if found.question.uncacheable is None:
            assert found.conversation is not None
            assert identity(asked) == identity(asked)


def test_recorded_requests() -> None:
    """Those that are not cached have tools run by the provider."""
    found = [MESSAGES.read(asked, PATH).question.uncacheable for asked, _, _ in recorded().values()]
    assert set(found) == {None, "tools run by the provider"}
    assert (len(found), found.count(None)) == (97, 80)
