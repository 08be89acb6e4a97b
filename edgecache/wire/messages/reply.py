"""Messages answers: what a finished one says of itself, and the way into and out of neutral words."""

import re
from typing import Any

import msgspec

from edgecache.core.entry import Framing
from edgecache.core.messages import Part, Refusal, Text, Thinking, ToolUse
from edgecache.core.reply import Choice, Reply, Usage
from edgecache.wire.dialect import UNREADABLE, Summary, Untellable
from edgecache.wire.messages.blocks import understood
from edgecache.wire.messages.gather import events, gather, tells_error
from edgecache.wire.messages.stream import to_stream
from edgecache.wire.messages.usage import read_usage, tell_usage

STORABLE_STOPS = frozenset({"end_turn", "stop_sequence", "tool_use"})
OWN = frozenset({"text", "thinking", "redacted_thinking", "tool_use"})
"""Blocks in which nothing but the model speaks."""
FINISHES = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "refusal",
}
_STOPS = {"tool_calls": "tool_use", "length": "max_tokens", "content_filter": "refusal", "refusal": "refusal"}
_WORD = re.compile(r"[a-z_]{1,40}")
_BROKEN = (msgspec.DecodeError, ValueError, TypeError, AttributeError, KeyError, IndexError, RecursionError)
"""What reading an answer that is not made as the API's raises."""


def summarise(framing: Framing, body: bytes) -> Summary:
    """Read a whole answer; UNREADABLE for one that cannot be read or was cut."""
    try:
        if framing is Framing.JSON:
            return _summary(msgspec.json.decode(body))
        told = events(body)
        if tells_error(told):
            return Summary(why_not_stored="error in the stream", finished=False)
        return _summary(gather(told))
    except _BROKEN:
        return UNREADABLE


def _summary(message: dict[str, Any]) -> Summary:
    if message.get("type") == "error":
        return Summary(why_not_stored="error in the answer", finished=False)
    content, stop = message["content"], message.get("stop_reason")
    if not isinstance(content, list) or not all(isinstance(block["type"], str) for block in content):
        return UNREADABLE
    return Summary(
        why_not_stored=_why_not_stored(content, stop),
        finished=isinstance(stop, str),
        tool_calls=any(block["type"] == "tool_use" for block in content),
        usage=read_usage(message.get("usage")) or Usage(),
    )


def _why_not_stored(content: list[dict[str, Any]], stop: Any) -> str | None:
    strange = next((block["type"] for block in content if block["type"] not in OWN), None)
    if strange is not None:
        of_tool = strange.endswith(("_tool_use", "_tool_result")) or strange == "container_upload"
        return "tool run by the provider" if of_tool else f"content of type {_word(strange)}"
    if any(_is_called_by_program(block) for block in content):
        return "tool run by the provider"
    if stop == "refusal":
        return "refusal"
    if not isinstance(stop, str) or stop not in STORABLE_STOPS:
        return f"stop_reason {_word(stop)}"
    return None if any(_says_something(block) for block in content) else "empty answer"


def _is_called_by_program(block: dict[str, Any]) -> bool:
    """Code that runs at the provider waits for the result of such a call."""
    caller = block.get("caller")
    return caller is not None and not (isinstance(caller, dict) and caller.get("type") == "direct")


def _says_something(block: dict[str, Any]) -> bool:
    return bool(block["type"] == "tool_use" or block.get("text") or block.get("thinking") or block.get("data"))


def _word(text: Any) -> str:
    """Fit for a header, whatever a provider sent."""
    return str(text) if text is None or (isinstance(text, str) and _WORD.fullmatch(text)) else "unknown"


def render(framing: Framing, body: bytes, *, stream: bool) -> bytes:
    """A finished answer as one message or one stream. The same framing keeps the provider's bytes.

    Raises:
        ValueError, TypeError, KeyError, AttributeError, msgspec.DecodeError: `summarise` does not call it finished.
    """
    if (framing is Framing.SSE) is stream:
        return body
    return to_stream(msgspec.json.decode(body)) if stream else msgspec.json.encode(gather(events(body)))


# --- into neutral words -------------------------------------------------------------------------------------------


