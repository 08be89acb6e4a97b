"""OpenAI chat answers: what a finished one says of itself, and one framing rendered from the other.

Schemas `CreateChatCompletionResponse` and `CreateChatCompletionStreamResponse` of the OpenAI API description. Fields
that are unknown here survive both ways.
"""

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from edgecache.core.entry import Framing
from edgecache.wire import sse

STORABLE_FINISHES = frozenset({"stop", "tool_calls", "function_call"})
_WORD = re.compile(r"[a-z_]{1,40}")
_SAID_ONCE = ("index", "type", "role", "id")
_encode = msgspec.json.encode


class Summary(msgspec.Struct, frozen=True):
    """What decides whether an answer may be stored, and found by other words. Tokens are 0 where not told."""

    finishes: tuple[str | None, ...]
    tool_calls: bool
    refused: bool
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def why_not_stored(self) -> str | None:
        """None when the answer may be stored."""
        if not self.finishes:
            return "no choices"
        if self.refused:
            return "refusal"
        bad = [finish for finish in self.finishes if finish not in STORABLE_FINISHES]
        return f"finish_reason {_word(bad[0])}" if bad else None


def _word(finish: str | None) -> str:
    """Fit for a header, whatever a provider sent."""
    return str(finish) if finish is None or _WORD.fullmatch(finish) else "unknown"


UNREADABLE = Summary(finishes=(), tool_calls=False, refused=False)


def summarise(framing: Framing, body: bytes) -> Summary:
    """Read a whole answer; one that cannot be read, or was cut, has no finishes and so is not stored."""
    try:
        answer = msgspec.json.decode(body) if framing is Framing.JSON else _gather(_payloads(body))
        return _summary(answer)
    except (msgspec.DecodeError, ValueError, TypeError, AttributeError, KeyError, RecursionError):
        return UNREADABLE


def _summary(answer: dict[str, Any]) -> Summary:
    choices = answer.get("choices") or []
    messages = [choice["message"] for choice in choices]
    usage = answer.get("usage") or {}
    return Summary(
        finishes=() if answer.get("error") is not None else tuple(_finish(choice) for choice in choices),
        tool_calls=any(message.get("tool_calls") or message.get("function_call") for message in messages),
        refused=any(message.get("refusal") for message in messages),
        prompt_tokens=int(usage.get("prompt_tokens") or 0),
        completion_tokens=int(usage.get("completion_tokens") or 0),
    )


def _finish(choice: dict[str, Any]) -> str | None:
    finish = choice.get("finish_reason")
    return finish if isinstance(finish, str) else None


def _payloads(body: bytes) -> list[bytes]:
    """The data of a whole stream up to its `[DONE]`; what follows that is read by nobody."""
    splitter = sse.EventSplitter(max_event=len(body) + 1)
    payloads = [payload for payload in map(sse.data, splitter.feed(body)) if payload is not None]
    if b"[DONE]" not in payloads:
        raise ValueError("cut before its end")
    return payloads[: payloads.index(b"[DONE]")]


# --- stream -> one body -------------------------------------------------------------------------------------------


def to_json(body: bytes) -> bytes:
    """A stored stream as one `chat.completion`."""
    return _encode(_gather(_payloads(body)))


def _gather(payloads: Iterable[bytes]) -> dict[str, Any]:
    answer: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    for payload in payloads:
        chunk = msgspec.json.decode(payload)
        for choice in chunk.pop("choices", None) or []:
            _merge_choice(choices.setdefault(choice.get("index", 0), {"index": choice.get("index", 0)}), choice)
        answer.update({name: value for name, value in chunk.items() if value is not None or name not in answer})
    answer.pop("obfuscation", None)  # padding that hides how long each chunk is
    answer["object"] = "chat.completion"
    answer["choices"] = [_finished(choices[index]) for index in sorted(choices)]
    return answer


def _finished(choice: dict[str, Any]) -> dict[str, Any]:
    message = {"role": "assistant", "content": None, **(choice.pop("delta", None) or {})}
    for call in message.get("tool_calls") or []:
        call.pop("index", None)
    return {"index": choice.pop("index"), "message": message, "logprobs": None, **choice}


def _merge_choice(total: dict[str, Any], choice: dict[str, Any]) -> None:
    for name, value in choice.items():
        if name in ("delta", "logprobs") and isinstance(value, dict):
            old = total.get(name)
            total[name] = _merge(old if isinstance(old, dict) else {}, value)
        elif value is not None or name not in total:
            total[name] = value


def _merge(total: dict[str, Any], delta: dict[str, Any]) -> dict[str, Any]:
    """Strings grow, numbered lists merge by `index`, other lists grow, everything else is replaced. What is said once
    stays when a provider repeats it as null or empty.
    """
    for name, value in delta.items():
        old = total.get(name)
        if old is None:
            total[name] = _numbered([], value) if isinstance(value, list) else value
        elif name in _SAID_ONCE:
            total[name] = old if value in (None, "") else value
        elif isinstance(old, str) and isinstance(value, str):
            total[name] = old + value
        elif isinstance(old, list) and isinstance(value, list):
            total[name] = _numbered(old, value)
        elif isinstance(old, dict) and isinstance(value, dict):
            total[name] = _merge(old, value)
        elif value is not None:
            total[name] = value
    return total


def _numbered(total: list[Any], items: list[Any]) -> list[Any]:
    for item in items:
        number = item.get("index") if isinstance(item, dict) else None
        same = next((old for old in total if number is not None and old.get("index") == number), None)
        if same is None:
            total.append(item)
        else:
            _merge(same, item)
    return total


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
    last = {**rest, "delta": {}, "logprobs": None}
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
