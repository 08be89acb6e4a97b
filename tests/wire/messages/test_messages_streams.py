"""A message told as a stream and a stream gathered into a message: nothing is lost, and the SDK reads the same."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from message_examples import ANSWERS, Sdk, answer, ask, encode, read, recorded, text, use, without_null

from edgecache.core.entry import Framing
from edgecache.wire import sse
from edgecache.wire.messages import MESSAGES
from edgecache.wire.messages.gather import events, gather
from edgecache.wire.messages.stream import event, to_stream

STREAMED, WHOLE = read(ask(stream=True)), read(ask())


@pytest.fixture(scope="module")
def sdk() -> Iterator[Sdk]:
    found = Sdk()
    yield found
    found.client.close()


def both_ways(message: dict[str, Any]) -> tuple[bytes, dict[str, Any]]:
    stream = MESSAGES.render(Framing.JSON, encode(message), STREAMED)
    return stream, json.loads(MESSAGES.render(Framing.SSE, stream, WHOLE))


@pytest.mark.parametrize("name", ANSWERS)
def test_nothing_is_lost(name: str, sdk: Sdk) -> None:
    message = ANSWERS[name]
    stream, again = both_ways(message)
    assert again == message
    assert sdk.gathered(stream) == without_null(message)


@pytest.mark.parametrize("framing", Framing)
def test_the_same_framing_keeps_its_bytes(framing: Framing) -> None:
    wanted = STREAMED if framing is Framing.SSE else WHOLE
    assert MESSAGES.render(framing, b"as it\ncame", wanted) == b"as it\ncame"
    assert MESSAGES.asking(wanted) is wanted.body
    assert MESSAGES.hider(wanted) is None


def test_the_events_and_their_order() -> None:
    stream, _ = both_ways(answer({"type": "thinking", "thinking": "a", "signature": "b"}, text("c"), use("d", e=1)))
    names = [sse.name(found).decode() for found in sse.EventSplitter().feed(stream)]
    said = events(stream)
    assert names == [found["type"] for found in said]
    block = ["content_block_start", "content_block_delta", "content_block_stop"]
    thinking = [block[0], block[1], block[1], block[2]]
    assert names == ["message_start", *thinking, *block, *block, "message_delta", "message_stop"]
    start = said[0]["message"]
    assert (start["content"], start["stop_reason"], start["usage"]["output_tokens"]) == ([], None, 0)
    assert start["usage"]["input_tokens"] == 3
    assert said[1]["content_block"] == {"type": "thinking", "thinking": "", "signature": ""}
    assert said[-2]["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}
    assert said[-2]["usage"]["output_tokens"] == 40
    assert "service_tier" not in said[-2]["usage"]


# --- streams as providers make them -------------------------------------------------------------------------------

START = event({"type": "message_start", "message": {**answer(), "content": [], "stop_reason": None}})
END = event({"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {}})
STOP = event({"type": "message_stop"})


def opened(at: int, block: dict[str, Any]) -> bytes:
    return event({"type": "content_block_start", "index": at, "content_block": block})


def piece(at: int, **delta: Any) -> bytes:
    return event({"type": "content_block_delta", "index": at, "delta": delta})


def content(*pieces: bytes) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = gather(events(b"".join((START, *pieces, END, STOP))))["content"]
    return found


def test_pieces_grow() -> None:
    words = [piece(0, type="text_delta", text=word) for word in ("a", "", "b")]
    assert content(opened(0, text("")), *words) == [text("ab")]


def test_arguments_are_joined_and_then_read() -> None:
    pieces = [piece(0, type="input_json_delta", partial_json=part) for part in ("", '{"x"', ": ", "[1]}")]
    assert content(opened(0, use("a")), *pieces) == [use("a", x=[1])]


def test_arguments_that_never_came_are_those_of_the_beginning() -> None:
    assert content(opened(0, use("a"))) == [use("a")]
    assert content(opened(0, use("a", x=1)), piece(0, type="input_json_delta", partial_json="")) == [use("a", x=1)]


def test_calls_may_be_told_in_turns() -> None:
    pieces = [(0, '{"x"'), (1, "{}"), (0, ":1}")]
    told = [piece(at, type="input_json_delta", partial_json=part) for at, part in pieces]
    assert content(opened(0, use("a")), opened(1, use("b")), *told) == [use("a", x=1), use("b")]


def test_a_signature_comes_whole() -> None:
    start = {"type": "thinking", "thinking": "", "signature": ""}
    pieces = [piece(0, type="signature_delta", signature=words) for words in ("old", "new")]
    assert content(opened(0, start), *pieces)[0]["signature"] == "new"


def test_citations_are_gathered() -> None:
    pieces = [piece(0, type="citations_delta", citation={"n": number}) for number in (1, 2)]
    found = content(opened(0, text("", citations=[])), piece(0, type="text_delta", text="a"), *pieces)
    assert found == [text("a", citations=[{"n": 1}, {"n": 2}])]


def test_deltas_unknown_here_are_kept() -> None:
    start = {"type": "compaction", "content": None}
    first = piece(0, type="compaction_delta", content="a", encrypted_content=None)
    found = content(opened(0, start), first, piece(0, type="new_delta", content="b", extra=[1]))
    assert found == [{"type": "compaction", "content": "ab", "encrypted_content": None, "extra": [1]}]


def test_a_hint_beside_thinking_is_no_part_of_it() -> None:
    start = {"type": "thinking", "thinking": "", "signature": ""}
    found = content(opened(0, start), piece(0, type="thinking_delta", thinking="a", estimated_tokens=50))
    assert found == [{"type": "thinking", "thinking": "a", "signature": ""}]


def test_counts_are_totals_and_null_takes_none_away() -> None:
    first = {"type": "message_delta", "delta": {"container": {"id": "c"}}, "usage": {"output_tokens": 5, "new": 1}}
    last = {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "container": None},
        "usage": {"output_tokens": 7, "input_tokens": None},
        "context_management": {"applied_edits": []},
    }
    found = gather(events(START + event(first) + event(last) + STOP))
    assert (found["usage"]["output_tokens"], found["usage"]["input_tokens"], found["usage"]["new"]) == (7, 3, 1)
    assert (found["container"], found["context_management"]) == ({"id": "c"}, {"applied_edits": []})


def test_pings_comments_and_events_unknown_here_say_nothing() -> None:
    ping = b'event: ping\ndata: {"type": "ping"}\n\n'
    noise = ping + b": waiting\n\n" + b"event: new\ndata: {}\n\n" + event({"type": "new_event", "index": 9}) + ping
    one = opened(0, text("")) + noise + piece(0, type="text_delta", text="a")
    assert content(noise, one, noise) == [text("a")]
    assert gather(events(START + END + STOP + ping + b": bye\n\ndata: [DONE]\n\n"))["content"] == []


BROKEN = {
    "empty": b"",
    "no beginning": END + STOP,
    "no end": START + END,
    "two beginnings": START + START + END + STOP,
    "more after the end": START + END + STOP + END,
    "a piece of no block": START + piece(0, type="text_delta", text="a") + END + STOP,
    "a piece of a block before the first": START
    + opened(0, text(""))
    + piece(-1, type="text_delta", text="a")
    + END
    + STOP,
    "blocks out of order": START + opened(1, text("")) + END + STOP,
    "a piece that is no text": START + opened(0, text("")) + piece(0, type="text_delta", text=5) + END + STOP,
    "a piece without its text": START + opened(0, text("")) + piece(0, type="text_delta") + END + STOP,
    "arguments cut": START + opened(0, use("a")) + piece(0, type="input_json_delta", partial_json="{") + END + STOP,
    "arguments no object": START + opened(0, use("a")) + piece(0, type="input_json_delta", partial_json="[]") + STOP,
    "not JSON": START + b"data: {\n\n" + END + STOP,
    "no object": START + b"data: []\n\n" + END + STOP,
    "an index of another type": START
    + event({"type": "content_block_start", "index": "0", "content_block": {}})
    + STOP,
    "an event's type of another type": START + b'data: {"type": {}}\n\n' + opened(0, {"type": 1}) + END + STOP,
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_not_read(name: str) -> None:
    found = MESSAGES.summarise(Framing.SSE, BROKEN[name])
    assert (found.why_not_stored, found.finished) == ("no end, or unreadable", False)


@pytest.mark.parametrize("name", ["tools", "thinking", "cited"])
def test_a_stream_cut_anywhere_is_not_stored(name: str) -> None:
    stream = to_stream(ANSWERS[name])
    for length in range(len(stream)):
        assert not MESSAGES.summarise(Framing.SSE, stream[:length]).finished
    assert MESSAGES.summarise(Framing.SSE, stream).why_not_stored is None


def test_an_error_in_the_stream_is_never_stored() -> None:
    for told in (b"event: error\ndata: Overloaded\n\n", event({"type": "error", "error": {"type": "api_error"}})):
        for stream in (told, START + told, START + opened(0, text("a")) + END + told + STOP, START + END + STOP + told):
            found = MESSAGES.summarise(Framing.SSE, stream)
            assert (found.why_not_stored, found.finished) == ("error in the stream", False)


def test_time_grows_with_the_length_only() -> None:
    """A hundred thousand pieces; each copy of what came before would make minutes of it."""
    words = piece(0, type="text_delta", text="a" * 10)
    arguments = piece(1, type="input_json_delta", partial_json=" " * 10)
    cited = piece(0, type="citations_delta", citation={})
    counts = (event({"type": "message_delta", "delta": {}, "usage": {f"n{n}": n}}) for n in range(30_000))
    pieces = opened(0, text("")) + opened(1, use("a")) + (words + arguments + cited) * 30_000
    found = gather(events(b"".join((START, pieces, *counts, END, STOP))))
    told, call = found["content"]
    assert (len(told["text"]), len(told["citations"]), call["input"]) == (300_000, 30_000, {})
    assert len(found["usage"]) > 30_000


# --- of any shape -------------------------------------------------------------------------------------------------

numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | numbers | st.text(max_size=8)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)
objects = st.dictionaries(st.text(max_size=5), values, max_size=3)
blocks = st.one_of(
    st.builds(lambda words, cited: text(words, citations=cited), st.text(), st.none() | st.lists(objects, max_size=3)),
    st.builds(lambda words, sign: {"type": "thinking", "thinking": words, "signature": sign}, st.text(), st.text()),
    st.builds(lambda words: {"type": "redacted_thinking", "data": words}, st.text()),
    st.builds(lambda given: {**use("a"), "input": given}, objects),
    st.builds(lambda given: {**use("a"), "input": given, "type": "server_tool_use"}, objects),
    st.builds(lambda told: {**told, "type": "new_block"}, objects),
)
unknown = st.dictionaries(st.sampled_from(["new", "container", "stop_details", "context_management"]), values)
messages = st.builds(lambda found, more: {**answer(), **more, "content": found}, st.lists(blocks, max_size=4), unknown)


@given(messages)
def test_any_message_comes_back_from_a_stream(message: dict[str, Any]) -> None:
    stream, again = both_ways(message)
    assert again == message
    told = MESSAGES.summarise(Framing.JSON, encode(message))
    assert MESSAGES.summarise(Framing.SSE, stream) == told


names = st.sampled_from(["type", "message", "content", "content_block", "delta", "index", "text", "input", "usage"])
kinds = st.sampled_from(["message_start", "content_block_start", "content_block_delta", "message_delta", "text_delta"])
odd = st.recursive(
    scalars | names | kinds | st.sampled_from([0, 1, {}, []]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)


@given(st.lists(odd, max_size=5), odd)
def test_nothing_is_raised_by_answers_of_any_shape(told: list[Any], whole: Any) -> None:
    stream = b"".join(sse.event(encode(found)) for found in told)
    for body in (stream, START + stream + STOP, START + opened(0, text("")) + stream + END + STOP):
        _read_all(Framing.SSE, body)
    _read_all(Framing.JSON, encode(whole))
    _read_all(Framing.JSON, encode({**answer(), **(whole if isinstance(whole, dict) else {"content": whole})}))


def _read_all(framing: Framing, body: bytes) -> None:
    if MESSAGES.summarise(framing, body).finished:
        MESSAGES.render(framing, body, STREAMED)
        MESSAGES.render(framing, body, WHOLE)


# --- recorded -----------------------------------------------------------------------------------------------------


def test_recorded_answers_are_the_same_in_the_other_framing(sdk: Sdk) -> None:
    seen = []
    for name, (_, framing, body) in recorded().items():
        if not MESSAGES.summarise(Framing(framing), body).finished:
            continue
        if framing == "json":
            stream, again = both_ways(json.loads(body))
            assert again == json.loads(body), name
            assert sdk.gathered(stream) == without_null(json.loads(body)), name
        else:
            found = json.loads(MESSAGES.render(Framing.SSE, body, WHOLE))
            assert sdk.gathered(body) == without_null(found), name
        seen.append(framing)
    assert (seen.count("json"), seen.count("sse")) == (90, 6)
