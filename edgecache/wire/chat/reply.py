"""OpenAI chat answers: what a finished one says of itself, and one framing rendered from the other.

Schemas `CreateChatCompletionResponse` and `CreateChatCompletionStreamResponse` of the OpenAI API description. Fields
that are unknown here survive both ways.
"""

import re
from typing import Any

import msgspec

from edgecache.core.entry import Framing
from edgecache.core.reply import Usage
from edgecache.wire import sse
from edgecache.wire.chat.gather import MAX_NUMBERED, events, gather
from edgecache.wire.chat.neutral import to_usage
from edgecache.wire.dialect import UNREADABLE, Summary

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


def _word(finish: str | None) -> str:
    """Fit for a header, whatever a provider sent."""
    return str(finish) if finish is None or _WORD.fullmatch(finish) else "unknown"


def summarise(framing: Framing, body: bytes) -> Summary:
    """See `Dialect.summarise`. A stream takes some milliseconds for each 64 KiB."""
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
    return Summary(
        why_not_stored=failed or _why_not(choices, messages),
        finished=failed is None and bool(choices),
        tool_calls=any(message.get("tool_calls") or message.get("function_call") for message in messages),
        usage=to_usage(answer.get("usage")) or Usage(),
    )


def _why_not(choices: list[dict[str, Any]], messages: list[dict[str, Any]]) -> str | None:
    if not choices:
        return "no choices"
    if any(message.get("refusal") for message in messages):
        return "refusal"
    if any(message.get("audio") for message in messages):
        return "audio"
    bad = [finish for finish in map(_finish, choices) if finish not in STORABLE_FINISHES]
    if bad:
        return f"finish_reason {_word(bad[0])}"
    says = any(message.get(name) for message in messages for name in _SAYING)
    return None if says else "empty answer"


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


# --- what a client did not ask for --------------------------------------------------------------------------------


def without_usage(event: bytes) -> bytes:
    """The event for a client that did not ask for usage: empty for the one that only brings it."""
    if b'"usage"' not in event:
        return event
    fields = _fields(event)
    if "usage" not in fields:
        return event
    if bytes(fields["usage"]) != b"null":
        return b"" if b"".join(bytes(fields.get("choices", b"")).split()) == b"[]" else event
    del fields["usage"]
    return sse.with_data(event, _encode(fields))


def without_padding(event: bytes) -> bytes:
    """The event without what hides from onlookers how long the text of each chunk was."""
    if b'"obfuscation"' not in event:
        return event
    fields = _fields(event)
    return sse.with_data(event, _encode(fields)) if fields.pop("obfuscation", None) is not None else event


def _fields(event: bytes) -> dict[str, msgspec.Raw]:
    """Empty where the event is none of an answer."""
    try:
        return msgspec.json.decode(sse.data(event) or b"", type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}


def _replayed(body: bytes, *, include_usage: bool) -> bytes:
    """A whole stored stream, its events as they were."""
    if include_usage and b'"obfuscation"' not in body:
        return body
    told = map(without_padding, sse.events(body))
    return b"".join(told if include_usage else map(without_usage, told))


def render(framing: Framing, body: bytes, *, stream: bool, include_usage: bool) -> bytes:
    """A whole answer that came in `framing`, as this client wants it. The same framing keeps the provider's bytes, but
    for what the client did not ask for and padding.
    """
    if framing is Framing.JSON:
        return to_stream(body, include_usage=include_usage) if stream else body
    return _replayed(body, include_usage=include_usage) if stream else to_json(body)
