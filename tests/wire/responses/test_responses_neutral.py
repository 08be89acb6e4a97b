"""Answers in the words of no dialect: read whole and event by event, and written."""

import contextlib
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from responses_recorded import (
    CITATION,
    CUSTOM,
    LOGPROB,
    SEARCH,
    TELLABLE,
    WRITTEN,
    accumulated,
    call,
    exchanges,
    framing_of,
    message,
    payloads,
    reasoning,
    response,
    text,
    validated,
)
from responses_requests import asked, streamed
from responses_values import objects

from edgecache.core.entry import Framing
from edgecache.core.messages import Image, Part, Refusal, Text, Thinking, ToolUse
from edgecache.core.reply import Begin, Choice, Closing, Delta, Reply, TextDelta, ToolBegin, ToolDelta, Usage
from edgecache.wire import sse
from edgecache.wire.dialect import Request, Untellable
from edgecache.wire.responses import RESPONSES
from edgecache.wire.steps import Gatherer

WHOLE, STREAM = asked(), asked(stream=True)


def read(answer: dict[str, Any]) -> Reply:
    return RESPONSES.reply(Framing.JSON, json.dumps(answer).encode())


def deltas(stream: bytes) -> list[Delta]:
    reader = RESPONSES.reader()
    events = sse.EventSplitter(len(stream) + 1).feed(stream)
    return [delta for event in events for delta in reader.feed(event)]


def gathered(stream: bytes) -> Reply:
    gatherer = Gatherer()
    for delta in deltas(stream):
        gatherer.feed(delta)
    return gatherer.reply()


def reply(*parts: Part, finish: str = "stop", **more: Any) -> Reply:
    return Reply(id="chatcmpl-1", model="m-1", created=7, choices=(Choice(parts=parts, finish=finish),), **more)


# --- reading -------------------------------------------------------------------------------------------------------


def test_what_an_answer_says() -> None:
    [choice] = read(
        response(reasoning("Hm.", "So.", encrypted_content="gAAA"), message(text("Hi")), call(), call("fc_2", "{}"))
    ).choices
    assert choice.parts == (
        Thinking(text="Hm.\n\nSo.", data="gAAA"),
        Text(text="Hi"),
        ToolUse(id="call_fc_1", name="f", arguments='{"x":1}'),
        ToolUse(id="call_fc_2", name="f", arguments="{}"),
    )
    assert choice.finish == "tool_calls"


def test_who_answered_and_for_how_much() -> None:
    told = read(WRITTEN["text"])
    assert (told.id, told.model, told.created) == ("resp_1", "m-1", 7)
    assert told.usage == Usage(prompt=9, completion=5, cached=4, written=2, reasoning=3)


@pytest.mark.parametrize(
    ("answer", "finish"),
    [
        (WRITTEN["text"], "stop"),
        (WRITTEN["refusal"], "stop"),
        (WRITTEN["incomplete"], "length"),
        ({**WRITTEN["incomplete"], "incomplete_details": {"reason": "content_filter"}}, "content_filter"),
    ],
)
def test_how_it_ended(answer: dict[str, Any], finish: str) -> None:
    assert read(answer).choices[0].finish == finish
    assert gathered(streamed(answer)).choices[0].finish == finish


@pytest.mark.parametrize(
    "answer",
    [
        response(message(text("a", annotations=[CITATION]))),
        response(message(text("a", logprobs=[LOGPROB]))),
        response(message({"type": "output_audio", "data": "x"})),
        response(SEARCH, message(text("a"))),
        response(CUSTOM),
        response(call(namespace="n")),
        response({"type": "new"}),
    ],
)
def test_what_only_this_dialect_can_say(answer: dict[str, Any]) -> None:
    with pytest.raises(Untellable):
        read(answer)
    with pytest.raises(Untellable):
        gathered(streamed(answer))


@pytest.mark.parametrize("status", ["failed", "in_progress", "queued", "cancelled", None])
def test_what_did_not_end(status: Any) -> None:
    with pytest.raises(Untellable):
        read(response(message(text("a")), status=status))


@pytest.mark.parametrize("name", TELLABLE)
def test_a_stream_says_what_its_body_says(name: str) -> None:
    assert gathered(streamed(WRITTEN[name])) == read(WRITTEN[name])


def test_recorded_streams_say_what_their_bodies_say() -> None:
    count = 0
    for name, _, answer in exchanges():
        if framing_of(answer) is Framing.SSE:
            try:
                told = RESPONSES.reply(Framing.SSE, answer)
            except Untellable:
                continue
            assert shown(gathered(answer)) == shown(told), name
            count += 1
    assert count >= 5


def shown(answer: Reply) -> Reply:
    """What is sealed is sealed anew each time it is told."""
    [choice] = answer.choices
    parts = [msgspec.structs.replace(part, data="") if isinstance(part, Thinking) else part for part in choice.parts]
    return msgspec.structs.replace(answer, choices=(msgspec.structs.replace(choice, parts=tuple(parts)),))


