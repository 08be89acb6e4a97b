"""Which requests are the same question: what does not change the digest, and that everything else does."""

import json
import random
from typing import Any

import pytest
from chat_requests import CALLED, IMAGE, SYSTEM, TOOL, ask, identity, read, user
from hypothesis import assume, given
from hypothesis import strategies as st

from edgecache.core.canonical import IDENTITY_HEADERS, Identity, identify, normalise
from edgecache.core.entry import Scope
from edgecache.wire.chat.request import IGNORED, read_chat
from edgecache.wire.dialects import of_path

# --- what does not change it --------------------------------------------------------------------------------------

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)
names = st.text(min_size=1, max_size=12) | st.sampled_from(["temperature", "seed", "tools", "n", "max_tokens", "x"])
RESERVED = {*IGNORED, "model", "messages", "audio", "modalities"}
extras = st.dictionaries(
    names.filter(lambda name: name not in RESERVED and not name.startswith("prompt_cache_")), values, max_size=4
)
messages = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["system", "assistant", "user"]), "content": st.text(max_size=8)}),
    max_size=3,
)
requests = st.builds(
    lambda model, earlier, text, more: {"model": model, "messages": [*earlier, user(text)], **more},
    st.text(max_size=5),
    messages,
    st.text(max_size=10),
    extras,
)
ignored = st.dictionaries(
    st.sampled_from([*sorted(IGNORED - {"stream"}), "prompt_cache_key", "prompt_cache_retention", "prompt_cache_x"]),
    values,
)


def shuffled(value: Any, seed: random.Random) -> Any:
    if isinstance(value, dict):
        items = [(name, shuffled(inner, seed)) for name, inner in value.items()]
        seed.shuffle(items)
        return dict(items)
    return [shuffled(item, seed) for item in value] if isinstance(value, list) else value


@given(requests, st.randoms(use_true_random=False))
def test_key_order_white_space_and_escapes_do_not_change_identity(fields: dict[str, Any], seed: random.Random) -> None:
    spaced = json.dumps(shuffled(fields, seed), indent=seed.choice([None, 1]), separators=(" ,\t", " :\r\n "))
    plain = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()
    assert identity(spaced.encode()) == identity(plain)


@given(requests, ignored, st.booleans() | st.none())
def test_ignored_fields_do_not_change_it(fields: dict[str, Any], more: dict[str, Any], stream: bool | None) -> None:
    assert identity({**more, **fields, "stream": stream}) == identity(fields)


def test_ignored_fields_are_a_closed_list() -> None:
    listed = {"stream", "stream_options", "user", "metadata", "safety_identifier", "service_tier", "store"}
    assert listed == IGNORED


def test_ignored_names_count_where_they_are_not_fields_of_the_request() -> None:
    assert identity(ask(x={"user": "a"})) != identity(ask(x={"user": "b"}))
    assert identity({"model": "m", "messages": [user("q", metadata="a")]}) != identity(ask("q"))


def test_the_two_names_of_length_are_one() -> None:
    assert identity(ask(max_tokens=5)) == identity(ask(max_completion_tokens=5))


def test_both_names_of_length_at_once_stay_apart() -> None:
    found = [
        identity(ask(max_tokens=5)),
        identity(ask(max_tokens=5, max_completion_tokens=5)),
        identity(ask(max_tokens=5, max_completion_tokens=6)),
        identity(ask(max_tokens=6, max_completion_tokens=5)),
    ]
    assert len({one.partition for one in found}) == len(found)


def test_text_as_string_and_as_one_part_are_the_same() -> None:
    assert identity(ask("x")) == identity(ask([{"type": "text", "text": "x"}]))


@pytest.mark.parametrize("padded", ["a\nb", " a\nb", "a\nb\n", "a\r\nb", "\ta\r\nb \r\n"])
def test_padding_and_line_ends_of_the_last_text_do_not_change_identity(padded: str) -> None:
    assert identity(ask(padded)) == identity(ask("a\nb"))
    assert identity(ask(padded)).text == "a\nb"


