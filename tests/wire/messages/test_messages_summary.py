"""What a finished answer says of itself: whether it may be stored, and its tokens."""

from typing import Any

import pytest
from message_examples import ANSWERS, answer, encode, recorded, text, use

from edgecache.core.entry import Framing
from edgecache.core.reply import Usage
from edgecache.wire.dialect import Summary
from edgecache.wire.messages import MESSAGES
from edgecache.wire.messages.stream import to_stream


def both(message: dict[str, Any]) -> Summary:
    """The same in either framing."""
    found = MESSAGES.summarise(Framing.JSON, encode(message))
    assert MESSAGES.summarise(Framing.SSE, to_stream(message)) == found
    return found


WHY = {
    "length": "stop_reason max_tokens",
    "refusal": "refusal",
    "searched": "tool run by the provider",
    "compacted": "content of type compaction",
    "nothing": "empty answer",
}


@pytest.mark.parametrize("name", ANSWERS)
def test_what_is_stored(name: str) -> None:
    found = both(ANSWERS[name])
    assert found.why_not_stored == WHY.get(name)
    assert found.finished
    assert found.tool_calls is (name in ("tools", "direct call"))
    assert found.usage == Usage(prompt=123, completion=40, cached=100, written=20, reasoning=30)


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (answer(stop="pause_turn"), "stop_reason pause_turn"),
        (answer(stop="model_context_window_exceeded"), "stop_reason model_context_window_exceeded"),
        (answer(stop="line\nfeed"), "stop_reason unknown"),
        (answer({"type": "mcp_tool_use", "id": "a"}), "tool run by the provider"),
        (answer({"type": "container_upload", "file_id": "a"}), "tool run by the provider"),
        (answer({"type": "line\nfeed"}), "content of type unknown"),
        (answer({**use("a"), "caller": {"type": "code_execution_20250825"}}), "tool run by the provider"),
        (answer({**use("a"), "caller": "code"}), "tool run by the provider"),
        (answer(text("")), "empty answer"),
        (answer({"type": "thinking", "thinking": "", "signature": "s"}, text("")), "empty answer"),
    ],
)
def test_what_is_not_stored(message: dict[str, Any], why: str) -> None:
    found = both(message)
    assert (found.why_not_stored, found.finished) == (why, True)


def test_no_reason_to_stop_is_no_end() -> None:
    found = both(answer(stop=None))
    assert (found.why_not_stored, found.finished) == ("stop_reason None", False)


def test_an_error_is_no_answer() -> None:
    body = encode({"type": "error", "error": {"type": "api_error", "message": "x"}})
    assert MESSAGES.summarise(Framing.JSON, body) == Summary(why_not_stored="error in the answer", finished=False)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"{}",
        encode({**answer(), "content": "text"}),
        encode({**answer(), "content": {"type": "text"}}),
        encode({**answer(), "content": [5]}),
        encode({**answer(), "content": [{"text": "a"}]}),
        encode({**answer(), "content": [{"type": ["text"]}]}),
        b'{"content":' + b"[" * 100_000,
    ],
)
def test_what_is_unreadable(body: bytes) -> None:
    found = MESSAGES.summarise(Framing.JSON, body)
    assert (found.why_not_stored, found.finished) == ("no end, or unreadable", False)


@pytest.mark.parametrize("usage", [None, "x", {"input_tokens": "3"}, {"output_tokens": True}, {"input_tokens": -3}])
def test_counts_of_another_type_are_none(usage: Any) -> None:
    assert MESSAGES.summarise(Framing.JSON, encode({**answer(), "usage": usage})).usage == Usage()


def test_recorded_answers() -> None:
    reasons = [MESSAGES.summarise(Framing(framing), body).why_not_stored for _, framing, body in recorded().values()]
    assert set(reasons) == {None, "tool run by the provider", "error in the answer"}
    assert (reasons.count(None), reasons.count("tool run by the provider")) == (81, 15)
