"""Where the local model answers, what it cannot do is refused, and the field at fault is named as Anthropic does."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from message_examples import ask, assistant, read, text, user

from edgecache.core.generation import Prompt, Sampling, Turn
from edgecache.errors import BadRequest
from edgecache.wire.messages import MESSAGES
from edgecache.wire.messages.prompt import UNSUPPORTED, to_prompt


def refusal(fields: Any) -> BadRequest:
    with pytest.raises(BadRequest) as found:
        to_prompt(fields)
    return found.value


def test_a_conversation() -> None:
    messages = [user("a"), assistant(text("b"), text("c")), {"role": "system", "content": "d"}, user(text("e"))]
    turns = [("system", "s"), ("user", "a"), ("assistant", "bc"), ("system", "d"), ("user", "e")]
    expected = Prompt(tuple(Turn(role, words) for role, words in turns), Sampling(max_tokens=9))
    assert MESSAGES.prompt(read(ask(*messages, system="s"))) == expected
    assert to_prompt(ask(*messages, system=[text("s", cache_control={"type": "ephemeral"})])) == expected


@pytest.mark.parametrize(
    ("fields", "sampling"),
    [
        ({"temperature": None, "top_p": None, "stop_sequences": None}, Sampling(max_tokens=9)),
        ({"temperature": 1, "top_p": 0.5}, Sampling(temperature=1.0, top_p=0.5, max_tokens=9)),
        ({"stop_sequences": ["x", "", "y"]}, Sampling(stop=("x", "y"), max_tokens=9)),
        ({"thinking": {"type": "disabled"}, "metadata": {}, "stream": True}, Sampling(max_tokens=9)),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}}, Sampling(max_tokens=9)),
    ],
)
def test_sampling(fields: dict[str, Any], sampling: Sampling) -> None:
    assert to_prompt({**ask(), **fields}).sampling == sampling


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_what_is_not_supported_is_named(name: str) -> None:
    found = refusal(ask(**{name: [{"x": 1}]}))
    assert found.param == name
    assert found.message.startswith(f"{name}: ")
    for nothing in (None, [], {}, 0):
        to_prompt(ask(**{name: nothing}))


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": 7}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": "x"}, "messages"),
        ({"messages": [7]}, "messages.0"),
        ({"messages": [{"role": "user"}]}, "messages.0.content"),
        ({"messages": [user("a"), {"role": "wizard", "content": "x"}]}, "messages.1.role"),
        ({"messages": [user({"type": "image"})]}, "messages.0.content.0.type"),
        ({"messages": [user(text("a"), {"type": "text"})]}, "messages.0.content.1.text"),
        ({"messages": [user("a"), assistant("b")]}, "messages.1.role"),
        ({"system": 5}, "system"),
        ({"temperature": 1.1}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_p": -1}, "top_p"),
        ({"stop_sequences": [5]}, "stop_sequences.0"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": 1 << 40}, "max_tokens"),
        ({"stream": "yes"}, "stream"),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "thinking.type"),
        ({"output_config": {"format": {"type": "json_schema"}}}, "output_config.format"),
    ],
)
def test_wrong_values_name_their_field(fields: dict[str, Any], param: str) -> None:
    found = refusal({**ask(), **fields})
    assert found.param == param
    assert found.message.startswith(f"{param}: ")
    assert "$" not in found.message


@pytest.mark.parametrize("name", ["model", "messages", "max_tokens"])
def test_missing_fields_are_named(name: str) -> None:
    fields = ask()
    del fields[name]
    assert refusal(fields).message == f"{name}: this field is required"


@pytest.mark.parametrize("fields", [None, [], "x", 7])
def test_what_is_no_object(fields: object) -> None:
    assert "JSON object" in refusal(fields).message


names = st.sampled_from([*UNSUPPORTED, "model", "role", "content", "type", "text", "thinking", "output_config"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(names, values), values)
def test_nothing_but_a_refusal_is_ever_raised(fields: dict[str, Any], messages: object) -> None:
    for asked in ({**ask(), **fields}, {**ask(), "messages": messages}, fields):
        try:
            to_prompt(asked)
        except BadRequest as error:
            json.dumps(error.message)