@given(st.text())
def test_normalising_twice_is_normalising_once(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


# --- what does ----------------------------------------------------------------------------------------------------


def same_json(left: object, right: object) -> bool:
    """Equal as JSON: 1, 1.0 and true are three things, and so are 0.0 and -0.0."""
    return json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)


def neutral(fields: dict[str, Any]) -> dict[str, Any]:
    """What the house says counts, in another way than the code: for comparing two requests."""
    kept = {name: value for name, value in fields.items() if name not in IGNORED}
    kept = {name: value for name, value in kept.items() if not name.startswith("prompt_cache_")}
    if "max_tokens" not in kept and "max_completion_tokens" in kept:
        kept["max_tokens"] = kept.pop("max_completion_tokens")
    *earlier, last = kept["messages"]
    return {**kept, "messages": [*earlier, {**last, "content": normalise(last["content"])}]}


@given(requests, requests)
def test_different_requests_have_different_keys(one: dict[str, Any], other: dict[str, Any]) -> None:
    assume(not same_json(neutral(one), neutral(other)))
    assert identity(one).key != identity(other).key


def as_good_as_nothing(name: str, value: Any) -> bool:
    """What the description gives as the default of fields that dialects share."""
    nothing = {"temperature": (None,), "tools": (None, []), "n": (None, 1), "seed": (None,)}
    return any(same_json(value, default) for default in nothing.get(name, ()))


@pytest.mark.parametrize(
    ("name", "value"), [("temperature", None), ("tools", []), ("n", 1), ("response_format", {"type": "text"})]
)
def test_a_default_is_as_good_as_nothing(name: str, value: Any) -> None:
    assert identity(ask(**{name: value})) == identity(ask())


@given(requests, names, values, values)
def test_any_other_field_added_removed_or_changed_changes_the_partition(
    fields: dict[str, Any], name: str, value: Any, other: Any
) -> None:
    assume(name not in RESERVED and name not in fields and not name.startswith("prompt_cache_"))
    assume(name not in ("max_tokens", "max_completion_tokens"))
    assume(not (as_good_as_nothing(name, value) or as_good_as_nothing(name, other)))
    absent, there = identity(fields).partition, identity({**fields, name: value}).partition
    assert absent != there
    assert same_json(value, other) or identity({**fields, name: other}).partition != there


@given(requests, st.data())
def test_any_message_changed_changes_identity(fields: dict[str, Any], data: st.DataObject) -> None:
    number = data.draw(st.integers(0, len(fields["messages"]) - 1))
    message = fields["messages"][number]
    for changed in (
        {**message, "content": message["content"] + "!"},
        {**message, "role": message["role"] + "x"},
        {**message, "name": "n"},
    ):
        others = [changed if at == number else old for at, old in enumerate(fields["messages"])]
        assert identity({**fields, "messages": others}).key != identity(fields).key


@given(requests)
def test_scope_model_header_path_query_rules_and_secret_change_both_digests(fields: dict[str, Any]) -> None:
    plain = identity(fields)
    others = [
        identity(fields, scope="tenant2"),
        identity({**fields, "model": fields["model"] + "2"}),
        identity(fields, query="api-version=1"),
        identity(fields, path="/openai/deployments/a/chat/completions"),
        identity(fields, rules=("a",)),
        identity(fields, rules=("a", "b")),
        identity(fields, rules=("b", "a")),
        identity(fields, secret=b"golden2"),
        *(identity(fields, headers={name: "v"}) for name in IDENTITY_HEADERS),
        *(identity(fields, headers={name: ""}) for name in IDENTITY_HEADERS),
    ]
    assert len({plain.partition, *(one.partition for one in others)}) == len(others) + 1
    assert len({plain.key, *(one.key for one in others)}) == len(others) + 1


def test_other_headers_do_not_count() -> None:
    assert identity(ask(), headers={"user-agent": "a", "authorization": "b"}) == identity(ask())


