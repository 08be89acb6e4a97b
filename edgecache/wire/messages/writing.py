"""The neutral steps of an answer as a Messages stream."""

from typing import Any

from edgecache.core.messages import Thinking
from edgecache.core.reply import Begin, Closing, Delta, Finish, TextDelta, ThinkingDelta, ToolBegin, ToolDelta
from edgecache.wire.messages.reply import head, stop_of, thinking_blocks
from edgecache.wire.messages.stream import block_delta, block_start, block_stop, event
from edgecache.wire.messages.usage import tell_usage


class Writer:
    """One stream. Only the first choice is told, as Messages have one. Thinking is held back until its signature
    comes, and left out without one: the API refuses such when a client sends it back.
    """

    def __init__(self) -> None:
        self._blocks = 0
        self._open: str | None = None
        self._calls: dict[int, int] = {}
        self._thought: list[str] = []
        self._finish = Finish(finish="stop")
        self._refused = False

    def __repr__(self) -> str:
        return f"<Writer of Messages, {self._blocks} blocks>"

    def feed(self, delta: Delta) -> bytes:
        """Whole events, maybe none."""
        if getattr(delta, "choice", 0):
            return b""
        match delta:
            case Begin():
                return event({"type": "message_start", "message": head(delta.id, delta.model, delta.usage)})
            case TextDelta():
                self._refused = self._refused or delta.refusal
                return self._text(delta.text)
            case ThinkingDelta():
                return self._thinking(delta)
            case ToolBegin():
                return self._call(delta)
            case ToolDelta():
                return self._arguments(delta)
            case Finish():
                self._finish = delta
                return self._close()
            case Closing():
                return self._end(delta)

    def _text(self, text: str) -> bytes:
        if not text:
            return b""
        opening = b"" if self._open == "text" else self._start({"type": "text", "text": ""})
        return opening + block_delta(self._blocks - 1, {"type": "text_delta", "text": text})

    def _thinking(self, delta: ThinkingDelta) -> bytes:
        self._thought.append(delta.text)
        if not delta.signature and not delta.data:
            return b""
        part = Thinking(text="".join(self._thought), signature=delta.signature, data=delta.data)
        return b"".join(self._whole(block) for block in thinking_blocks(part))

    def _whole(self, block: dict[str, Any]) -> bytes:
        if block["type"] != "thinking":
            return self._start(block) + self._close()
        opening = self._start({"type": "thinking", "thinking": "", "signature": ""})
        text = {"type": "thinking_delta", "thinking": block["thinking"]}
        signature = {"type": "signature_delta", "signature": block["signature"]}
        return opening + b"".join(block_delta(self._blocks - 1, piece) for piece in (text, signature)) + self._close()

    def _call(self, delta: ToolBegin) -> bytes:
        opening = self._start({"type": "tool_use", "id": delta.id, "name": delta.name, "input": {}})
        self._calls[delta.at] = self._blocks - 1
        return opening

    def _arguments(self, delta: ToolDelta) -> bytes:
        """Also of a call after which another has begun: clients find the block by its index."""
        if not delta.arguments or delta.at not in self._calls:
            return b""
        return block_delta(self._calls[delta.at], {"type": "input_json_delta", "partial_json": delta.arguments})

    def _start(self, block: dict[str, Any]) -> bytes:
        closing = self._close()
        self._thought.clear()
        self._open = block["type"]
        self._blocks += 1
        return closing + block_start(self._blocks - 1, block)

    def _close(self) -> bytes:
        if self._open is None:
            return b""
        self._open = None
        return block_stop(self._blocks - 1)

    def _end(self, closing: Closing) -> bytes:
        stop = stop_of(self._finish.finish, self._finish.stop_sequence, called=bool(self._calls))
        stop = "refusal" if self._refused and stop == "end_turn" else stop
        delta = {"stop_reason": stop, "stop_sequence": self._finish.stop_sequence}
        fields = {"type": "message_delta", "delta": delta, "usage": tell_usage(closing.usage)}
        return self._close() + event(fields) + event({"type": "message_stop"})
