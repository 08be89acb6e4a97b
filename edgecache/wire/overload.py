"""How a stream of events begins: with words that carry no content, then with content, or with the provider's word that
it cannot answer now. Read off the shapes of OpenAI (chat, completions, Responses) and Anthropic (Messages).
"""

from enum import StrEnum
from typing import Any, Final

import msgspec

from edgecache.wire import sse

MAX_OPENING: Final = 256 << 10
"""Bytes. `response.created` repeats instructions and tools of its request."""


class Sign(StrEnum):
    """What an event tells. OPENING: nothing of an answer yet. LIMITED: too much was asked for with this credential.
    OVERLOADED: the provider cannot answer now. CONTENT: anything else, other errors too.
    """

    OPENING = "opening"
    LIMITED = "limited"
    OVERLOADED = "overloaded"
    CONTENT = "content"


_NO_CONTENT: Final = frozenset({
    "ping", "message_start", "response.created", "response.in_progress", "response.queued"
})  # fmt: skip
_FAILED: Final = frozenset({"error", "response.failed"})

_SIGNS: Final = {
    **dict.fromkeys(
        ("rate_limit_error", "rate_limit_exceeded", "insufficient_quota", "too_many_requests", "429"), Sign.LIMITED
    ),
    **dict.fromkeys(("overloaded_error", "overloaded", "service_unavailable", "server_error"), Sign.OVERLOADED),
    **dict.fromkeys(("internal_server_error", "api_error", "timeout_error"), Sign.OVERLOADED),
    **dict.fromkeys(("500", "502", "503", "504", "529"), Sign.OVERLOADED),
}
"""By the `type` or `code` of an error; servers that speak OpenAI's dialect put the status there."""


class _Failed(msgspec.Struct):
    error: Any = None


class _Event(msgspec.Struct):
    """What of an event's data is looked at."""

    type: Any = None
    code: Any = None
    error: Any = None
    choices: Any = msgspec.UNSET
    response: _Failed | None = None


_decoder: Final = msgspec.json.Decoder(_Event)


def sign(event: bytes) -> Sign:
    """Of one event, or what was left of one when its stream ended."""
    payload = sse.data(event)
    if payload is None:
        return Sign.OPENING
    try:
        said = _decoder.decode(payload)
    except msgspec.MsgspecError:
        return Sign.CONTENT
    kind = said.type if isinstance(said.type, str) else sse.name(event).decode(errors="replace")
    nested = said.response.error if said.response is not None else None
    if said.error or kind in _FAILED or sse.name(event) == b"error":
        return _of_error(said.error or nested or said)
    if kind in _NO_CONTENT or (said.choices is not msgspec.UNSET and _are_empty(said.choices)):
        return Sign.OPENING
    return Sign.CONTENT


def _of_error(error: Any) -> Sign:
    if isinstance(error, _Event):
        words = [error.type, error.code]
    elif isinstance(error, dict):
        words = [error.get("code"), error.get("type")]
    else:
        words = [error]
    signs = [_SIGNS[str(word)] for word in words if str(word) in _SIGNS]
    return Sign.LIMITED if Sign.LIMITED in signs else signs[0] if signs else Sign.CONTENT


def _are_empty(choices: Any) -> bool:
    """Chunks that name no more than a role; Azure begins with one that has no choices."""
    return isinstance(choices, list) and all(isinstance(choice, dict) and _is_empty(choice) for choice in choices)


def _is_empty(choice: dict[str, Any]) -> bool:
    delta = choice.get("delta") or {}
    told = isinstance(delta, dict) and not any(value for name, value in delta.items() if name != "role")
    return told and not choice.get("finish_reason") and not choice.get("text")


class Opening:
    """Reads the beginning of one stream, wherever its chunks end."""

    def __init__(self, most: int = MAX_OPENING) -> None:
        self._splitter = sse.EventSplitter(most)
        self._left = most

    def __repr__(self) -> str:
        return f"<Opening: {self._left} bytes left>"

    def feed(self, chunk: bytes) -> Sign:
        """OPENING while nothing else came; CONTENT too where it has become longer than it may be."""
        self._left -= len(chunk)
        try:
            events = self._splitter.feed(chunk)
        except ValueError:
            return Sign.CONTENT
        found = next((told for told in map(sign, events) if told is not Sign.OPENING), Sign.OPENING)
        return Sign.CONTENT if found is Sign.OPENING and self._left < 0 else found

    def end(self) -> Sign:
        """The stream has ended: what follows the last whole event counts as one."""
        found = sign(self._splitter.rest)
        return Sign.CONTENT if found is Sign.OPENING else found