def test_scope_is_carried_along() -> None:
    assert identity(ask(), scope="a").scope == "a"


DIFFERENT_VALUES = [
    "1", "1.0", '"1"', "true", "[1]", '{"1":1}', "10000000000000000000000000", "1e25", "18446744073709551616",
    "18446744073709551615", "1.8446744073709552e19", "9007199254740993", "9007199254740992.0", "9007199254740992",
    "0", "0.0", "-0.0", "null", "false", '""', "[]", "{}", "[[]]", "[null]", '[""]', '"null"',
    '"\\u00e9"', '"e\\u0301"',
    '"\\u0000"', '"\\\\u0000"', '"<text>"', '"\\u2028"', "1e16", "10000000000000000", "5e-324", "1e-323",
]  # fmt: skip


ONE = b'{"model":"m","messages":[{"role":"user","content":"q"}],"x":%s}'
NESTED = b'{"model":"m","messages":[{"role":"user","content":"q","x":[%s]}]}'


def test_values_that_resemble_each_other_stay_apart() -> None:
    bodies = [ONE % v.encode() for v in DIFFERENT_VALUES]
    nested = [NESTED % v.encode() for v in DIFFERENT_VALUES]
    found = [identity(body).partition for body in [*bodies, *nested]]
    assert len(set(found)) == len(found)


def test_unicode_forms_of_the_text_stay_apart() -> None:
    assert identity(ask("\u00e9")).key != identity(ask("e\u0301")).key


# --- attacks: two requests that try to share a key ----------------------------------------------------------------

TEXT_X = {"type": "text", "text": "x"}
ATTACKS: dict[str, list[dict[str, Any]]] = {
    "a part without its text": [ask(""), ask([{"type": "text"}]), ask([]), ask(None), ask([{}]), ask({})],
    "a placeholder in another place": [
        ask([TEXT_X, {"type": "text"}]),
        ask([{"type": "text"}, TEXT_X]),
        ask([TEXT_X]),
    ],
    "text null or of another type": [
        ask([{"type": "text", "text": None}]),
        ask([{"type": "text", "text": ["x"]}]),
        ask([{"type": "text"}]),
        ask(""),
    ],
    "what the place of the text is written as": [
        ask("<text>"),
        ask([{"type": "text", "text": "<text>"}, TEXT_X]),
        ask([TEXT_X, {"type": "text", "text": "<text>"}]),
        ask([{"type": "text", "text": {"$text": 0}}]),
    ],
    "an empty text among others": [
        ask([TEXT_X, IMAGE]),
        ask([{"type": "text", "text": ""}, IMAGE]),
        ask([{"type": "text", "text": ""}, TEXT_X, IMAGE]),
        ask([TEXT_X, {"type": "text", "text": ""}, IMAGE]),
        ask([{"type": "text", "text": ""}, {"type": "text", "text": ""}, IMAGE]),
    ],
    "text moved between parts": [
        ask([{"type": "text", "text": "xy"}]),
        ask([TEXT_X, {"type": "text", "text": "y"}]),
        ask([{"type": "text", "text": "y"}, TEXT_X]),
        ask([{"type": "text", "text": ""}, {"type": "text", "text": "xy"}]),
    ],
    "text moved between messages": [
        {"model": "m", "messages": [user("a"), user("b")]},
        {"model": "m", "messages": [user("ab"), user("")]},
        {"model": "m", "messages": [user(""), user("ab")]},
        {"model": "m", "messages": [user("ab")]},
    ],
    "text before or after an image": [ask([TEXT_X, IMAGE]), ask([IMAGE, TEXT_X]), ask([IMAGE]), ask("x")],
    "another image": [
        ask([TEXT_X, IMAGE]),
        ask([TEXT_X, {**IMAGE, "image_url": {"url": "https://example.org/b.png"}}]),
    ],
    "an extra field in the part": [ask("x"), ask([{**TEXT_X, "cache_control": {"type": "ephemeral"}}])],
    "a string as messages or fields": [
        ask("x", **{"messages ": "y"}),
        ask("x", fields={"messages": []}),
        ask("x", text="x"),
        ask("x", partition=""),
    ],
    "model within the fields": [ask("x"), {**ask("x"), "model": "m,"}, ask("x", Model="m"), ask("x", operation="chat")],
    "who speaks last": [
        {"model": "m", "messages": [user("x"), {"role": "assistant", "content": ""}]},
        {"model": "m", "messages": [user("x")]},
        {"model": "m", "messages": [{"role": "system", "content": "x"}]},
        {"model": "m", "messages": [{"content": "x"}]},
        {"model": "m", "messages": [user("x", name="n")]},
    ],
}


