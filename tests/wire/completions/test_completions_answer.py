"""Completions that have come: stored or not, in one framing or the other, and in the words of no dialect."""

import json
from typing import Any

import pytest
from completion_examples import (
    DONE,
    LOGPROBS,
    STREAMS,
    TEXT,
    TWO,
    USAGE,
    Recorded,
    asked,
    chunk,
    logprobs,
    piece,
    recorded,
    whole,
)
from hypothesis import given
from hypothesis import strategies as st
from openai.types import Completion

from edgecache.core.entry import Framing
from edgecache.core.messages import Refusal, Text
from edgecache.core.reply import Begin, Choice, Closing, Delta, Finish, Reply, TextDelta, ToolBegin, Usage
from edgecache.errors import BadRequest
from edgecache.wire import sse
from edgecache.wire.completions import COMPLETIONS
from edgecache.wire.dialect import UNREADABLE, Untellable

STREAM, WHOLE = asked(stream=True, stream_options={"include_usage": True}), asked()
QUIET = asked(stream=True)


def gathered(body: bytes) -> dict[str, Any]:
    """The stream as one body, which the official SDK must be able to read."""
    answer = COMPLETIONS.render(Framing.SSE, body, WHOLE)
    Completion.model_validate_json(answer)
    found = json.loads(answer)
    assert isinstance(found, dict)
    return found


def streamed(body: bytes, request: Any = STREAM) -> list[dict[str, Any]]:
    """The events of a body as a stream, each read by the official SDK."""
    answer = COMPLETIONS.render(Framing.JSON, body, request)
    assert answer.endswith(DONE)
    payloads = [sse.data(event) for event in sse.EventSplitter().feed(answer)][:-1]
    for payload in payloads:
        Completion.model_construct(**json.loads(payload or b""))
    return [json.loads(payload or b"") for payload in payloads]


def why(body: bytes, framing: Framing = Framing.JSON) -> str | None:
    return COMPLETIONS.summarise(framing, body).why_not_stored


# --- what a finished one says of itself ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", STREAMS)
def test_whole_streams_are_stored(name: str) -> None:
    summary = COMPLETIONS.summarise(Framing.SSE, STREAMS[name])
    assert (summary.why_not_stored, summary.finished, summary.tool_calls) == (None, True, False)


def test_usage_is_read() -> None:
    assert COMPLETIONS.summarise(Framing.SSE, TEXT).usage == Usage(prompt=3, completion=4)
    assert COMPLETIONS.summarise(Framing.SSE, TWO).usage == Usage()
    told = {**USAGE, "prompt_tokens_details": {"cached_tokens": 2}}
    body = whole(piece("a", finish="stop"), usage=told)
    assert COMPLETIONS.summarise(Framing.JSON, body).usage == Usage(prompt=3, completion=4, cached=2)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (whole(piece("a", finish="stop")), None),
        (whole(piece("a", finish="stop"), piece("", 1, "stop")), None),
        (whole(piece("a", finish="length")), "finish_reason length"),
        (whole(piece("a", finish="stop"), piece("b", 1, "length")), "finish_reason length"),
        (whole(piece("a", finish="content_filter")), "finish_reason content_filter"),
        (whole(piece("a", finish="x\r\ny")), "finish_reason unknown"),
        (whole(piece("a")), "finish_reason None"),
        (whole(piece("", finish="stop")), "empty answer"),
        (whole(), "no choices"),
        (whole(piece("a", finish="stop"), error={"message": "m"}), "error in the answer"),
        (b'{"error":{"message":"m"}}', "error in the answer"),
        (b"[]", UNREADABLE.why_not_stored),
        (b"", UNREADABLE.why_not_stored),
        (b"[" * 100_000, UNREADABLE.why_not_stored),
    ],
)
def test_what_is_stored(body: bytes, reason: str | None) -> None:
    assert why(body) == reason


@pytest.mark.parametrize("event", [b'event: error\ndata: {"a":1}\n\n', b'data: {"error":{"message":"m"}}\n\n'])
def test_an_error_in_mid_stream(event: bytes) -> None:
    summary = COMPLETIONS.summarise(Framing.SSE, chunk(piece("a", finish="stop")) + event + DONE)
    assert (summary.why_not_stored, summary.finished) == ("error in the stream", False)


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_cut_at_any_byte_is_never_stored(name: str) -> None:
    body = STREAMS[name]
    for end in range(len(body)):
        cut = COMPLETIONS.summarise(Framing.SSE, body[:end])
        assert cut is UNREADABLE, f"cut at {end}"
        with pytest.raises(Untellable):
            COMPLETIONS.reply(Framing.SSE, body[:end])


