"""Answers into neutral words and out of them, whole and step by step."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import anthropic.types
import pytest
from hypothesis import given
from hypothesis import strategies as st
from message_examples import ANSWERS, Sdk, answer, ask, encode, read, recorded, text, use, without_null

from edgecache.core.entry import Framing
from edgecache.core.messages import Audio, Refusal, Text, Thinking, ToolUse
from edgecache.core.reply import (
    Begin,
    Choice,
    Closing,
    Delta,
    Finish,
    Reply,
    TextDelta,
    ThinkingDelta,
    ToolBegin,
    ToolDelta,
    Usage,
)
from edgecache.wire import sse
from edgecache.wire.dialect import StreamReader, Untellable
from edgecache.wire.messages import MESSAGES
from edgecache.wire.messages.stream import to_stream
from edgecache.wire.messages.usage import read_usage, tell_usage
from edgecache.wire.steps import Gatherer

STREAMED, WHOLE = read(ask(stream=True)), read(ask())
COUNTED = Usage(prompt=123, completion=40, cached=100, written=20, reasoning=30)


@pytest.fixture(scope="module")
def sdk() -> Iterator[Sdk]:
    found = Sdk()
    yield found
    found.client.close()


def said(*parts: Any, finish: str = "stop", **more: Any) -> Reply:
    choices = (Choice(parts=parts or (Text(text="Because."),), finish=finish, **more),)
    return Reply(id="msg_1", model="m-1", choices=choices, usage=COUNTED)


CALLS = (ToolUse(id="a", name="f", arguments='{"x":1.5,"y":{"z":[null]}}'), ToolUse(id="b", name="g", arguments="{}"))
REPLIES = {
    "text": said(),
    "two texts": said(Text(text="a"), Text(text="b \u2713")),
    "tools": said(Text(text="I look."), *CALLS, finish="tool_calls"),
    "direct call": said(ToolUse(id="a", name="f", arguments="{}"), finish="tool_calls"),
    "thinking": said(Thinking(text="Hm.", signature="s=="), Text(text="Yes.")),
    "thinking not shown": said(Thinking(signature="s=="), Text(text="Yes.")),
    "sealed": said(Thinking(data="xyz"), Text(text="Yes.")),
    "stop sequence": said(stop_sequence="END"),
    "refusal": said(finish="refusal"),
    "length": said(finish="length"),
}
UNTELLABLE = [name for name in ANSWERS if name not in REPLIES and name != "nothing"]


def read_stream(stream: bytes) -> list[Delta]:
    reader = MESSAGES.reader()
    return [delta for event in sse.EventSplitter().feed(stream) for delta in reader.feed(event)]


def gathered(deltas: list[Delta]) -> Reply:
    whole = Gatherer()
    for delta in deltas:
        whole.feed(delta)
    return whole.reply()


BEGUN = b'data: {"type":"message_start","message":{"id":"a","model":"m"}}\n\n'


def begun() -> StreamReader:
    reader = MESSAGES.reader()
    assert reader.feed(BEGUN) == (Begin(id="a", model="m"),)
    return reader


# --- reading ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REPLIES)
def test_read_whole(name: str) -> None:
    assert MESSAGES.reply(Framing.JSON, encode(ANSWERS[name])) == REPLIES[name]
    assert MESSAGES.reply(Framing.SSE, to_stream(ANSWERS[name])) == REPLIES[name]


@pytest.mark.parametrize("name", REPLIES)
def test_read_step_by_step(name: str) -> None:
    """Texts that follow each other are one, as steps do not tell where a part ends."""
    found = gathered(read_stream(to_stream(ANSWERS[name])))
    expected = REPLIES[name] if name != "two texts" else said(Text(text="ab \u2713"))
    assert found == expected


@pytest.mark.parametrize("name", UNTELLABLE)
def test_what_has_no_counterpart(name: str) -> None:
    with pytest.raises(Untellable):
        MESSAGES.reply(Framing.JSON, encode(ANSWERS[name]))
    with pytest.raises(Untellable):
        read_stream(to_stream(ANSWERS[name]))


@pytest.mark.parametrize("stop", [None, "pause_turn", "compaction", "new", 5, []])
def test_ends_without_counterpart(stop: Any) -> None:
    with pytest.raises(Untellable):
        MESSAGES.reply(Framing.JSON, encode(answer(stop=stop)))


def test_the_steps_of_a_stream() -> None:
    message = answer({"type": "thinking", "thinking": "a", "signature": "b"}, text("c"), use("d", e=1), use("f"))
    counted = Usage(prompt=123, cached=100, written=20, completion=0, reasoning=30)
    assert read_stream(to_stream({**message, "stop_reason": "tool_use"})) == [
        Begin(id="msg_1", model="m-1", usage=counted),
        ThinkingDelta(text="a"),
        ThinkingDelta(signature="b"),
        TextDelta(text="c"),
        ToolBegin(at=0, id="d", name="f"),
        ToolDelta(at=0, arguments='{"e":1}'),
        ToolBegin(at=1, id="f", name="f"),
        ToolDelta(at=1, arguments="{}"),
        Finish(finish="tool_calls"),
        Closing(usage=COUNTED),
    ]


def test_arguments_that_stand_in_the_beginning_of_a_call() -> None:
    reader = begun()
    start = {"type": "content_block_start", "index": 0, "content_block": use("a", x=1)}
    assert reader.feed(sse.event(encode(start))) == (ToolBegin(at=0, id="a", name="f"),)
    piece = {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": ""}}
    assert reader.feed(sse.event(encode(piece))) == ()
    stop = {"type": "content_block_stop", "index": 0}
    assert reader.feed(sse.event(encode(stop))) == (ToolDelta(at=0, arguments='{"x":1}'),)
    assert reader.feed(sse.event(encode(stop))) == ()


@pytest.mark.parametrize(
    "event",
    [
        b'event: error\ndata: {"type":"error"}\n\n',
        b"data: {\n\n",
        b"data: []\n\n",
        b'data: {"type":"message_start"}\n\n',
        b'data: {"type":"message_start","message":{"id":"a"}}\n\n',
        b'data: {"type":"content_block_delta","index":0,"delta":{"type":"citations_delta","citation":{}}}\n\n',
        b'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":5}}\n\n',
        b'data: {"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{"}}\n\n',
        b'data: {"type":"content_block_start","index":0,"content_block":null}\n\n',
        sse.event(encode({"type": "content_block_start", "index": {}, "content_block": use("a")})),
        BEGUN,
        b'data: {"type":"message_delta","delta":{"stop_reason":"new"}}\n\n',
    ],
)
def test_events_that_cannot_be_told(event: bytes) -> None:
    with pytest.raises(Untellable):
        begun().feed(event)


@pytest.mark.parametrize("event", sse.EventSplitter().feed(to_stream(answer()))[1:])
def test_events_out_of_order(event: bytes) -> None:
    with pytest.raises(Untellable):
        MESSAGES.reader().feed(event)
    ended = begun()
    ended.feed(b'data: {"type":"message_stop"}\n\n')
    with pytest.raises(Untellable):
        ended.feed(event)


def test_arguments_of_calls_that_come_in_turns() -> None:
    reader = begun()
    for at in (1, 2):
        reader.feed(sse.event(encode({"type": "content_block_start", "index": at, "content_block": use("a")})))
    for at, words in ((1, '{"x":'), (2, "{}"), (1, "1}")):
        delta = {"type": "input_json_delta", "partial_json": words}
        told = reader.feed(sse.event(encode({"type": "content_block_delta", "index": at, "delta": delta})))
        assert told == (ToolDelta(at=at - 1, arguments=words),)
    assert reader.feed(b'data: {"type":"content_block_stop","index":1}\n\n') == ()


def test_counts_are_totals_and_null_takes_none_away() -> None:
    start, *_, stop = sse.EventSplitter().feed(to_stream(answer()))
    usage = {"input_tokens": None, "output_tokens": 7}
    last = encode({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage})
    closing = read_stream(start + sse.event(last) + stop)[-1]
    assert closing == Closing(usage=Usage(prompt=123, completion=7, cached=100, written=20, reasoning=30))


def test_events_that_say_nothing() -> None:
    for event in (b": waiting\n\n", b'event: ping\ndata: {"type":"ping"}\n\n', b'data: {"type":"new"}\n\n'):
        assert MESSAGES.reader().feed(event) == ()


# --- telling ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REPLIES)
def test_tell_whole(name: str) -> None:
    found = json.loads(MESSAGES.tell(REPLIES[name], WHOLE))
    anthropic.types.Message.model_validate(found)
    assert MESSAGES.reply(Framing.JSON, encode(found)) == REPLIES[name]
    assert found["stop_reason"] == ANSWERS[name]["stop_reason"]


@pytest.mark.parametrize("name", REPLIES)
def test_tell_as_a_stream(name: str, sdk: Sdk) -> None:
    whole = json.loads(MESSAGES.tell(REPLIES[name], WHOLE))
    assert sdk.gathered(MESSAGES.tell(REPLIES[name], STREAMED)) == without_null(whole)


@pytest.mark.parametrize("name", REPLIES)
def test_tell_step_by_step(name: str, sdk: Sdk) -> None:
    stream = written(*read_stream(to_stream(ANSWERS[name])))
    found = sdk.gathered(stream)
    anthropic.types.Message.model_validate(found)
    assert gathered(read_stream(stream)) == gathered(read_stream(to_stream(ANSWERS[name])))
    assert MESSAGES.summarise(Framing.SSE, stream).finished


def written(*deltas: Delta) -> bytes:
    writer = MESSAGES.writer(STREAMED)
    return b"".join(map(writer.feed, deltas))


BEGIN, END = Begin(id="c", model="m"), (Finish(finish="stop"), Closing())


@pytest.mark.parametrize(
    ("parts", "finish", "blocks", "stop"),
    [
        ((Refusal(text="No."),), "stop", [text("No.")], "refusal"),
        ((Thinking(text="unsigned"), Text(text="a")), "stop", [text("a")], "end_turn"),
        ((Text(text=""),), "stop", [], "end_turn"),
        ((ToolUse(id="a", name="f", arguments=""),), "stop", [use("a")], "tool_use"),
        ((Text(text="a"),), "content_filter", [text("a")], "refusal"),
    ],
)
def test_what_other_dialects_say(parts: Any, finish: str, blocks: Any, stop: str) -> None:
    found = json.loads(MESSAGES.tell(said(*parts, finish=finish), WHOLE))
    assert (found["content"], found["stop_reason"]) == (blocks, stop)


@pytest.mark.parametrize("arguments", ["{", "[]", "5", '"x"', "[" * 100_000])
def test_arguments_that_are_no_object_cannot_be_told(arguments: str) -> None:
    with pytest.raises(Untellable):
        MESSAGES.tell(said(ToolUse(id="a", name="f", arguments=arguments)), WHOLE)


def test_what_messages_cannot_say() -> None:
    two = Reply(id="a", model="m", choices=(Choice(parts=(), finish="stop"),) * 2)
    for reply in (two, Reply(id="a", model="m", choices=()), said(Audio(format="wav", data=""))):
        with pytest.raises(Untellable):
            MESSAGES.tell(reply, WHOLE)


def test_steps_of_other_dialects(sdk: Sdk) -> None:
    """Reasoning that nobody signed is left out; a call's arguments may come after the next call has begun."""
    stream = written(
        BEGIN,
        ThinkingDelta(text="unsigned"),
        TextDelta(text="No", refusal=True),
        TextDelta(text="", choice=1),
        TextDelta(text="other", choice=1),
        TextDelta(text="."),
        ToolBegin(at=0, id="a", name="f"),
        ToolDelta(at=0, arguments='{"x":'),
        ToolBegin(at=1, id="b", name="g"),
        ToolDelta(at=1, arguments="{}"),
        ToolDelta(at=0, arguments="1}"),
        ToolDelta(at=7, arguments="lost"),
        Finish(finish="stop", choice=1),
        Finish(finish="tool_calls"),
        Closing(usage=Usage(prompt=5, completion=6)),
    )
    found = sdk.gathered(stream)
    assert found["content"] == [text("No."), use("a", x=1), use("b", "g")]
    assert (found["stop_reason"], found["usage"]["input_tokens"], found["usage"]["output_tokens"]) == ("tool_use", 5, 6)