@pytest.mark.parametrize("name", ATTACKS)
def test_no_two_requests_share_a_key(name: str) -> None:
    found = [identity(fields) for fields in ATTACKS[name]]
    assert len({one.key for one in found}) == len(found)
    assert len({(one.partition, one.text) for one in found}) == len(found)


contents = st.lists(
    st.one_of(
        st.builds(lambda text: {"type": "text", "text": text}, st.sampled_from(["", "x", "y", "<text>"])),
        st.sampled_from([{"type": "text"}, {}, {"type": "text", "text": None}, IMAGE, {"text": "x"}, "x", None]),
    ),
    max_size=3,
)


@given(contents, contents)
def test_contents_in_parts_share_a_key_only_when_equal(one: list[Any], other: list[Any]) -> None:
    assert (identity(ask(one)).key == identity(ask(other)).key) == (one == other)


def test_scope_and_other_places_are_not_confused() -> None:
    found = [
        identity(ask(), scope='a","chat', query=""),
        identity(ask(), scope="a", query='","chat'),
        identity(ask(), path="/v1/chat", query="/completions"),
        identity(ask(), path="/v1/chat/completions", query="/v1/chat/completions"),
        identity(ask(), path="a", rules=("b",)),
        identity(ask(), path="", query="a", rules=("b",)),
        identity(ask(), rules=("a", "b")),
        identity(ask(), rules=('a","b',)),
        identity(ask(), rules=("a,b",)),
        identity(ask(), headers={"api-version": "1"}),
        identity(ask(), query="api-version=1"),
        identity(ask(), headers={"openai-beta": "1"}),
    ]
    assert len({one.partition for one in found}) == len(found)


def test_headers_and_query_that_are_not_utf8_still_count() -> None:
    """aiohttp hands over bytes that are not UTF-8 as lone surrogates."""
    values = ("\udcff", "\udcfe", "?", "\ufffd", "\\udcff")
    found = [identity(ask(), headers={"openai-beta": value}) for value in values]
    found += [identity(ask(), query=value) for value in ("\udcff", "\udcfe", "?")]
    found += [identity(ask(), path=value) for value in ("\udcff", "\udcfe", "?")]
    assert len({one.partition for one in found}) == len(found)


def test_every_byte_of_a_long_secret_counts() -> None:
    assert identity(ask(), secret=b"s" * 64 + b"1") != identity(ask(), secret=b"s" * 64 + b"2")
    assert identity(ask(), secret=b"s" * 64) != identity(ask(), secret=b"s" * 65)


# --- what may be asked in other words -----------------------------------------------------------------------------


@pytest.mark.parametrize("fields", [ask("x"), ask([TEXT_X]), ask([IMAGE, TEXT_X]), {**ask("x"), "tools": [TOOL]}])
def test_the_last_user_text_is_taken_out(fields: dict[str, Any]) -> None:
    question = read_chat(read(fields)).question
    assert (question.text, question.exact_only) == ("x", None)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        (ask([TEXT_X, TEXT_X]), "the last message has no text, or several"),
        (ask([IMAGE]), "the last message has no text, or several"),
        (ask(None), "the last message has no text"),
        ({"model": "m", "messages": [{"role": "function", "name": "f", "content": "1"}, user("x")]}, "tool results"),
        ({"model": "m", "messages": [user("x"), {"role": "assistant", "content": "So"}]}, "is not the user's"),
        ({"model": "m", "messages": [SYSTEM]}, "is not the user's"),
    ],
)
def test_exact_only(fields: dict[str, Any], why: str) -> None:
    question = read_chat(read(fields)).question
    assert question.uncacheable is None
    assert why in (question.exact_only or "")


