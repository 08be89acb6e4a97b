"""Completions that have come: what a finished one says of itself, and one framing rendered from the other. Fields that
are unknown here survive both ways.
"""

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from edgecache.core.entry import Framing
from edgecache.core.reply import Usage
from edgecache.wire import sse
from edgecache.wire.chat.neutral import to_usage
from edgecache.wire.chat.reply import without_padding, without_usage
from edgecache.wire.dialect import UNREADABLE, Summary

STORABLE_FINISHES = frozenset({"stop"})
MALFORMED = (msgspec.DecodeError, ValueError, TypeError, AttributeError, KeyError, RecursionError)
"""What reading raises of an answer that is not made as it should be."""
_WORD = re.compile(r"[a-z_]{1,40}")
_encode = msgspec.json.encode


class ToldChoice(msgspec.Struct, frozen=True):
    """What is read of one choice, whole or a piece."""

    text: str | None = None
    index: int = 0
    finish_reason: str | None = None
    logprobs: dict[str, Any] | None = None


class Told(msgspec.Struct, frozen=True):
    """What is read of an answer, or of one event of it. `failed` says that it is an error."""

    id: str | None = None
    model: str | None = None
    created: float | None = None
    choices: tuple[ToldChoice, ...] | None = None
    usage: Any = None
    error: Any = None
    object: str | None = None

    @property
    def failed(self) -> bool:
        return self.error is not None or self.object == "error"

    @property
    def made_at(self) -> int:
        """Unix time in whole seconds, 0 for what cannot be one."""
        return int(self.created) if self.created is not None and 0 <= self.created < 1 << 40 else 0


def summarise(framing: Framing, body: bytes) -> Summary:
    """See `Dialect.summarise`."""
    try:
        if framing is Framing.JSON:
            told = msgspec.json.decode(body, type=Told)
            return _summary(told, "error in the answer" if told.failed else None)
        events = whole_events(body)
        failed = "error in the stream" if any(map(tells_error, events)) else None
        return _summary(msgspec.convert(gather(events), Told), failed)
    except MALFORMED:
        return UNREADABLE


def _summary(told: Told, failed: str | None) -> Summary:
    usage = to_usage(told.usage) or Usage()
    return Summary(why_not_stored=failed or _why_not_stored(told), finished=failed is None, usage=usage)


def _why_not_stored(told: Told) -> str | None:
    if not told.choices:
        return "no choices"
    bad = [choice.finish_reason for choice in told.choices if choice.finish_reason not in STORABLE_FINISHES]
    if bad:
        return f"finish_reason {_word(bad[0])}"
    return None if any(choice.text for choice in told.choices) else "empty answer"


def _word(finish: str | None) -> str:
    """Fit for a header, whatever a provider sent."""
    return str(finish) if finish is None or _WORD.fullmatch(finish) else "unknown"


def tells_error(event: bytes) -> bool:
    """Most events do not, which costs one search."""
    if b"error" not in event:
        return False
    payload = sse.data(event)
    return sse.name(event) == b"error" or (payload is not None and msgspec.json.decode(payload, type=Told).failed)


# --- stream -> one body -------------------------------------------------------------------------------------------


def whole_events(body: bytes) -> list[bytes]:
    """The events of a whole stream up to its `[DONE]`; what follows that is read by nobody.

    Raises:
        ValueError: there is none: the stream was cut.
    """
    found: list[bytes] = []
    for event in sse.EventSplitter(max_event=len(body) + 1).feed(body):
        if is_done(event):
            return found
        found.append(event)
    raise ValueError("cut before its end")


def is_done(event: bytes) -> bool:
    return b"[DONE]" in event and sse.data(event) == b"[DONE]"


def gather(events: Iterable[bytes]) -> dict[str, Any]:
    """One answer from the events of a stream. Time grows with the stream's length, however it is numbered.

    Raises:
        one of MALFORMED
    """
    answer: dict[str, Any] = {}
    choices: dict[int, _Gathered] = {}
    for payload in filter(None, map(sse.data, events)):
        chunk = msgspec.json.decode(payload)
        for choice in chunk.pop("choices", None) or []:
            choices.setdefault(choice.get("index", 0), _Gathered()).add(choice)
        _overlay(answer, chunk)
    answer.pop("obfuscation", None)  # padding that hides how long each chunk is
    return {**answer, "choices": [choices[index].whole(index) for index in sorted(choices)]}


class _Gathered:
    """A choice that is told in pieces."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._rest: dict[str, Any] = {}

    def add(self, choice: dict[str, Any]) -> None:
        self._texts.append(choice.pop("text", None) or "")
        _overlay(self._rest, choice)

    def whole(self, index: int) -> dict[str, Any]:
        return {"logprobs": None, **self._rest, "text": "".join(self._texts), "index": index}


def _overlay(total: dict[str, Any], newer: dict[str, Any]) -> None:
    """Lists grow, objects merge; of all else the newest counts, unless it is null."""
    for name, value in newer.items():
        old = total.get(name)
        if isinstance(old, list) and isinstance(value, list):
            old.extend(value)
        elif isinstance(old, dict) and isinstance(value, dict):
            _overlay(old, value)
        elif value is not None or name not in total:
            total[name] = value


# --- one body -> stream -------------------------------------------------------------------------------------------


def to_stream(body: bytes, *, include_usage: bool) -> bytes:
    """For each choice an event with all of it and one that ends it, usage if asked."""
    answer = msgspec.json.decode(body)
    choices, usage = answer.pop("choices", None) or (), answer.pop("usage", None)
    chunks = [{**answer, "choices": [piece]} for at, choice in enumerate(choices) for piece in _pieces(at, choice)]
    if include_usage and usage is not None:
        chunks = [{**chunk, "usage": None} for chunk in chunks] + [{**answer, "choices": [], "usage": usage}]
    return b"".join(sse.event(_encode(chunk)) for chunk in chunks) + sse.DONE


def _pieces(at: int, choice: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Lists of a choice grow with each piece, so they are told once."""
    first = {"index": at, **choice}
    last = {name: value for name, value in first.items() if not isinstance(value, list)}
    return {**first, "finish_reason": None}, {**last, "text": "", "logprobs": None}


def render(framing: Framing, body: bytes, *, stream: bool, include_usage: bool) -> bytes:
    """See `Dialect.render`."""
    if framing is Framing.JSON:
        return to_stream(body, include_usage=include_usage) if stream else body
    if not stream:
        return _encode(gather(whole_events(body)))
    if include_usage and b'"obfuscation"' not in body:
        return body
    told = map(without_padding, sse.EventSplitter(len(body) + 1).feed(body))
    return b"".join(told if include_usage else map(without_usage, told))
