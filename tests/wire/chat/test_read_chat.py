"""Bad input: an error that says what to change, or a question that is not cached. Nothing else ever leaves."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edgecache.core.canonical import identify
from edgecache.core.entry import Scope
from edgecache.errors import BadRequest
from edgecache.wire.bodies import MAX_DEPTH
from edgecache.wire.chat.request import read_chat, with_usage
from edgecache.wire.dialect import Request

VALID = (
    b'{"model":"m","messages":[{"role":"user","content":"Why?"}],"stream":true,'
    b'"temperature":0.5,"a":{"b":[1,"\\u00e9"]}}'
)


def with_field(value: bytes, name: bytes = b"x") -> bytes:
    return b'{"model":"m","messages":[{"role":"user","content":"q"}],"%s":%s}' % (name, value)


def read_safely(body: bytes) -> Request | None:
    """Reads a body; None where it was refused with a message for people. Anything else is a failed test."""
    try:
        request = read_chat(body)
    except BadRequest as error:
        assert len(error.message) > 20
        assert len(error.message) < 400
        error.message.encode()
        return None
    assert request.body == body
    if request.question.uncacheable is None:
        identify(request.question, Scope("s"), {}, "", path="/", rules=(), secret=b"k")
    return request


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"\xef\xbb\xbf" + VALID, "byte order mark"),
        (VALID.decode().encode("utf-16"), "UTF-8"),
        (VALID.decode().encode("utf-16-le"), "UTF-8"),
        (VALID.decode().encode("utf-32"), "UTF-8"),
        (b"\xfe\xff\x00{\x00}", "UTF-8"),
        (with_field(b'"\xff"'), "UTF-8"),
        (with_field(b'"\xed\xa0\x80"'), "UTF-8"),
        (with_field(b'"\xc3\x28"'), "UTF-8"),
        (with_field(b'[1e400, "\xff"]'), "UTF-8"),
        (with_field(b'"\\ud800"'), "surrogate"),
        (with_field(b'"\\udc00"'), "surrogate"),
        (with_field(b'"\\ud83d\\u0041"'), "surrogate"),
        (with_field(b'"\\ude00\\ud83d"'), "surrogate"),
        (with_field(b'"a\\uD83D"'), "surrogate"),
        (with_field(b"1", name=b"\\ud83d"), "surrogate"),
        (b"[" * 100_000, "deep"),
        (b'{"a":' * 100_000, "deep"),
        (with_field(b"[" * 100_000 + b"]" * 100_000), "deep"),
        (with_field(b"1e400", b"y")[:-1] + b',"z":' + b"[" * 50_000 + b"]" * 50_000 + b"}", "deep"),
        (with_field(b'{"a":[' * 500 + b"]}" * 500), "deep"),
        (with_field(b"NaN"), "JSON"),
        (with_field(b"[1e400, NaN]"), "JSON"),
        (with_field(b"Infinity"), "JSON"),
        (with_field(b"1e400")[:-1], "JSON"),
        (with_field(b"1" * 5_000), "digits"),
        (with_field(b'1e400, "y": ' + b"1" * 5_000), "digits"),
        (b"{'model': 'm'}", "JSON"),
        (VALID[:-1], "JSON"),
        (VALID + b"x", "JSON"),
        (b'{"a":"\\ud83d\\ude00",}', "trailing comma"),
        (b"\x00", "JSON"),
    ],
)
def test_what_is_no_json_is_refused_with_what_to_change(body: bytes, says: str) -> None:
    with pytest.raises(BadRequest, match=f"(?i){says}"):
        read_chat(body)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"[]", "not an object"),
        (b'"x"', "not an object"),
        (b"null", "not an object"),
        (b"{}", "`model` is missing"),
        (b'{"model":7}', "`model` is missing"),
        (b'{"model":"m"}', "`messages`"),
        (b'{"model":"m","messages":[]}', "`messages`"),
        (b'{"model":"m","messages":"x"}', "`messages`"),
        (b'{"model":"m","messages":[7]}', "`messages`"),
        (with_field(b'"yes"', b"stream"), "`stream`"),
        (with_field(b'{"voice":"alloy"}', b"audio"), "audio"),
        (with_field(b'["text","audio"]', b"modalities"), "audio"),
        (with_field(b"1e400"), "out of range"),
        (with_field(b"-1E+999"), "out of range"),
        (b'{"model":"m","model":"m","messages":[{"role":"user","content":"q"}]}', "'model' stands twice"),
        (b'{"model":"m","messages":[],"messages":[{"role":"user","content":"q"}]}', "'messages' stands twice"),
        (with_field(b'{"a":[{"b":1,"c":2,"b":1}]}'), "'b' stands twice"),
        (with_field(b'1,"\\u0078":1'), "'x' stands twice"),
        (with_field(b'true,"stream":false', b"stream"), "'stream' stands twice"),
    ],
)
def test_what_only_a_provider_can_judge_is_passed_on_and_not_cached(body: bytes, why: str) -> None:
    request = read_chat(body)
    assert why in (request.question.uncacheable or "")
    assert request.body == body


def test_huge_bodies_cost_one_parse(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parse that sees repeated keys is the slow one: over 4 MiB it is left out, and nothing is cached."""
    parsed: list[int] = []
    loads = json.loads
    monkeypatch.setattr(json, "loads", lambda body, **how: parsed.append(len(body)) or loads(body, **how))
    largest = 4 << 20
    padding = largest - len(with_field(b'""'))
    looked_at, huge = (read_chat(with_field(b'"%s"' % (b"a" * length))) for length in (padding, padding + 1))
    assert (len(looked_at.body), len(huge.body)) == (largest, largest + 1)
    assert looked_at.question.uncacheable is None
    assert huge.question.uncacheable == "the body is over 4 MiB and not looked at for repeated keys"
    assert huge.model == "m"
    assert parsed == [largest]