# --- one framing from the other -----------------------------------------------------------------------------------


def test_a_stream_as_one_body() -> None:
    answer = gathered(TEXT)
    assert answer["choices"] == [piece("Hello \u2713", finish="stop")]
    assert (answer["usage"], answer["object"], answer["id"]) == (USAGE, "text_completion", "cmpl-1")


def test_choices_come_by_index() -> None:
    assert gathered(TWO)["choices"] == [piece("AB", finish="stop"), piece("xy", 1, "stop")]


def test_log_probabilities_grow() -> None:
    """Also of a token that is called as a field of ours is."""
    assert gathered(LOGPROBS)["choices"] == [piece("AB", finish="stop", logprobs=logprobs("A", "B"))]


def test_a_body_as_a_stream() -> None:
    choices = [piece("a", finish="stop", logprobs=logprobs("a")), piece("", 1, "length", token_ids=[1])]
    body = whole(*choices, usage=USAGE, system_fingerprint="f")
    events = streamed(body)
    assert [event["usage"] for event in events] == [None] * 4 + [USAGE]
    assert json.loads(COMPLETIONS.render(Framing.SSE, COMPLETIONS.render(Framing.JSON, body, STREAM), WHOLE)) == (
        json.loads(body)
    )
    assert all("usage" not in event for event in streamed(body, QUIET))


def test_the_same_framing_keeps_the_bytes() -> None:
    body = whole(piece("a", finish="stop"), usage=USAGE)
    assert COMPLETIONS.render(Framing.JSON, body, WHOLE) is body
    assert COMPLETIONS.render(Framing.SSE, TEXT, STREAM) is TEXT


def test_usage_is_hidden_from_who_did_not_ask() -> None:
    shown = COMPLETIONS.render(Framing.SSE, TEXT, QUIET)
    hide = COMPLETIONS.hider(QUIET)
    assert hide is not None and COMPLETIONS.hider(STREAM) is None
    assert shown == b"".join(map(hide, sse.EventSplitter().feed(TEXT)))
    assert b"usage" not in shown and shown.count(b"data:") == 4


def test_padding_is_not_replayed() -> None:
    body = chunk(piece("a", finish="stop"), obfuscation="xyz") + chunk(usage=USAGE, obfuscation="x") + DONE
    assert "obfuscation" not in gathered(body)
    assert COMPLETIONS.render(Framing.SSE, body, STREAM).count(b"data:") == 3
    for request in (STREAM, QUIET):
        assert b"obfuscation" not in COMPLETIONS.render(Framing.SSE, body, request)


def test_a_choice_without_a_number_gets_its_place() -> None:
    body = json.dumps({"choices": [{"text": "a", "finish_reason": "stop"}, {"text": "b", "finish_reason": "stop"}]})
    answer = COMPLETIONS.render(Framing.SSE, COMPLETIONS.render(Framing.JSON, body.encode(), QUIET), WHOLE)
    assert [choice["text"] for choice in json.loads(answer)["choices"]] == ["a", "b"]


# --- in the words of no dialect -----------------------------------------------------------------------------------

NEUTRAL = Reply(
    id="cmpl-1",
    model="m-1",
    created=7,
    choices=(
        Choice(parts=(Text(text="AB"),), finish="stop"),
        Choice(parts=(Text(text="xy"),), finish="stop"),
    ),
    usage=Usage(prompt=3, completion=4, cached=1, reasoning=2),
)


@pytest.mark.parametrize("request_", [WHOLE, STREAM], ids=["json", "sse"])
def test_a_reply_is_told_and_read(request_: Any) -> None:
    framing = Framing.SSE if request_.stream else Framing.JSON
    assert COMPLETIONS.reply(framing, COMPLETIONS.tell(NEUTRAL, request_)) == NEUTRAL


def test_no_dialect_has_log_probabilities() -> None:
    for framing, body in ((Framing.SSE, LOGPROBS), (Framing.JSON, COMPLETIONS.render(Framing.SSE, LOGPROBS, WHOLE))):
        with pytest.raises(Untellable):
            COMPLETIONS.reply(framing, body)


def test_a_completion_is_text() -> None:
    refusal = Reply(id="", model="", choices=(Choice(parts=(Refusal(text="no"),), finish="refusal"),))
    with pytest.raises(Untellable):
        COMPLETIONS.tell(refusal, WHOLE)
    for delta in (ToolBegin(at=0, id="", name=""), TextDelta(text="", refusal=True), Finish(finish="tool_calls")):
        with pytest.raises(Untellable):
            COMPLETIONS.writer(STREAM).feed(delta)