def reply(framing: Framing, body: bytes) -> Reply:
    """
    Raises:
        Untellable
    """
    try:
        message = msgspec.json.decode(body) if framing is Framing.JSON else gather(_without_error(events(body)))
        return _reply(message)
    except _BROKEN as error:
        raise Untellable(f"not a message: {error}") from None


def _without_error(told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if tells_error(told):
        raise Untellable("the provider told of an error")
    return told


def _reply(message: dict[str, Any]) -> Reply:
    stop = message.get("stop_sequence")
    choice = Choice(
        parts=tuple(sayable(block) for block in message["content"]),
        finish=finish_of(message.get("stop_reason")),
        stop_sequence=stop if isinstance(stop, str) else None,
    )
    usage = read_usage(message.get("usage"))
    return Reply(id=_text(message["id"]), model=_text(message["model"]), choices=(choice,), usage=usage)


def sayable(block: Any) -> Text | Thinking | ToolUse:
    """
    Raises:
        Untellable: a block others do not have, such as a text with citations.
    """
    found = understood(block)
    if not isinstance(found, Text | Thinking | ToolUse):
        kind = block.get("type") if isinstance(block, dict) else None
        raise Untellable(f"content of type {_word(kind)} has no counterpart")
    return found


def finish_of(stop: Any) -> str:
    if not isinstance(stop, str) or stop not in FINISHES:
        raise Untellable(f"stop_reason {_word(stop)} has no counterpart")
    return FINISHES[stop]


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value


# --- out of neutral words -----------------------------------------------------------------------------------------


def tell(reply: Reply, *, stream: bool) -> bytes:
    """
    Raises:
        Untellable: several answers, or a call whose arguments are no JSON object.
    """
    if len(reply.choices) != 1:
        raise Untellable("Messages have one answer")
    choice = reply.choices[0]
    content = [block for part in choice.parts for block in _blocks(part)]
    called = any(isinstance(part, ToolUse) for part in choice.parts)
    refused = choice.finish == "stop" and not called and any(isinstance(part, Refusal) for part in choice.parts)
    message = {
        **head(reply.id, reply.model, reply.usage),
        "content": content,
        "stop_reason": "refusal" if refused else stop_of(choice.finish, choice.stop_sequence, called=called),
        "stop_sequence": choice.stop_sequence,
    }
    return to_stream(message) if stream else msgspec.json.encode(message)


def head(id: str, model: str, usage: Usage | None) -> dict[str, Any]:
    """A message of which nothing was said yet."""
    return {
        "id": id,
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": tell_usage(usage),
    }


def stop_of(finish: str, stop_sequence: str | None, *, called: bool) -> str:
    """A client runs tools when told `tool_use`; others say `stop` also of a call that they were made to make."""
    if finish == "stop":
        return "tool_use" if called else "stop_sequence" if stop_sequence is not None else "end_turn"
    return _STOPS[finish]


def _blocks(part: Part) -> tuple[dict[str, Any], ...]:
    match part:
        case Text() | Refusal():
            return ({"type": "text", "text": part.text},) if part.text else ()
        case Thinking():
            return thinking_blocks(part)
        case ToolUse():
            return ({"type": "tool_use", "id": part.id, "name": part.name, "input": arguments_of(part.arguments)},)
    raise Untellable(f"{type(part).__name__} has no counterpart in Messages")


def thinking_blocks(part: Thinking) -> tuple[dict[str, Any], ...]:
    """None for thinking that nobody signed: the API refuses it when a client sends it back."""
    signed = {"type": "thinking", "thinking": part.text, "signature": part.signature}
    sealed = {"type": "redacted_thinking", "data": part.data}
    return (*((signed,) if part.signature else ()), *((sealed,) if part.data else ()))


def arguments_of(text: str) -> dict[str, Any]:
    """
    Raises:
        Untellable: no JSON object. No text at all is an empty one.
    """
    try:
        return msgspec.json.decode(text, type=dict[str, Any]) if text.strip() else {}
    except (msgspec.DecodeError, RecursionError):
        raise Untellable("a tool call's arguments are no JSON object") from None
