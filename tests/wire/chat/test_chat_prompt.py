"""Where the local model answers, what it cannot do is refused, and the field at fault is named."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecache.core.generation import Prompt, Sampling, Turn
from edgecache.errors import BadRequest
from edgecache.wire.chat.prompt import UNSUPPORTED, to_prompt


def ask(**fields: Any) -> dict[str, Any]:
    return {"model": "local", "messages": [{"role": "user", "content": "q"}], **fields}


def refusal(fields: Any) -> BadRequest:
    with pytest.raises(BadRequest) as found:
        to_prompt(fields)
    return found.value


def test_a_conversation() -> None:
    messages = [
        {"role": "system", "content": "s"},
        {"role": "developer", "content": [{"type": "text", "text": "d"}]},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "name": "n"},
        {"role": "assistant", "content": "c", "refusal": None},
        {"role": "user", "content": ""},
    ]
    turns = [("system", "s"), ("system", "d"), ("user", "ab"), ("assistant", "c"), ("user", "")]
    assert to_prompt(ask(messages=messages)) == Prompt(tuple(Turn(role, text) for role, text in turns))


@pytest.mark.parametrize(
    ("fields", "sampling"),
    [
        ({}, Sampling()),
        ({"temperature": None, "top_p": None, "stop": None, "max_tokens": None, "n": None, "seed": None}, Sampling()),
        ({"temperature": 1, "top_p": 0.5, "seed": -7}, Sampling(temperature=1.0, top_p=0.5, seed=-7)),
        ({"stop": "x"}, Sampling(stop=("x",))),
        ({"stop": ["x", "", "y"]}, Sampling(stop=("x", "y"))),
        ({"max_tokens": 5}, Sampling(max_tokens=5)),
        ({"max_completion_tokens": 6, "max_tokens": 5}, Sampling(max_tokens=6)),
        ({"n": 1, "stream": True, "stream_options": {"include_usage": True}, "user": "u", "metadata": {}}, Sampling()),
    ],
)
def test_sampling(fields: dict[str, Any], sampling: Sampling) -> None:
    assert to_prompt(ask(**fields)).sampling == sampling


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_what_is_not_supported_is_named(name: str) -> None:
    found = refusal(ask(**{name: [{"x": 1}]}))
    assert found.param == name
    assert f"leave out `{name}`" in found.message


@pytest.mark.parametrize("name", UNSUPPORTED)
@pytest.mark.parametrize("nothing", [None, [], {}, 0, False])
def test_asking_for_nothing_is_not_refused(name: str, nothing: object) -> None:
    to_prompt(ask(**{name: nothing}))


@pytest.mark.parametrize("wanted", [{"type": "json_object"}, {"type": "json_schema"}, {}, "json", 1])
def test_only_text_is_answered(wanted: object) -> None:
    assert refusal(ask(response_format=wanted)).param == "response_format"
    to_prompt(ask(response_format={"type": "text"}))


@pytest.mark.parametrize("wanted", [["audio"], ["text", "audio"], "text", 1])
def test_only_text_is_spoken(wanted: object) -> None:
    assert refusal(ask(modalities=wanted)).param == "modalities"
    to_prompt(ask(modalities=["text"]))
    to_prompt(ask(modalities=None))


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": 7}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": "x"}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": [7]}, "messages[0]"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "tool", "content": "x", "tool_call_id": "1"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": float("inf")}, "temperature"),
        ({"top_p": 1.1}, "top_p"),
        ({"seed": 1.5}, "seed"),
        ({"seed": 10**30}, "seed"),
        ({"stop": ["x"] * 5}, "stop"),
        ({"stop": 5}, "stop"),
        ({"stop": [5]}, "stop[0]"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "5"}, "max_tokens"),
        ({"max_completion_tokens": -1}, "max_completion_tokens"),
        ({"n": 2}, "n"),
        ({"n": "1"}, "n"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": "x"}, "stream_options"),
    ],
)
def test_wrong_values_name_their_field(fields: dict[str, Any], param: str) -> None:
    found = refusal(ask(**fields))
    assert found.param == param
    assert f"'{param}'" in found.message
    assert "$" not in found.message


@pytest.mark.parametrize(
    ("fields", "param"), [({"messages": [{"role": "user", "content": "q"}]}, "model"), ({"model": "m"}, "messages")]
)
def test_missing_fields_are_named(fields: dict[str, Any], param: str) -> None:
    found = refusal(fields)
    assert found.param == param
    assert param in found.message


def test_what_is_good_instead_is_said() -> None:
    assert "1" in refusal(ask(n=2)).message
    assert "one answer" in refusal(ask(n=2)).message


@pytest.mark.parametrize("fields", [None, [], "x", 7])
def test_what_is_no_object(fields: object) -> None:
    assert "JSON object" in refusal(fields).message


names = st.sampled_from([*UNSUPPORTED, "model", "messages", "role", "content", "stop", "n", "seed", "type", "text"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(names, values), values)
def test_nothing_but_a_refusal_is_ever_raised(fields: dict[str, Any], messages: object) -> None:
    for asked in ({**ask(), **fields}, ask(messages=messages), fields):
        try:
            to_prompt(asked)
        except BadRequest as error:
            assert error.message