def test_what_is_not_told_piece_by_piece_is_read_from_the_whole() -> None:
    """Some servers send no deltas, others nothing but the end."""
    answer = WRITTEN["calls"]
    stream = streamed(answer)
    events = sse.EventSplitter().feed(stream)
    for left_out in ((b".delta",), (b".delta", b".added"), (b"_item.", b"_part.", b"_text.", b"_arguments.")):
        some = [event for event in events if not any(word in event.split(b"\n")[0] for word in left_out)]
        assert len(some) < len(events)
        assert gathered(b"".join(some)) == read(answer)


@pytest.mark.parametrize(
    "event",
    [
        b'event: error\ndata: {"type":"error","code":"server_error","message":"m","param":null}\n\n',
        b'data: {"error":{"message":"m"}}\n\n',
        b'data: {"type":"response.failed","response":{"id":"r"}}\n\n',
        b"data: {\n\n",
        b"data: [1]\n\n",
        b'data: {"type":"response.output_text.delta","delta":5}\n\n',
        b'data: {"type":"response.function_call_arguments.delta","output_index":3,"delta":"{"}\n\n',
        b'data: {"type":"response.created","response":{"id":5}}\n\n',
    ],
)
def test_a_stream_that_breaks(event: bytes) -> None:
    with pytest.raises(Untellable):
        deltas(event)


def test_a_citation_that_is_told_only_with_the_whole() -> None:
    events = sse.EventSplitter().feed(streamed(WRITTEN["citation"]))
    with pytest.raises(Untellable, match="annotations"):
        gathered(b"".join(event for event in events if b"annotation.added" not in event))


def test_what_says_nothing_is_passed_over() -> None:
    assert deltas(b': ping\n\ndata: [DONE]\n\nevent: x\ndata: {}\n\ndata: {"type":"response.queued"}\n\n') == []


@settings(max_examples=50)
@given(event=st.dictionaries(st.sampled_from(["item", "response", "part", "delta", "output_index"]), objects),
       kind=st.sampled_from(["created", "completed", "output_item.added", "output_item.done", "output_text.delta",
                             "function_call_arguments.delta", "reasoning_summary_part.added"]))  # fmt: skip
def test_any_event_is_read_or_untellable(event: Any, kind: str) -> None:
    with contextlib.suppress(Untellable):
        deltas(sse.event(json.dumps({"type": f"response.{kind}", **event}).encode()))


@settings(max_examples=50)
@given(output=st.lists(objects, max_size=4) | objects)
def test_any_answer_is_read_or_untellable(output: Any) -> None:
    body = json.dumps(response(output=output)).encode()
    with contextlib.suppress(Untellable):
        RESPONSES.reply(Framing.JSON, body)


# --- writing -------------------------------------------------------------------------------------------------------


def told(answer: Reply, request: Request = WHOLE) -> dict[str, Any]:
    return validated(RESPONSES.tell(answer, request))


def test_an_answer_of_another_dialect() -> None:
    parts = (Thinking(text="Hm."), Text(text="Hi"), ToolUse(id="toolu_1", name="f", arguments="{}"))
    answer = told(reply(*parts, finish="tool_calls", usage=Usage(prompt=9, completion=5, cached=4)))
    kinds = [(item["type"], item["id"].split("_")[0]) for item in answer["output"]]
    assert kinds == [("reasoning", "rs"), ("message", "msg"), ("function_call", "fc")]
    assert answer["output"][2]["call_id"] == "toolu_1"
    assert (answer["id"][:5], answer["model"], answer["created_at"], answer["status"]) == (
        "resp_",
        "m-1",
        7,
        "completed",
    )
    assert answer["usage"]["input_tokens_details"]["cached_tokens"] == 4
    assert answer["usage"]["total_tokens"] == 14
    assert answer["store"] is False


def test_its_ids_are_its_own() -> None:
    first, again, other = (
        told(reply(Text(text="a"))),
        told(reply(Text(text="a"))),
        told(Reply(id="2", model="m", choices=reply().choices)),
    )
    assert first == again
    assert first["id"] != other["id"]
    assert told(Reply(id="resp_x", model="m", choices=reply(Text(text="a")).choices))["id"] == "resp_x"


@pytest.mark.parametrize(
    ("finish", "parts", "status", "reason"),
    [
        ("stop", (Text(text="a"),), "completed", None),
        ("tool_calls", (ToolUse(id="1", name="f", arguments="{}"),), "completed", None),
        ("length", (Text(text="a"),), "incomplete", "max_output_tokens"),
        ("content_filter", (Text(text="a"),), "incomplete", "content_filter"),
        ("refusal", (Text(text="a"),), "incomplete", "content_filter"),
        ("refusal", (Refusal(text="a"),), "completed", None),
        ("stop", (Refusal(text="a"),), "completed", None),
    ],
)
def test_how_it_ends(finish: str, parts: tuple[Part, ...], status: str, reason: str | None) -> None:
    answer = told(reply(*parts, finish=finish))
    assert answer["status"] == status
    assert answer["incomplete_details"] == (None if reason is None else {"reason": reason})
    stream = RESPONSES.tell(reply(*parts, finish=finish), STREAM)
    assert payloads(stream)[-1] == {
        "type": f"response.{status}", "response": answer, "sequence_number": len(payloads(stream)) - 1,
    }  # fmt: skip