def read_steps(body: bytes) -> list[Delta]:
    reader = COMPLETIONS.reader()
    return [step for event in sse.EventSplitter().feed(body) for step in reader.feed(event)]


def test_a_stream_step_by_step() -> None:
    assert read_steps(b": ping\n\n" + TEXT) == [
        Begin(id="cmpl-1", model="m-1", created=7),
        TextDelta(text="Hel"),
        TextDelta(text="lo \u2713"),
        Finish(finish="stop"),
        Closing(usage=Usage(prompt=3, completion=4)),
    ]


def test_steps_are_written_as_they_were_read() -> None:
    for body in (TEXT, TWO):
        writer = COMPLETIONS.writer(STREAM)
        written = b"".join(map(writer.feed, read_steps(body)))
        assert read_steps(written) == read_steps(body)
        assert why(written, Framing.SSE) is None


@pytest.mark.parametrize(
    "event", [b"data: {\n\n", b"data: 5\n\n", b'data: {"error":1}\n\n', b"event: error\ndata: {}\n\n"]
)
def test_what_cannot_be_told(event: bytes) -> None:
    with pytest.raises(Untellable):
        COMPLETIONS.reader().feed(event)


def test_errors_are_told_as_openai_does() -> None:
    error = BadRequest("m", param="p")
    found = json.loads(COMPLETIONS.error(error))
    assert found["error"]["param"] == "p"
    assert json.loads(sse.data(COMPLETIONS.broken(error)) or b"") == found


# --- whatever comes -----------------------------------------------------------------------------------------------

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 1 << 70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=4,
)
CHOICES = st.fixed_dictionaries(
    {},
    optional={
        "text": VALUES | st.text(max_size=3), "index": VALUES | st.integers(0, 3), "logprobs": VALUES,
        "finish_reason": VALUES | st.just("stop"), "x": VALUES,
    },
)  # fmt: skip
ANSWERS = st.fixed_dictionaries(
    {"choices": st.lists(CHOICES | VALUES, max_size=3) | VALUES},
    optional={"id": VALUES, "created": VALUES, "model": VALUES, "usage": VALUES, "object": VALUES, "error": VALUES},
)


@given(st.lists(ANSWERS | VALUES, min_size=1, max_size=3))
def test_wrong_types_never_break_a_reader(answers: list[Any]) -> None:
    """What is said to have come to its end can be told in the other framing, and what is stored be told at all."""
    stream = b"".join(b"data: " + json.dumps(answer).encode() + b"\n\n" for answer in answers) + DONE
    for framing, body in ((Framing.JSON, json.dumps(answers[0]).encode()), (Framing.SSE, stream)):
        summary = COMPLETIONS.summarise(framing, body)
        if summary.finished:
            for request in (WHOLE, STREAM, QUIET):
                COMPLETIONS.render(framing, body, request)
        try:
            reply = COMPLETIONS.reply(framing, body)
        except Untellable:
            continue
        for request in (WHOLE, STREAM):
            COMPLETIONS.tell(reply, request)
    reader = COMPLETIONS.reader()
    for event in sse.EventSplitter().feed(stream):
        try:
            reader.feed(event)
        except Untellable:
            break


@pytest.mark.parametrize("exchange", recorded(), ids=repr)
def test_recorded_answers(exchange: Recorded) -> None:
    if exchange.status != 200:
        assert why(exchange.body) == "error in the answer"
        return
    summary = COMPLETIONS.summarise(exchange.framing, exchange.body)
    assert summary.finished
    assert (summary.usage.completion > 0) == (b"completion_tokens" in exchange.body)
    turned = Framing.JSON if exchange.framing is Framing.SSE else Framing.SSE
    other = COMPLETIONS.render(exchange.framing, exchange.body, WHOLE if exchange.framing is Framing.SSE else STREAM)
    again = COMPLETIONS.render(turned, other, STREAM if exchange.framing is Framing.SSE else WHOLE)
    assert COMPLETIONS.summarise(turned, other) == summary == COMPLETIONS.summarise(exchange.framing, again)
    answer = json.loads(other if turned is Framing.JSON else exchange.body)
    Completion.model_validate(answer)
    if all(choice["logprobs"] is None for choice in answer["choices"]):
        reply = COMPLETIONS.reply(exchange.framing, exchange.body)
        assert reply == COMPLETIONS.reply(turned, other)
        told = json.loads(COMPLETIONS.tell(reply, WHOLE))["choices"]
        assert [choice["text"] for choice in told] == [choice["text"] for choice in answer["choices"]]


def test_all_recorded_exchanges_were_read() -> None:
    found = recorded()
    print(f"{len(found)} recorded exchanges of /v1/completions read")
    assert len(found) >= 9