def test_each_thought_has_its_own_signature(sdk: Sdk) -> None:
    """What nobody signed is no part of what is signed later."""
    thoughts = (
        ThinkingDelta(text="a"),
        ThinkingDelta(signature="1"),
        ThinkingDelta(text="b"),
        ThinkingDelta(signature="2"),
    )
    later = (ThinkingDelta(text="unsigned"), TextDelta(text="c"), ThinkingDelta(text="d"), ThinkingDelta(signature="3"))
    found = sdk.gathered(written(BEGIN, *thoughts, *later, *END))["content"]
    told = [(block.get("thinking"), block.get("signature")) for block in found]
    assert told == [("a", "1"), ("b", "2"), (None, None), ("d", "3")]


def test_text_is_told_as_it_comes() -> None:
    writer = MESSAGES.writer(STREAMED)
    assert b"message_start" in writer.feed(BEGIN)
    assert b'"text":"a"' in writer.feed(TextDelta(text="a"))
    assert b'"text":"b"' in writer.feed(TextDelta(text="b"))
    writer.feed(ToolBegin(at=0, id="i", name="f"))
    assert b'"partial_json":"{"' in writer.feed(ToolDelta(at=0, arguments="{"))


def test_an_answer_without_content_or_usage(sdk: Sdk) -> None:
    found = sdk.gathered(written(BEGIN, *END))
    assert (found["content"], found["stop_reason"], found["usage"]["output_tokens"]) == ([], "end_turn", 0)


