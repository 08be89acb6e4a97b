"""One message told as a stream of events, so that the SDK's accumulation gives the message again."""

from collections.abc import Iterator
from typing import Any

import msgspec

_TOLD_LAST = ("stop_reason", "stop_sequence", "stop_details", "container")
"""Fields of a message that stand in the delta of `message_delta`, and are null before."""
_BESIDE = ("context_management", "input_transformations")
"""Those that stand beside that delta."""
_TOTALS = (
    "input_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "output_tokens",
    "output_tokens_details",
    "server_tool_use",
    "iterations",
    "fallback_credit",
)
"""What of `usage` a `message_delta` may tell; the rest is told at the beginning only."""
_CALLS = ("tool_use", "server_tool_use", "mcp_tool_use")
"""Blocks whose input comes in pieces."""
_encode = msgspec.json.encode


def event(fields: dict[str, Any]) -> bytes:
    """One event, called by its type."""
    return b"event: %b\ndata: %b\n\n" % (fields["type"].encode(), _encode(fields))


def to_stream(message: dict[str, Any]) -> bytes:
    """Each block's text, thinking or input in one piece."""
    blocks = enumerate(message["content"])
    return b"".join((start(message), *(told for at, block in blocks for told in _block(at, block)), *_end(message)))


def start(message: dict[str, Any]) -> bytes:
    later = {name: None for name in (*_TOLD_LAST, *_BESIDE) if name in message}
    usage = message.get("usage")
    if isinstance(usage, dict) and "output_tokens" in usage:
        usage = {**usage, "output_tokens": 0}
    told = {**message, **later, "content": []}
    return event({"type": "message_start", "message": {**told, **({"usage": usage} if "usage" in message else {})}})


def _end(message: dict[str, Any]) -> tuple[bytes, bytes]:
    usage = message.get("usage")
    last = {name: message[name] for name in _TOLD_LAST if name in message}
    beside = {name: message[name] for name in _BESIDE if message.get(name) is not None}
    totals = {name: usage[name] for name in _TOTALS if usage.get(name) is not None} if isinstance(usage, dict) else {}
    fields = {"type": "message_delta", "delta": last, "usage": {"output_tokens": 0, **totals}, **beside}
    return event(fields), event({"type": "message_stop"})


# --- blocks -------------------------------------------------------------------------------------------------------


def _block(at: int, block: dict[str, Any]) -> Iterator[bytes]:
    pieces = tuple(_pieces(block))
    yield block_start(at, {**block, **{name: empty for name, empty, _ in pieces}})
    yield from (block_delta(at, delta) for _, _, delta in pieces)
    yield block_stop(at)


def block_start(at: int, block: dict[str, Any]) -> bytes:
    return event({"type": "content_block_start", "index": at, "content_block": block})


def block_delta(at: int, delta: dict[str, Any]) -> bytes:
    return event({"type": "content_block_delta", "index": at, "delta": delta})


def block_stop(at: int) -> bytes:
    return event({"type": "content_block_stop", "index": at})


def _pieces(block: dict[str, Any]) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """What comes after a block's start: the field's name, what it begins as, and the delta. What is of another type
    than the API's stays where it is.
    """
    kind = block["type"]
    if kind == "text":
        yield from _citations(block.get("citations"))
    for name in {"text": ("text",), "thinking": ("thinking", "signature")}.get(kind, ()):
        if isinstance(block.get(name), str):
            yield name, "", {"type": f"{name}_delta", name: block[name]}
    if kind in _CALLS and isinstance(block.get("input"), dict):
        yield "input", {}, {"type": "input_json_delta", "partial_json": _encode(block["input"]).decode()}


def _citations(citations: Any) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    for citation in citations if isinstance(citations, list) else ():
        yield "citations", [], {"type": "citations_delta", "citation": citation}
