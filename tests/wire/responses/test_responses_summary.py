"""What a whole answer says of itself."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from responses_recorded import (
    CITATION,
    CUSTOM,
    REFUSAL,
    SEARCH,
    WRITTEN,
    call,
    exchanges,
    framing_of,
    message,
    reasoning,
    response,
    text,
)
from responses_requests import streamed
from responses_values import objects

from edgecache.core.entry import Framing
from edgecache.core.reply import Usage
from edgecache.wire import sse
from edgecache.wire.dialect import UNREADABLE, Summary
from edgecache.wire.responses import RESPONSES

SHELL = {"type": "shell_call", "id": "s", "call_id": "c", "action": {}, "status": "completed"}


def of(answer: Any) -> Summary:
    """Of the body, which must say what its stream says."""
    whole = RESPONSES.summarise(Framing.JSON, json.dumps(answer).encode())
    if isinstance(answer, dict) and answer.get("status") == "completed":
        assert RESPONSES.summarise(Framing.SSE, streamed(answer)) == whole
    return whole


@pytest.mark.parametrize(
    "answer",
    [
        WRITTEN["text"],
        response(message(text("a", annotations=[CITATION]))),
        response(reasoning("Hm."), message(text("a"))),
        response(call()),
        response(CUSTOM),
        response({**SHELL, "environment": {"type": "local"}}),
        WRITTEN["compaction"],
    ],
)
def test_storable(answer: dict[str, Any]) -> None:
    assert of(answer).why_not_stored is None
    assert of(answer).finished


@pytest.mark.parametrize(
    ("answer", "why", "finished"),
    [
        (WRITTEN["incomplete"], "status incomplete", True),
        (response(message(text("a")), status="failed"), "status failed", False),
        (response(status="queued"), "status queued", False),
        (response(message(text("a")), status=None), "status unknown", False),
        (response(message(text("a")), status="a b\r\n"), "status unknown", False),
        (response(message(text("a")), error={"code": "x", "message": "m"}), "error in the answer", False),
        (response(message(REFUSAL)), "refusal", True),
        (response(message(text("a"), REFUSAL)), "refusal", True),
        (response(SEARCH, message(text("a"))), "tool run by the provider: web_search_call", True),
        (response({"type": "new_call"}), "tool run by the provider: new_call", True),
        (
            response({**SHELL, "environment": {"type": "container_reference"}}),
            "tool run by the provider: shell_call",
            True,
        ),
        (response(message({"type": "output_audio", "data": ""})), "content output_audio", True),
        (response(message(text("a"), status="incomplete")), "item incomplete", True),
        (response(call(status="incomplete")), "item incomplete", True),
        (response(), "empty answer", True),
        (response(message(text(""))), "empty answer", True),
    ],
)
def test_not_storable(answer: dict[str, Any], why: str, finished: bool) -> None:
    assert (of(answer).why_not_stored, of(answer).finished) == (why, finished)


@pytest.mark.parametrize(
    ("output", "calls"), [(call(), True), (CUSTOM, True), (SHELL, True), (message(text("a")), False), (SEARCH, False)]
)
def test_calls_of_the_application_s_tools(output: Any, calls: bool) -> None:
    assert of(response(output)).tool_calls is calls


def test_tokens() -> None:
    assert of(WRITTEN["text"]).usage == Usage(prompt=9, completion=5, cached=4, written=2, reasoning=3)
    assert of(response(message(text("a")), usage=None)).usage == Usage()
    assert of(response(message(text("a")), usage={"input_tokens": "9", "output_tokens": -1})).usage == Usage()


# --- streams -------------------------------------------------------------------------------------------------------

STREAM = streamed(WRITTEN["calls"])


def stream_of(*before: bytes) -> Summary:
    return RESPONSES.summarise(Framing.SSE, b"".join((*before, STREAM)))


@pytest.mark.parametrize(
    ("event", "why", "finished"),
    [
        (b'event: error\ndata: {"type":"error","code":null,"message":"overloaded"}\n\n', "error in the stream", False),
        (b'data: {"type":"error","code":null,"message":"overloaded"}\n\n', "error in the stream", False),
        (b'data: {"error":{"message":"m"}}\n\n', "error in the stream", False),
        (b'data: {"type":"response.audio.delta","delta":"x"}\n\n', "audio", True),
        (b": ping\n\n", None, True),
        (b'event: keepalive\ndata: {"type":"keepalive"}\n\n', None, True),
    ],
)
def test_what_stands_in_a_stream(event: bytes, why: str | None, finished: bool) -> None:
    assert (stream_of(event).why_not_stored, stream_of(event).finished) == (why, finished)


def test_a_text_about_errors_is_no_error() -> None:
    assert of(response(message(text('{"error": "no", "type": "error"} response.completed')))).why_not_stored is None


def test_the_end_of_a_stream_is_its_end() -> None:
    """Of what follows nothing is read."""
    after = b'event: error\ndata: {"type":"error"}\n\n'
    assert RESPONSES.summarise(Framing.SSE, STREAM + sse.DONE + after) == RESPONSES.summarise(Framing.SSE, STREAM)


def test_a_stream_cut_anywhere_is_never_storable() -> None:
    bodies = [STREAM] + [
        answer for _, _, answer in exchanges() if framing_of(answer) is Framing.SSE and len(answer) < 6000
    ]
    assert len(bodies) > 2
    for body in bodies:
        end = max(body.rfind(b"event: response.completed"), body.rfind(b'data: {"type":"response.completed"'))
        places = [*range(0, end, 97), *range(end, len(body.split(b"[DONE]")[0].rstrip()))]
        for place in places:
            assert RESPONSES.summarise(Framing.SSE, body[:place]) == UNREADABLE, place


def test_recorded_answers() -> None:
    """Those that ended are storable, but for tools that the provider ran; some say `complete`, which none does now."""
    why = [(name, RESPONSES.summarise(framing_of(answer), answer).why_not_stored) for name, _, answer in exchanges()]
    reasons = {reason.partition(":")[0] for _, reason in why if reason}
    assert reasons == {"tool run by the provider", "status complete", "status queued"}
    assert sum(reason is None for _, reason in why) > 60


# --- whatever comes ------------------------------------------------------------------------------------------------


@settings(max_examples=50)
@given(
    output=st.lists(objects, max_size=4) | objects,
    more=st.dictionaries(st.sampled_from(["status", "usage", "error"]), objects),
)
def test_any_answer_is_summarised(output: Any, more: dict[str, Any]) -> None:
    why = of({**response(), "output": output, **more}).why_not_stored
    assert why is None or why.isprintable()


@given(body=st.binary(max_size=60) | st.sampled_from([b"[]", b"5", b'"x"', b"null", b'{"output":5}', b"data: 5\n\n"]))
def test_any_bytes_are_summarised(body: bytes) -> None:
    for framing in Framing:
        assert RESPONSES.summarise(framing, body).why_not_stored is not None
