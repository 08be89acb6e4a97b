"""What decides whether an answer is stored: never one that was cut, and never an exception, whatever came."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded import DONE, REFUSAL, TEXT, TOOLS, TWO, WRITTEN, chunk, delta

from edgecache.core.entry import Framing
from edgecache.core.reply import Usage
from edgecache.wire import sse
from edgecache.wire.chat.gather import Numbered
from edgecache.wire.chat.reply import summarise, to_json, without_usage
from edgecache.wire.dialect import UNREADABLE, Summary


def finished(*finishes: Any, message: Any = None, **more: Any) -> bytes:
    choices = [{"message": message or {"content": "a"}, "finish_reason": finish} for finish in finishes]
    return json.dumps({"choices": choices, **more}).encode()


def said(event: bytes) -> bytes:
    """A whole answer with one more event in its middle."""
    return chunk(delta(content="a")) + event + chunk(delta(finish="stop")) + DONE


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (finished("stop"), None),
        (finished("stop", "tool_calls"), None),
        (finished("function_call"), None),
        (finished("stop", error=None), None),
        (finished("stop", "length"), "finish_reason length"),
        (finished("content_filter"), "finish_reason content_filter"),
        (finished(None), "finish_reason None"),
        (finished([]), "finish_reason None"),
        (finished({"a": 1}), "finish_reason None"),
        (finished("new\r\nSet-Cookie: x"), "finish_reason unknown"),
        (finished("stop", message={"refusal": "No."}), "refusal"),
        (finished("stop", error={"message": "x"}), "error in the answer"),
        (finished("stop", error="overloaded"), "error in the answer"),
        (finished("stop", object="error", code=500), "error in the answer"),
        (finished("stop", message={"role": "assistant", "content": ""}), "empty answer"),
        (finished("stop", message={"content": None, "tool_calls": [], "refusal": None}), "empty answer"),
        (finished("stop", message={"content": []}), "empty answer"),
        (finished("stop", "stop", message={"content": None}), "empty answer"),
        (finished("length", message={"content": ""}), "finish_reason length"),
        (finished("stop", message={"content": "", "reasoning_content": "Hm."}), None),
        (finished("stop", message={"content": None, "reasoning": "Hm."}), None),
        (finished("stop", message={"content": None, "images": [{"type": "image_url"}]}), None),
        (finished("tool_calls", message={"content": None, "tool_calls": [{"id": "a"}]}), None),
        (finished("function_call", message={"content": None, "function_call": {"name": "f"}}), None),
        (finished(*["stop"] * 1_024), None),
        (finished(*["stop"] * 1_025), UNREADABLE.why_not_stored),
        (finished(), "no choices"),
        (b'{"error":{"message":"x"}}', "error in the answer"),
        (b"[]", UNREADABLE.why_not_stored),
        (b"", UNREADABLE.why_not_stored),
        (b"<html>", UNREADABLE.why_not_stored),
        (finished("stop")[:-1], UNREADABLE.why_not_stored),
    ],
)
def test_why_an_answer_is_not_stored(body: bytes, why: str | None) -> None:
    assert summarise(Framing.JSON, body).why_not_stored == why


@pytest.mark.parametrize(
    ("stream", "why"),
    [
        (TEXT, None),
        (TOOLS, None),
        (TWO, None),
        (REFUSAL, "refusal"),
        (chunk(delta(content="a")) + DONE, "finish_reason None"),
        (chunk(delta(content="a", finish="length")) + DONE, "finish_reason length"),
        (chunk(delta(finish="stop"), delta(1)) + DONE, "finish_reason None"),
        (said(b'data: {"error":{"message":"overloaded"}}\n\n'), "error in the stream"),
        (said(b'data: {"error":"overloaded","choices":[]}\n\n'), "error in the stream"),
        (said(b'data: {"object":"error","message":"overloaded"}\n\n'), "error in the stream"),
        (said(b'event: error\ndata: {"message":"overloaded"}\n\n'), "error in the stream"),
        (said(b"event:error\r\ndata: {}\r\n\r\n"), "error in the stream"),
        (said(b"data: {}\nevent: error\n\n"), "error in the stream"),
        (said(b"event: error\n\n"), "error in the stream"),
        (said(b"event: error\ndata: overloaded\n\n"), UNREADABLE.why_not_stored),
        (said(b'event: error\nevent: message\ndata: {"x":1}\n\n'), None),
        (said(b': error\ndata: {"error":null,"object":"chat.completion.chunk"}\n\n'), None),
        (TEXT + b'event: error\ndata: {"error":{}}\n\n' + DONE, None),
        (chunk(delta(role="assistant", content="")) + chunk(delta(finish="stop")) + DONE, "empty answer"),
        (chunk(delta(finish="stop"), delta(1, "stop", content="a")) + DONE, None),
        (chunk(delta(finish="stop")), UNREADABLE.why_not_stored),
        (DONE, "no choices"),
        (DONE + chunk(delta(finish="stop")), "no choices"),
        (chunk(delta(finish="stop")) + b"data: {broken\n\n" + DONE, UNREADABLE.why_not_stored),
    ],
)
def test_why_a_stream_is_not_stored(stream: bytes, why: str | None) -> None:
    assert summarise(Framing.SSE, stream).why_not_stored == why


def numbered(count: int, times: int = 1) -> bytes:
    """A stream with one event that names `count` tool calls, the last first, some times over."""
    calls = [{"index": index, "id": f"c{index}"} for index in reversed(range(count))]
    return chunk(delta(tool_calls=calls)) * times + chunk(delta(finish="tool_calls")) + DONE


def test_more_numbered_items_than_anybody_needs_are_not_read() -> None:
    assert summarise(Framing.SSE, numbered(1_024)).why_not_stored is None
    assert summarise(Framing.SSE, numbered(1_025)) is UNREADABLE
    assert summarise(Framing.SSE, numbered(30_000)) is UNREADABLE


class Counted(int):
    """A number that counts how often it is compared."""

    compared = 0

    def __eq__(self, other: object) -> bool:
        Counted.compared += 1
        return int(self) == other

    __hash__ = int.__hash__


def test_finding_a_numbered_item_does_not_walk_over_the_others() -> None:
    items = Numbered()
    for _ in range(3):
        items.gather([{"index": Counted(index), "id": "x"} for index in range(1_000)])
    assert len(items) == 1_000
    assert Counted.compared < 50_000


def test_what_a_summary_says() -> None:
    assert summarise(Framing.SSE, TEXT) == Summary(why_not_stored=None, usage=Usage(prompt=3, completion=4))
    assert summarise(Framing.SSE, TOOLS).tool_calls
    assert summarise(Framing.JSON, finished("stop", message={"function_call": {"name": "f"}})).tool_calls
    assert summarise(Framing.SSE, b"data: x\n\n") == UNREADABLE


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("name", [name for name in WRITTEN if name != "refusal"])
def test_a_stream_cut_anywhere_is_never_stored(name: str, line_end: bytes) -> None:
    stream = WRITTEN[name].replace(b"\n", line_end)
    assert summarise(Framing.SSE, stream).why_not_stored is None
    for length in range(len(stream)):
        assert summarise(Framing.SSE, stream[:length]).why_not_stored is not None


@pytest.mark.parametrize("name", WRITTEN)
def test_a_body_cut_anywhere_is_never_stored(name: str) -> None:
    body = to_json(WRITTEN[name])
    for length in range(len(body)):
        assert summarise(Framing.JSON, body[:length]).why_not_stored is not None


known = st.sampled_from(["choices", "message", "delta", "finish_reason", "usage", "error", "index", "tool_calls",
                         "refusal", "prompt_tokens", "completion_tokens", "logprobs", "content"])  # fmt: skip
hostile = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(known, inner, max_size=4),
    max_leaves=12,
)


def summarise_safely(framing: Framing, body: bytes) -> None:
    why = summarise(framing, body).why_not_stored
    assert why is None or (why.isascii() and why.isprintable() and len(why) < 80)


@given(st.dictionaries(known, hostile, max_size=4) | hostile)
def test_hostile_answers_never_raise(answer: Any) -> None:
    summarise_safely(Framing.JSON, json.dumps(answer).encode())


@given(st.lists(st.dictionaries(known, hostile, max_size=4) | hostile, max_size=4))
def test_hostile_streams_never_raise(chunks: list[Any]) -> None:
    summarise_safely(Framing.SSE, b"".join(sse.event(json.dumps(one).encode()) for one in chunks) + DONE)


@given(st.binary(max_size=80))
def test_random_bytes_never_raise(body: bytes) -> None:
    summarise_safely(Framing.JSON, body)
    summarise_safely(Framing.SSE, body + DONE)
    without_usage(b'"usage"' + body)


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'{"choices":[', b'{"choices":[{"message":'])
def test_deep_answers_never_raise(opening: bytes) -> None:
    summarise_safely(Framing.JSON, opening * 50_000)
    summarise_safely(Framing.SSE, sse.event(opening * 50_000) + DONE)
    deep = chunk(delta(finish="stop", x=1)).replace(b'"x": 1', b'"x": ' + b'{"a":' * 900 + b"1" + b"}" * 900)
    summarise_safely(Framing.SSE, deep + deep + DONE)