def test_many_keys_of_which_the_last_two_are_one_are_read_in_one_go() -> None:
    """Counting each name among all would take hours here."""
    many = b",".join(b'"%d":1' % number for number in range(300_000))
    request = read_chat(b'{"model":"m","messages":[{"role":"user","content":"q"}],"x":{%s,"299999":2}}' % many)
    assert request.question.uncacheable == "the key '299999' stands twice"


def test_big_integers_are_read_whole() -> None:
    one, other = (read_chat(with_field(b"123456789012345678901234567890%d" % last)) for last in (1, 2))
    assert one.question.fields != other.question.fields


def test_nesting_is_read_up_to_its_limit_wherever_the_stack_stands() -> None:
    """The same body must not be read here and fail there, so the limit is ours and not the interpreter's."""
    inner = MAX_DEPTH - 1  # the request itself is one level
    assert read_safely(with_field(b"[" * inner + b"]" * inner)) is not None
    with pytest.raises(BadRequest, match=f"{MAX_DEPTH} levels"):
        read_chat(with_field(b"[" * (inner + 1) + b"]" * (inner + 1)))


def test_many_brackets_that_are_not_deep_are_read() -> None:
    assert read_safely(with_field(b"[" + b",".join([b'[{"a":[]}]'] * 2_000) + b"]")) is not None


@pytest.mark.parametrize("filling", [b'"%s"' % (b"x" * 5_000_000), b"[" + b"1," * 2_500_000 + b"1]"])
def test_five_megabytes_are_read(filling: bytes) -> None:
    request = read_safely(with_field(filling))
    assert request is not None
    assert request.question.uncacheable == "the body is over 4 MiB and not looked at for repeated keys"


@given(st.binary(max_size=64))
@example(b"\xef\xbb\xbf")
@example(b'"\\ud8')
def test_random_bytes_never_raise_anything_else(body: bytes) -> None:
    read_safely(body)


SPLICES = [
    b"", b"1e400", b"NaN", b"null", b"\\ud800", b"\xff", b"\x00", b"[", b"{", b"}", b'"', b",", b":", b"\\u0000", b"-0",
    b"9" * 5_000, b"[" * 2_000, b'"model":"n",', b'"messages":null,', b"\xef\xbb\xbf", b"\\", b"\xed\xa0\x80",
]  # fmt: skip


@given(st.lists(st.tuples(st.integers(0, len(VALID)), st.integers(0, 12), st.sampled_from(SPLICES)), max_size=3))
def test_mutated_requests_never_raise_anything_else(edits: list[tuple[int, int, bytes]]) -> None:
    body = VALID
    for start, removed, added in edits:
        body = body[:start] + added + body[start + removed :]
    read_safely(body)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
known = st.sampled_from(["model", "messages", "stream", "stream_options", "role", "audio", "modalities", "type"])
message_fields = st.sampled_from(["role", "content", "tool_calls", "name"])
messages = st.lists(st.dictionaries(message_fields, json_values), max_size=3)


@given(st.dictionaries(known, json_values), messages | json_values)
def test_wrong_types_never_raise_anything_else(fields: dict[str, Any], told: object) -> None:
    body = json.dumps({**fields, "model": "m", "messages": told}).encode()
    read_safely(body)


@pytest.mark.parametrize(
    ("options", "stream", "usage"),
    [
        (b'true,"stream_options":{"include_usage":true}', True, True),
        (b'true,"stream_options":{"include_usage":false}', True, False),
        (b'true,"stream_options":{"include_usage":1}', True, False),
        (b'true,"stream_options":null', True, False),
        (b'true,"stream_options":[]', True, False),
        (b"true", True, False),
        (b"null", False, False),
        (b"false", False, False),
    ],
)
def test_what_is_asked_about_the_response(options: bytes, stream: bool, usage: bool) -> None:
    request = read_chat(with_field(options, b"stream"))
    assert (request.stream, request.include_usage, request.model) == (stream, usage, "m")


# --- asking for usage ---------------------------------------------------------------------------------------------


def test_asking_for_usage_changes_nothing_else() -> None:
    body = b'{ "model":"m", "x": 1.50, "y":12345678901234567890123, "stream_options":{"z":1E5,"include_usage":false}}'
    changed = with_usage(body)
    assert b'"x":1.50' in changed
    assert b'"y":12345678901234567890123' in changed
    assert b'"z":1E5' in changed
    assert json.loads(changed)["stream_options"]["include_usage"] is True


@pytest.mark.parametrize("options", [b"", b',"stream_options":null', b',"stream_options":{}'])
def test_asking_for_usage_where_nothing_was_said(options: bytes) -> None:
    changed = json.loads(with_usage(b'{"model":"m"%s}' % options))
    assert changed == {"model": "m", "stream_options": {"include_usage": True}}


@pytest.mark.parametrize(
    "body", [b'{"stream_options":"x"}', b'{"stream_options":[1]}', b'{"stream_options":{"include_usage":"yes"}}']
)
def test_a_wrong_type_is_left_for_the_provider_to_refuse(body: bytes) -> None:
    assert with_usage(body) == body