# --- tokens -------------------------------------------------------------------------------------------------------

counts = st.integers(0, 1 << 40)


@given(counts, counts, counts, counts, counts)
def test_tokens_convert_both_ways(fresh: int, cached: int, written: int, completion: int, reasoning: int) -> None:
    usage = Usage(
        prompt=fresh + cached + written, cached=cached, written=written, completion=completion, reasoning=reasoning
    )
    told = tell_usage(usage)
    assert told["input_tokens"] == fresh
    assert read_usage(told) == usage


# --- any shape, and recorded --------------------------------------------------------------------------------------

names = st.sampled_from(["type", "message", "content_block", "delta", "text", "id", "model", "usage", "stop_reason"])
words = st.sampled_from(["message_start", "content_block_start", "content_block_delta", "message_delta", "text_delta"])
odd = st.recursive(
    st.none() | st.integers() | st.text(max_size=3) | words | st.just({}),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=4),
    max_leaves=10,
)


@given(st.lists(odd, max_size=4), odd)
def test_nothing_else_is_raised(told: list[Any], whole: Any) -> None:
    for body in (encode(whole), encode({**answer(), "content": whole}), encode({**answer(), "content": told})):
        for framing in Framing:
            with contextlib.suppress(Untellable):
                MESSAGES.reply(framing, body)
    reader, writer = MESSAGES.reader(), MESSAGES.writer(STREAMED)
    for event in told:
        with contextlib.suppress(Untellable):
            b"".join(map(writer.feed, reader.feed(sse.event(encode(event)))))


def test_recorded_answers_survive_neutral_words(sdk: Sdk) -> None:
    told = 0
    for name, (_, framing, body) in recorded().items():
        if MESSAGES.summarise(Framing(framing), body).why_not_stored is not None:
            continue
        found = MESSAGES.reply(Framing(framing), body)
        again = MESSAGES.tell(found, WHOLE)
        assert MESSAGES.reply(Framing.JSON, again) == found, name
        stream = body if framing == "sse" else to_stream(json.loads(body))
        steps = sdk.gathered(written(*read_stream(stream)))
        assert steps["content"] == without_null(json.loads(again)["content"]), name
        told += 1
    assert told == 81
