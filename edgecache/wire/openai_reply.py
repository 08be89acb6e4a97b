"""OpenAI chat answers: what a finished one says of itself, and one framing rendered from the other.

Schemas `CreateChatCompletionResponse` and `CreateChatCompletionStreamResponse` of the OpenAI API description. Fields
that are unknown here survive both ways.
"""

import re
from typing import Any

import msgspec

from edgecache.core.entry import Framing
from edgecache.wire import sse
from edgecache.wire.openai_gather import MAX_NUMBERED, events, gather

STORABLE_FINISHES = frozenset({"stop", "tool_calls", "function_call"})
_WORD = re.compile(r"[a-z_]{1,40}")
_SAYING = (
    "content",
    "tool_calls",
    "function_call",
    "refusal",
    "reasoning",
    "reasoning_content",
    "reasoning_details",
    "audio",
    "images",
)
"""Fields of a message that are an answer, with one of them an answer is not empty. Reasoning has several names."""
_encode = msgspec.json.encode


class Summary(msgspec.Struct, frozen=True):
    """What decides whether an answer may be stored, and found by other words. Tokens are 0 where not told; `failed`
    says where the provider told of an error, `empty` that no choice says anything.
    """

    finishes: tuple[str | None, ...]
    tool_calls: bool
    refused: bool
    prompt_tokens: int = 0
    completion_tokens: int = 0
    failed: str | None = None
    empty: bool = False

    @property
    def why_not_stored(self) -> str | None:
        """None when the answer may be stored."""
        if not self.finishes:
            return "no choices"
        if self.failed:
            return self.failed
        if self.refused:
            return "refusal"
        bad = [finish for finish in self.finishes if finish not in STORABLE_FINISHES]
        if bad:
            return f"finish_reason {_word(bad[0])}"
        return "empty answer" if self.empty else None


def _word(finish: str | None) -> str:
    """Fit for a header, whatever a provider sent."""
    return str(finish) if finish is None or _WORD.fullmatch(finish) else "unknown"


UNREADABLE = Summary(finishes=(), tool_calls=False, refused=False)


def summarise(framing: Framing, body: bytes) -> Summary:
    """Read a whole answer; one that cannot be read, or was cut, has no finishes and so is not stored.

    A stream takes some milliseconds for each 64 KiB: callers run this in a thread above that.
    """
    try:
        if framing is Framing.JSON:
            answer = msgspec.json.decode(body)
            return _summary(answer, "error in the answer" if _is_error(answer) else None)
        told = events(body)
        return _summary(gather(told), "error in the stream" if any(map(_tells_error, told)) else None)
    except (msgspec.DecodeError, ValueError, TypeError, AttributeError, KeyError, RecursionError):
        return UNREADABLE


def _summary(answer: dict[str, Any], failed: str | None) -> Summary:
    choices = answer.get("choices") or []
    if len(choices) > MAX_NUMBERED:
        raise ValueError(f"more than {MAX_NUMBERED} choices")
    messages = [choice["message"] for choice in choices]
    usage = answer.get("usage") or {}
    return Summary(
        finishes=tuple(_finish(choice) for choice in choices),
        tool_calls=any(message.get("tool_calls") or message.get("function_call") for message in messages),
        refused=any(message.get("refusal") for message in messages),
        prompt_tokens=int(usage.get("prompt_tokens") or 0),
        completion_tokens=int(usage.get("completion_tokens") or 0),
        failed=failed,
        empty=not any(message.get(name) for message in messages for name in _SAYING),
    )


def _is_error(document: Any) -> bool:
    return isinstance(document, dict) and (document.get("error") is not None or document.get("object") == "error")


def _tells_error(event: bytes) -> bool:
    """Some providers name the event, others send an object; most events are neither, which costs one search."""
    if b"error" not in event:
        return False
    payload = sse.data(event)
    return sse.name(event) == b"error" or (payload is not None and _is_error(msgspec.json.decode(payload)))


def _finish(choice: dict[str, Any]) -> str | None:
    finish = choice.get("finish_reason")
    return finish if isinstance(finish, str) else None


# --- stream -> one body -------------------------------------------------------------------------------------------


def to_json(body: bytes) -> bytes:
    """A stored stream as one `chat.completion`."""
    return _encode(gather(events(body)))


# --- one body -> stream -------------------------------------------------------------------------------------------


def to_stream(body: bytes, *, include_usage: bool) -> bytes:
    """A stored `chat.completion` as a stream: a chunk with all of each message, one that ends it, usage if asked."""
    answer = msgspec.json.decode(body)
    choices, usage = answer.pop("choices"), answer.pop("usage", None)
    head = {**answer, "object": "chat.completion.chunk"}
    chunks = [{**head, "choices": [chunk]} for choice in choices for chunk in _choice_chunks(choice)]
    if include_usage and usage is not None:
        chunks = [{**chunk, "usage": None} for chunk in chunks] + [{**head, "choices": [], "usage": usage}]
    return b"".join(sse.event(_encode(chunk)) for chunk in chunks) + sse.DONE


def _choice_chunks(choice: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    delta = dict(choice["message"])
    calls = delta.get("tool_calls")
    if isinstance(calls, list):
        numbered = enumerate(calls)
        delta["tool_calls"] = [{**call, "index": at} if isinstance(call, dict) else call for at, call in numbered]
    rest = {name: value for name, value in choice.items() if name != "message"}
    # lists of a choice grow with each chunk, so they are told once
    last = {name: value for name, value in rest.items() if not isinstance(value, list)}
    last.update(delta={}, logprobs=None)
    return {**rest, "delta": delta, "finish_reason": None}, last


# --- usage on streams ---------------------------------------------------------------------------------------------


def without_usage(event: bytes) -> bytes:
    """The event for a client that did not ask for usage: empty for the one that only brings it."""
    if b'"usage"' not in event:
        return event
    try:
        fields = msgspec.json.decode(sse.data(event) or b"", type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return event
    if "usage" not in fields:
        return event
    if bytes(fields["usage"]) != b"null":
        return b"" if b"".join(bytes(fields.get("choices", b"")).split()) == b"[]" else event
    del fields["usage"]
    return sse.with_data(event, _encode(fields))


def stream_without_usage(body: bytes) -> bytes:
    """A whole stored stream for a client that did not ask for usage."""
    return b"".join(without_usage(event) for event in sse.EventSplitter(len(body) + 1).feed(body))


def render(framing: Framing, body: bytes, *, stream: bool, include_usage: bool) -> bytes:
    """A whole answer that came in `framing`, as this client wants it. The same framing keeps the provider's bytes."""
    if framing is Framing.JSON:
        return to_stream(body, include_usage=include_usage) if stream else body
    if not stream:
        return to_json(body)
    return body if include_usage else stream_without_usage(body)
