"""Requests: the conversation they are, what is identity, and what is not to be cached."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from responses_requests import CALL, CLOSED, FUNCTION, USER, asked, conversation, user
from responses_values import json_values

from edgecache.core.messages import (
    Conversation,
    Format,
    Text,
    Tool,
    ToolChoice,
)
from edgecache.errors import Untranslatable
from edgecache.wire.chat import CHAT
from edgecache.wire.responses import RESPONSES
from edgecache.wire.responses.conversation import is_closed

# --- fields ----------------------------------------------------------------------------------------------------------


def test_fields() -> None:
    told = conversation(
        input="hi", tools=[FUNCTION], tool_choice={"type": "function", "name": "f"}, parallel_tool_calls=False,
        max_output_tokens=9, temperature=0.5, top_p=1, reasoning={"effort": "low"},
        text={"format": {"type": "json_schema", "name": "n", "schema": CLOSED, "strict": True}},
    )  # fmt: skip
    assert told == Conversation(
        messages=(user(Text(text="hi")),),
        tools=(Tool(name="f", parameters={"type": "object"}),),
        choice=ToolChoice(kind="tool", name="f"),
        parallel=False,
        max_tokens=9,
        temperature=0.5,
        top_p=1.0,
        format=Format(kind="json_schema", name="n", schema=CLOSED, strict=True),
        effort="low",
    )


@pytest.mark.parametrize(
    ("strict", "schema", "read"),
    [
        ({"strict": True}, {"type": "object"}, True),
        ({"strict": False}, CLOSED, None),
        ({}, CLOSED, True),
        ({"strict": None}, CLOSED, True),
        ({}, {"type": "object"}, None),
        ({}, {**CLOSED, "required": []}, None),
        ({}, {**CLOSED, "properties": {"a": {"type": "object"}}}, None),
        ({}, None, None),
    ],
)
def test_a_function_is_strict_where_its_schema_can_be(strict: Any, schema: Any, read: Any) -> None:
    [tool] = conversation(tools=[{"type": "function", "name": "f", "parameters": schema, **strict}]).tools
    assert tool.strict is read


@given(schema=json_values | st.dictionaries(st.sampled_from(["type", "properties", "required"]), json_values))
def test_any_schema_is_looked_at(schema: Any) -> None:
    assert is_closed(schema) in (True, False)


@pytest.mark.parametrize(
    "fields",
    [
        {"truncation": "disabled"},
        {"background": False},
        {"tools": []},
        {"include": []},
        {"text": {"format": {"type": "text"}}},
        {"text": {}},
        {"reasoning": {"effort": None, "summary": None}},
        dict.fromkeys(("tools", "tool_choice", "temperature", "instructions", "prompt", "previous_response_id")),
    ],
)
def test_what_is_as_good_as_nothing(fields: Any) -> None:
    assert asked(**fields).question == asked().question
    assert conversation(**fields).other == {}


@pytest.mark.parametrize(
    "fields",
    [
        {"text": {"verbosity": "low"}},
        {"text": {"format": {"type": "grammar"}}},
        {"text": 5},
        {"reasoning": {"effort": 5}},
        {"reasoning": "low"},
        {"tools": [{"type": "custom", "name": "sql"}]},
        {"tools": [FUNCTION, {**FUNCTION, "defer_loading": True}]},
        {"tools": [{"type": "function", "name": 5}]},
        {"tools": 5},
        {"tool_choice": {"type": "custom", "name": "sql"}},
        {"tool_choice": "any"},
        {"temperature": "hot"},
        {"max_output_tokens": True},
        {"max_output_tokens": 1.5},
        {"parallel_tool_calls": 0},
        {"background": 0},
        {"moderation": {"model": "m"}},
        {"max_tool_calls": 3},
        {"prompt": {"id": "pmpt_1", "version": "2"}},
        {"truncation": "always"},
        {"include": ["message.output_text.logprobs"]},
        {"new_field": None},
    ],
)
def test_what_has_no_counterpart_binds_to_this_dialect(fields: Any) -> None:
    assert conversation(**fields).other == fields
    request = asked(**fields)
    assert request.question.uncacheable or "openai.responses" in request.question.fields
    with pytest.raises(Untranslatable, match=next(iter(fields))):
        RESPONSES.write_request(conversation(**fields), "m", stream=False)


@pytest.mark.parametrize(
    "fields", [{"include": ["reasoning.encrypted_content"]}, {"reasoning": {"summary": "auto"}}, {"truncation": "auto"}]
)
def test_what_only_asks_for_more_is_identity_and_asked_of_nobody_else(fields: Any) -> None:
    assert asked(**fields).question != asked().question
    assert conversation(**fields).other == {}


# --- identity --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"stream": True},
        {"stream_options": {"include_obfuscation": False}},
        {"user": "u"},
        {"metadata": {"a": "b"}},
        {"safety_identifier": "s"},
        {"service_tier": "flex"},
        {"store": False},
        {"prompt_cache_key": "k", "prompt_cache_retention": "24h", "prompt_cache_options": {"mode": "implicit"}},
    ],
)
def test_what_is_no_identity(fields: Any) -> None:
    assert asked(**fields).question == asked().question


IN_BOTH = [
    ({"input": "hi"}, {"messages": [USER]}),
    ({"input": "hi", "instructions": "Be brief."}, {"messages": [{"role": "system", "content": "Be brief."}, USER]}),
    ({"input": "hi", "max_output_tokens": 9, "temperature": 1, "top_p": 0.5},
     {"messages": [USER], "max_completion_tokens": 9, "temperature": 1.0, "top_p": 0.5}),
    ({"input": "hi", "tools": [FUNCTION], "tool_choice": "required", "parallel_tool_calls": True},
     {"messages": [USER], "tool_choice": "required", "parallel_tool_calls": True,
      "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]}),
    ({"input": "hi", "tools": [{**FUNCTION, "parameters": CLOSED, "strict": None}]},
     {"messages": [USER],
      "tools": [{"type": "function", "function": {"name": "f", "parameters": CLOSED, "strict": True}}]}),
    ({"input": [USER, {"role": "assistant", "content": [{"type": "output_text", "text": "Wait."}]}, CALL,
                {"type": "function_call_output", "call_id": "c", "output": "rain"}]},
     {"messages": [USER, {"role": "assistant", "content": "Wait.", "tool_calls": [
         {"id": "other", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
         {"role": "tool", "tool_call_id": "other", "content": "rain"}]}),
    ({"input": "hi", "text": {"format": {"type": "json_schema", "name": "n", "schema": CLOSED, "strict": True}}},
     {"messages": [USER], "response_format": {
         "type": "json_schema", "json_schema": {"name": "n", "schema": CLOSED, "strict": True}}}),
    ({"input": "hi", "reasoning": {"effort": "low"}}, {"messages": [USER], "reasoning_effort": "low"}),
    ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "https://x", "detail": "auto"}]}]},
     {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x"}}]}]}),
]  # fmt: skip


@pytest.mark.parametrize(("mine", "chat"), IN_BOTH)
def test_the_same_question_in_chat(mine: Any, chat: Any) -> None:
    other = CHAT.read(json.dumps({"model": "m", **chat}).encode(), "/v1/chat/completions").question
    assert asked(**mine).question == other


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"input": "a"}, {"input": "b"}),
        ({"input": [USER, USER]}, {"input": [{"role": "user", "content": [{"type": "input_text", "text": "hi"}] * 2}]}),
        ({"input": [USER, CALL]}, {"input": [USER, {**CALL, "status": "incomplete"}]}),
        ({"input": [USER], "max_output_tokens": 1}, {"input": [USER], "max_output_tokens": 2}),
        ({"input": [CALL, {"role": "assistant", "content": "a"}]}, 
         {"input": [{"role": "assistant", "content": "a"}, CALL]}),
        ({"tools": [{"type": "custom", "name": "a"}]}, {"tools": [{"type": "custom", "name": "b"}]}),
        ({"input": [{"type": "compaction", "encrypted_content": "a"}]},
         {"input": [{"type": "compaction", "encrypted_content": "b"}]}),
        ({"prompt": {"id": "p", "version": "1"}}, {"prompt": {"id": "p", "version": "2"}}),
        ({"text": {"verbosity": "low"}}, {}),
    ],
)  # fmt: skip
def test_other_questions(one: Any, other: Any) -> None:
    assert asked(**one).question != asked(**other).question


# --- what is not to be cached ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"previous_response_id": "resp_1"}, "`previous_response_id` goes on with what the provider keeps"),
        ({"conversation": {"id": "conv_1"}}, "`conversation` goes on with what the provider keeps"),
        ({"background": True}, "`background` answers later"),
        ({"background": 0}, "`background` answers later"),
        ({"prompt": {"id": "pmpt_1"}}, "`prompt` names no version"),
        ({"prompt": "pmpt_1"}, "`prompt` names no version"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "an item is kept by the provider"),
        ({"input": [{"id": "msg_1"}]}, "an item is kept by the provider"),
        ({"input": 5}, "`input` is neither a text nor a list of items"),
        ({"input": ["hi"]}, "`input` is neither a text nor a list of items"),
        ({"stream": "yes"}, "`stream` is not a boolean"),
        ({"modalities": ["text", "audio"]}, "audio output is not reused"),
        ({"tools": [{"type": "web_search"}]}, "a tool that the provider runs: web_search"),
        ({"tools": [FUNCTION, {"type": "mcp", "server_label": "s"}]}, "a tool that the provider runs: mcp"),
        ({"tools": [{"type": "shell", "environment": {"type": "container_auto"}}]},
         "a tool that the provider runs: shell"),
        ({"tools": [{"type": "shell"}]}, "a tool that the provider runs: shell"),
        ({"tools": [{"type": "tool_search"}]}, "a tool that the provider runs: tool_search"),
        ({"tools": [{"type": "computer_use_preview"}]}, "a tool that the provider runs: computer_use_preview"),
        ({"tools": [{"type": "a\r\nb"}]}, "a tool that the provider runs: unknown"),
        ({"tools": [5]}, "a tool that the provider runs: unknown"),
        ({"input": [{"type": "additional_tools", "tools": [{"type": "mcp"}]}]}, "a tool that the provider runs: mcp"),
    ],
)  # fmt: skip
def test_not_cacheable(fields: Any, why: str) -> None:
    assert asked(**fields).question.uncacheable == why


def test_keys_that_stand_twice() -> None:
    request = RESPONSES.read(b'{"model":"m","input":"a","input":"b"}', "/v1/responses")
    assert request.question.uncacheable == "the key 'input' stands twice"


@pytest.mark.parametrize("body", [b"5", b"[]", b'{"input":"a"}', b'{"model":5,"input":"a"}'])
def test_what_names_no_model(body: bytes) -> None:
    assert RESPONSES.read(body, "/v1/responses").question.uncacheable


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": [FUNCTION, {"type": "custom", "name": "sql"}, {"type": "apply_patch"}, {"type": "local_shell"}]},
        {"tools": [{"type": "shell", "environment": {"type": "local"}}]},
        {"tools": [{"type": "namespace", "name": "n", "description": "", "tools": [FUNCTION]}]},
        {"tools": [{"type": "tool_search", "execution": "client"}]},
        {"prompt": {"id": "pmpt_1", "version": "2"}},
    ],
)
def test_cacheable(fields: Any) -> None:
    assert asked(**fields).question.uncacheable is None


@pytest.mark.parametrize(
    ("items", "why"),
    [
        ([USER], None),
        ([USER, CALL], "the last message is not the user's"),
        ([{"type": "custom_tool_call_output", "call_id": "c", "output": "1"}, USER], "it holds what is not known here"),
        ([{"type": ["x"]}, USER], "it holds what is not known here"),
    ],
)
def test_exact_only(items: Any, why: str | None) -> None:
    assert asked(input=items).question.exact_only == why


def test_bound_unless_the_provider_need_not_keep_it() -> None:
    assert [asked(**fields).bound for fields in ({}, {"store": True}, {"store": None}, {"store": False})] == [
        True, True, True, False,
    ]  # fmt: skip


def test_for_whom() -> None:
    assert asked(user="a", safety_identifier="b", metadata={"user_id": "c"}).users == ("a", "b", "c")


def test_what_is_sent_is_what_came() -> None:
    body = b'{ "model": "m", "input": "hi", "stream": true, "temperature": 1.50 }'
    request = RESPONSES.read(body, "/v1/responses")
    assert request.stream and RESPONSES.asking(request) == body