def test_what_a_request_said_is_repeated() -> None:
    request = asked(
        instructions="Be brief.", temperature=0.5, max_output_tokens=9, metadata={"a": "b"}, user="u",
        tool_choice="none", tools=[{"type": "function", "name": "f"}], text={"verbosity": "low"},
        reasoning={"effort": "low"},
    )  # fmt: skip
    answer = told(reply(Text(text="a")), request)
    assert (answer["instructions"], answer["temperature"], answer["max_output_tokens"]) == ("Be brief.", 0.5, 9)
    assert (answer["metadata"], answer["user"], answer["tool_choice"]) == ({"a": "b"}, "u", "none")
    assert answer["tools"] == [{"parameters": None, "strict": True, "type": "function", "name": "f"}]
    assert answer["text"] == {"verbosity": "low", "format": {"type": "text"}}
    assert answer["reasoning"] == {"effort": "low"}


@settings(max_examples=50)
@given(fields=st.dictionaries(st.sampled_from(["instructions", "tools", "text", "metadata", "user", "top_p"]), objects))
def test_whatever_a_request_says_an_answer_can_be_told(fields: Any) -> None:
    assert b"resp_" in RESPONSES.tell(reply(Text(text="a")), asked(**fields))


@pytest.mark.parametrize("answer", [Reply(id="1", model="m", choices=()), reply(Image(url="https://x"))])
def test_what_this_dialect_cannot_say(answer: Reply) -> None:
    with pytest.raises(Untellable):
        RESPONSES.tell(answer, WHOLE)


def test_calls_told_at_once() -> None:
    """As a chat stream may tell them."""
    writer = RESPONSES.writer(STREAM)
    steps: list[Delta] = [
        Begin(id="1", model="m"), TextDelta(text="Wait."), ToolBegin(at=0, id="a", name="f"),
        ToolBegin(at=1, id="b", name="g"), ToolDelta(at=0, arguments='{"x"'), ToolDelta(at=1, arguments="{}"),
        ToolDelta(at=0, arguments=":1}"), ToolDelta(at=9, arguments="lost"), TextDelta(text="other", choice=1),
    ]  # fmt: skip
    stream = b"".join(map(writer.feed, steps))
    stream += b"".join(map(writer.feed, deltas(streamed(WRITTEN["text"]))[-2:]))
    [first, one, two] = accumulated(stream).output
    assert first.type == "message"
    assert one.type == two.type == "function_call"
    assert (one.call_id, one.arguments, two.call_id, two.arguments) == ("a", '{"x":1}', "b", "{}")


# --- there and back ------------------------------------------------------------------------------------------------

words = st.text(min_size=1, max_size=6)
thoughts = st.builds(Thinking, text=words, data=words) | st.builds(Thinking, text=st.just(""), data=words)
signed = st.builds(Thinking, text=words, signature=words)
says = st.builds(Text, text=words) | st.builds(Refusal, text=words) | thoughts | signed
uses = st.builds(ToolUse, id=words, name=words, arguments=words)
calls = st.lists(uses, max_size=3, unique_by=lambda use: use.id)


@st.composite
def replies(draw: st.DrawFn) -> Reply:
    """As steps tell them: texts that follow each other are one, and calls come last."""
    parts: list[Part] = []
    for part in draw(st.lists(says, max_size=5)):
        if isinstance(part, Thinking) or not parts or type(parts[-1]) is not type(part):
            parts.append(part)
    parts += draw(calls)
    incomplete = draw(st.sampled_from([None, "length", "content_filter"]))
    finish = incomplete or ("tool_calls" if any(isinstance(part, ToolUse) for part in parts) else "stop")
    usage = draw(st.none() | st.builds(Usage, prompt=st.integers(0, 9), cached=st.integers(0, 9)))
    return Reply(id=draw(words.map("resp_".__add__)), model="m", created=3, usage=usage,
                 choices=(Choice(parts=tuple(parts), finish=finish),))  # fmt: skip


@given(answer=replies())
def test_what_is_told_is_read_as_it_was(answer: Reply) -> None:
    body, stream = RESPONSES.tell(answer, WHOLE), RESPONSES.tell(answer, STREAM)
    validated(body)
    assert RESPONSES.reply(Framing.JSON, body) == answer
    assert RESPONSES.reply(Framing.SSE, stream) == answer
    assert gathered(stream) == answer
    if answer.choices[0].finish in ("stop", "tool_calls"):
        accumulated(stream)
    assert json.loads(RESPONSES.render(Framing.SSE, stream, WHOLE)) == json.loads(body)


@given(answer=replies())
def test_a_stream_is_told_as_its_steps(answer: Reply) -> None:
    """The writer of a stream on its way says what a whole one says."""
    stream = RESPONSES.tell(answer, STREAM)
    writer = RESPONSES.writer(STREAM)
    assert b"".join(map(writer.feed, deltas(stream))) == stream
    assert isinstance(deltas(stream)[-1], Closing)
