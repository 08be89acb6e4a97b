"""Calls of tools as servers stream them: ids may be missing or repeated, and other dialects get each call once."""

import json
from typing import Any

import pytest

from edgecache.core.entry import Framing
from edgecache.core.messages import ToolUse
from edgecache.core.reply import ToolBegin, ToolDelta
from edgecache.wire import sse
from edgecache.wire.chat import CHAT
from edgecache.wire.dialect import Untellable
from edgecache.wire.steps import Gatherer


def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return sse.event(json.dumps({"id": "chatcmpl-1", "model": "m", "created": 7, "choices": [choice]}).encode())


def call(at: int, arguments: str, **more: Any) -> dict[str, Any]:
    return {"index": at, "function": {"arguments": arguments, **({"name": "f"} if not arguments else {})}, **more}


def stream(*ids: dict[str, Any]) -> list[bytes]:
    """One call in three pieces, each with what `ids` gives."""
    pieces = zip(("", '{"a":', "1}"), ids, strict=True)
    calls = [chunk({"tool_calls": [call(0, arguments, **more)]}) for arguments, more in pieces]
    return [*calls, chunk({}, "tool_calls"), sse.DONE]


@pytest.mark.parametrize(
    ("ids", "named"),
    [
        (({"id": "call_1"}, {}, {}), "call_1"),
        (({"id": "call_1"}, {"id": "call_1"}, {"id": "call_1"}), "call_1"),
        (({"id": "call_1"}, {"id": ""}, {"id": None}), "call_1"),
        (({}, {}, {}), "call_chatcmpl-1_0_0"),
        (({"id": ""}, {"id": ""}, {"id": ""}), "call_chatcmpl-1_0_0"),
    ],
)
def test_a_call_is_told_once_whatever_ids_its_pieces_have(ids: tuple[dict[str, Any], ...], named: str) -> None:
    reader, gatherer = CHAT.reader(), Gatherer()
    steps = [step for event in stream(*ids) for step in reader.feed(event)]
    assert [step.id for step in steps if isinstance(step, ToolBegin)] == [named]
    assert "".join(step.arguments for step in steps if isinstance(step, ToolDelta)) == '{"a":1}'
    for step in steps:
        gatherer.feed(step)
    use = ToolUse(id=named, name="f", arguments='{"a":1}')
    assert gatherer.reply().choices[0].parts == (use,)
    assert CHAT.reply(Framing.SSE, b"".join(stream(*ids))).choices[0].parts == (use,)


@pytest.mark.parametrize(
    "delta",
    [
        {"content": ["x"]},
        {"refusal": 7},
        {"tool_calls": [{"index": [1], "id": "a"}]},
        {"tool_calls": [{"index": 0, "id": 7}]},
        {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "arguments": {"a": 1}}}]},
        {"tool_calls": "x"},
    ],
)
def test_what_is_of_another_type_is_told_to_nobody(delta: dict[str, Any]) -> None:
    with pytest.raises(Untellable):
        CHAT.reader().feed(chunk(delta))


@pytest.mark.parametrize("finish", ["error", "insufficient_system_resource", "eos"])
def test_what_only_its_server_knows_is_told_to_nobody(finish: str) -> None:
    with pytest.raises(Untellable, match=finish):
        CHAT.reader().feed(chunk({}, finish))
