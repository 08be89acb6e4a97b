"""A Messages stream in the neutral steps of an answer, event by event."""

from collections.abc import Sequence
from typing import Any

import msgspec

from edgecache.core.messages import Text, Thinking, ToolUse
from edgecache.core.reply import Begin, Closing, Delta, Finish, TextDelta, ThinkingDelta, ToolBegin, ToolDelta
from edgecache.wire.dialect import Untellable
from edgecache.wire.messages.gather import read_event
from edgecache.wire.messages.reply import finish_of, sayable
from edgecache.wire.messages.usage import read_usage

_BROKEN = (msgspec.DecodeError, ValueError, TypeError, AttributeError, KeyError, RecursionError)
_IN_ORDER = frozenset(
    {
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    }
)


class _Call:
    """A call of a tool: its place among the calls, and its arguments as long as no piece of them has come."""

    def __init__(self, at: int, unsaid: str) -> None:
        self.at = at
        self.unsaid = unsaid


class Reader:
    """One stream. Kinds of events that are unknown here say nothing."""

    def __init__(self) -> None:
        self._usage: dict[str, Any] = {}
        self._calls: dict[int, _Call] = {}  # by the index of their block
        self._is_open = False

    def __repr__(self) -> str:
        return f"<Reader of Messages, {len(self._calls)} calls>"

    def feed(self, event: bytes) -> Sequence[Delta]:
        """
        Raises:
            Untellable: what came has no counterpart, or is broken.
        """
        try:
            said = read_event(event)
            return () if said is None else tuple(self._read(said))
        except _BROKEN as error:
            raise Untellable(f"not an event of a message: {error}") from None

    def _read(self, said: dict[str, Any]) -> Sequence[Delta]:
        kind = said.get("type")
        if kind == "error":
            raise Untellable("the provider told of an error")
        if kind in _IN_ORDER and self._is_open is (kind == "message_start"):
            raise Untellable(f"{kind} out of order")
        match kind:
            case "message_start":
                return self._begin(said["message"])
            case "content_block_start":
                return self._open(said["index"], said["content_block"])
            case "content_block_delta":
                return self._piece(said["index"], said["delta"])
            case "content_block_stop":
                return self._close(said["index"])
            case "message_delta":
                return self._finish(said)
            case "message_stop":
                self._is_open = False
                return (Closing(usage=read_usage(self._usage) if self._usage else None),)
        return ()

    def _begin(self, message: dict[str, Any]) -> Sequence[Delta]:
        self._is_open = True
        self._count(message.get("usage"))
        return (Begin(id=str(message["id"]), model=str(message["model"]), usage=read_usage(message.get("usage"))),)

    def _count(self, usage: Any) -> None:
        """Counts are totals so far; null takes none away."""
        if isinstance(usage, dict):
            self._usage.update({name: value for name, value in usage.items() if value is not None})

    def _open(self, index: int, block: Any) -> Sequence[Delta]:
        match sayable(block):
            case Text(text=text):
                return (TextDelta(text=text),) if text else ()
            case Thinking() as part:
                told = ThinkingDelta(text=part.text, signature=part.signature, data=part.data)
                return (told,) if part.text or part.signature or part.data else ()
            case ToolUse() as part:
                call = self._calls[index] = _Call(len(self._calls), part.arguments)
                return (ToolBegin(at=call.at, id=part.id, name=part.name),)
        raise AssertionError("sayable() returns nothing else")

    def _piece(self, index: int, delta: dict[str, Any]) -> Sequence[Delta]:
        match delta:
            case {"type": "text_delta", "text": str(text)}:
                return (TextDelta(text=text),) if text else ()
            case {"type": "thinking_delta", "thinking": str(text)}:
                return (ThinkingDelta(text=text),) if text else ()
            case {"type": "signature_delta", "signature": str(text)}:
                return (ThinkingDelta(signature=text),)
            case {"type": "input_json_delta", "partial_json": str(text)}:
                return self._arguments(self._calls[index], text)
        raise Untellable("a piece of content has no counterpart")

    def _arguments(self, call: _Call, text: str) -> Sequence[Delta]:
        if not text:
            return ()
        call.unsaid = ""
        return (ToolDelta(at=call.at, arguments=text),)

    def _close(self, index: int) -> Sequence[Delta]:
        """A call without arguments has an empty object of them, which elsewhere has to be said."""
        call = self._calls.get(index)
        return self._arguments(call, call.unsaid) if call else ()

    def _finish(self, said: dict[str, Any]) -> Sequence[Delta]:
        self._count(said.get("usage"))
        stop = said["delta"].get("stop_reason")
        if stop is None:
            return ()
        sequence = said["delta"].get("stop_sequence")
        return (Finish(finish=finish_of(stop), stop_sequence=sequence if isinstance(sequence, str) else None),)