def test_what_holds_tool_results_is_of_an_agent() -> None:
    assert read_chat(read({"model": "m", "messages": CALLED})).question.of_agent
    assert not read_chat(read(ask("x"))).question.of_agent


def test_the_text_is_in_the_key_and_not_in_the_partition() -> None:
    one, other = identity(ask("x")), identity(ask("y"))
    assert one.partition == other.partition
    assert one.key != other.key


# --- across dialects, and what only one knows -----------------------------------------------------------------------


def spoken(path: str, fields: dict[str, Any]) -> Identity:
    dialect = of_path(path)
    assert dialect is not None
    question = dialect.read(read(fields), path).question
    assert question.uncacheable is None, question.uncacheable
    return identify(question, Scope("tenant"), {}, "", path="/v1", rules=(), secret=b"golden")


MESSAGES = "/v1/messages"


def test_a_field_of_a_body_is_no_stop_sequence() -> None:
    asked = {**ask(), "max_tokens": 5}
    found = [
        spoken(MESSAGES, {**asked, "stop": ["END"]}),
        spoken(MESSAGES, {**asked, "stop_sequences": ["END"]}),
        spoken(MESSAGES, {**asked, "stop": ["END"], "stop_sequences": ["END"]}),
        spoken(MESSAGES, {**asked, "stop": ["END"], "stop_sequences": ["STOP"]}),
    ]
    assert len({one.partition for one in found}) == len(found)


def called(arguments: str, first: str = "1", second: str = "1") -> dict[str, Any]:
    function = {"name": "f", "arguments": arguments}
    return {
        "model": "m",
        "messages": [
            user("weather?"),
            {"role": "assistant", "tool_calls": [{"id": first, "type": "function", "function": function}]},
            {"role": "tool", "tool_call_id": second, "content": "rain"},
            user("and tomorrow?"),
        ],
    }


def test_arguments_of_calls_count_however_they_are_spaced_and_their_ids_do_not() -> None:
    one = identity(called('{"a":1,"b":2}'))
    assert identity(called('{ "b": 2, "a": 1 }')) == one
    assert identity(called('{"a":1,"b":2}', "x", "x")) == one
    others = [
        called('{"a":1,"a":2}'),
        called('{"a":2}'),
        called('{"a":9007199254740993.0}'),
        called('{"a":9007199254740992.0}'),
        called('{"a":{"float":"1.5"}}'),
        called('{"a":1.5}'),
        called("not JSON"),
        called('{"a":1,"b":2}', "x", "#0"),
        called('{"a":1,"b":2}', "x", "y"),
    ]
    found = {identity(fields).partition for fields in others}
    assert len(found) == len(others)
    assert one.partition not in found


@pytest.mark.parametrize(
    "messages",
    [
        [*called('{"a":1}')["messages"][:1], {"role": "assistant", "tool_calls": [{"id": "1", "index": 0}]}, user("x")],
        [{"role": "tool", "name": "f", "tool_call_id": "1", "content": "rain"}, user("x")],
        [user([{"type": "text", "text": "x"}, {"type": "unheard_of"}])],
        [user([{"type": "text", "text": "x", "cache_control": {}}]), user("x")],
    ],
)
def test_what_holds_what_is_not_known_here_is_exact(messages: list[dict[str, Any]]) -> None:
    question = read_chat(read({"model": "m", "messages": messages})).question
    assert question.exact_only == "it holds what is not known here"


def test_who_may_go_on_with_a_stored_completion_is_bound() -> None:
    assert read_chat(read({**ask(), "store": True})).bound
    assert not read_chat(read({**ask(), "store": False})).bound
    assert not read_chat(read(ask())).bound
