"""A Messages stream gathered into one message, as the SDK's own accumulation does. Time grows with its length."""

from collections.abc import Iterable
from typing import Any

import msgspec

from edgecache.wire import sse

_TEXTS = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}
"""Where a delta's piece of text stands, which is also where it grows."""
_ERROR = {"type": "error"}


def events(body: bytes) -> list[dict[str, Any]]:
    """What each event of a whole stream says, but for pings.

    Raises:
        ValueError, msgspec.DecodeError: an event is not made as the API's are.
    """
    found = []
    for event in sse.EventSplitter(max_event=len(body) + 1).feed(body):
        said = read_event(event)
        if said is not None:
            found.append(said)
    return found


def read_event(event: bytes) -> dict[str, Any] | None:
    """None for what says nothing. An event called `error` is one, whatever its data.

    Raises:
        ValueError, msgspec.DecodeError
    """
    name, payload = sse.name(event), sse.data(event)
    if name == b"error":
        return _ERROR
    if name == b"ping" or payload is None or payload == b"[DONE]":
        return None
    said = msgspec.json.decode(payload)
    if not isinstance(said, dict):
        raise ValueError("an event is no object")
    return said if said.get("type") != "ping" else None


def tells_error(told: Iterable[dict[str, Any]]) -> bool:
    return any(event.get("type") == "error" for event in told)


def gather(told: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """One message from what events say. Kinds of events that are unknown here say nothing, as the API promises.

    Raises:
        ValueError, TypeError, KeyError, AttributeError, msgspec.DecodeError: cut before its end, or not made as the
            API's streams are.
    """
    gathering = Gathering()
    for event in told:
        gathering.feed(event)
    return gathering.whole()


class Block:
    """A content block of which pieces come."""

    def __init__(self, start: dict[str, Any]) -> None:
        self._fields = dict(start)
        self._pieces: dict[str, list[str]] = {}
        self._citations: list[Any] = []

    def __repr__(self) -> str:
        return f"<Block {self._fields.get('type')}>"

    def feed(self, delta: dict[str, Any]) -> None:
        kind = delta["type"]
        if kind in _TEXTS:
            self._pieces.setdefault(_TEXTS[kind], []).append(delta[_TEXTS[kind]])
        elif kind == "signature_delta":
            self._fields["signature"] = delta["signature"]
        elif kind == "citations_delta":
            self._citations.append(delta["citation"])
        else:
            self._take(delta)

    def _take(self, delta: dict[str, Any]) -> None:
        """A delta that is unknown here: its texts grow, its other values are the newest."""
        for name, value in delta.items():
            if isinstance(value, str) and name != "type":
                self._pieces.setdefault(name, []).append(value)
            elif value is not None or name not in self._fields:
                self._fields[name] = value if name != "type" else self._fields.get(name)

    def whole(self) -> dict[str, Any]:
        pieces = {name: "".join(texts) for name, texts in self._pieces.items()}
        arguments = pieces.pop("partial_json", "").strip()
        grown: dict[str, Any] = {name: (self._fields.get(name) or "") + text for name, text in pieces.items()}
        if arguments:
            grown["input"] = msgspec.json.decode(arguments, type=dict[str, Any])
        if self._citations:
            grown["citations"] = [*(self._fields.get("citations") or ()), *self._citations]
        return {**self._fields, **grown}


class Gathering:
    """One message of which events come, in their order."""

    def __init__(self) -> None:
        self._message: dict[str, Any] | None = None
        self._blocks: list[Block] = []
        self._usage: dict[str, Any] = {}
        self._ended = False

    def __repr__(self) -> str:
        return f"<Gathering of {len(self._blocks)} blocks{', ended' if self._ended else ''}>"

    def feed(self, event: dict[str, Any]) -> None:
        if self._ended:
            raise ValueError("an event after the end")
        match event.get("type"):
            case "message_start":
                self._start(event["message"])
            case "content_block_start":
                self._open(event["index"], event["content_block"])
            case "content_block_delta":
                self._at(event["index"]).feed(event["delta"])
            case "message_delta":
                self._overlay(event)
            case "message_stop":
                self._ended = True

    def _start(self, message: dict[str, Any]) -> None:
        if self._message is not None or message.get("content"):
            raise ValueError("a second beginning, or one with content")
        self._message = dict(message)
        self._usage = dict(message.get("usage") or {})

    def _open(self, index: int, block: dict[str, Any]) -> None:
        if index != len(self._blocks):
            raise ValueError("blocks are not numbered in their order")
        self._blocks.append(Block(block))

    def _at(self, index: int) -> Block:
        if not 0 <= index < len(self._blocks):
            raise ValueError("a piece of no block")
        return self._blocks[index]

    def _overlay(self, event: dict[str, Any]) -> None:
        """Counts are totals so far, and each value counts until a newer one; null takes none away."""
        if self._message is None:
            raise ValueError("no beginning")
        beside = {name: value for name, value in event.items() if name not in ("type", "delta", "usage")}
        _update(self._message, {**beside, **(event.get("delta") or {})})
        _update(self._usage, event.get("usage") or {})

    def whole(self) -> dict[str, Any]:
        if self._message is None or not self._ended:
            raise ValueError("cut before its end")
        usage = {"usage": self._usage} if self._usage else {}
        return {**self._message, **usage, "content": [block.whole() for block in self._blocks]}


def _update(fields: dict[str, Any], newer: dict[str, Any]) -> None:
    fields.update({name: value for name, value in newer.items() if value is not None or name not in fields})
