"""A chat completion and the neutral reply it is."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from edgecache.core.messages import Part, Refusal, Text, Thinking, ToolUse
from edgecache.core.reply import Choice, Reply, Usage
from edgecache.wire.dialect import Untellable

REASONING = ("reasoning_content", "reasoning")
"""Names under which servers tell a model's reasoning, which OpenAI's own does not."""
_TOLD = frozenset({"role", "content", "refusal", "tool_calls", *REASONING, "reasoning_details"})
_FINISHES = {
    "stop": "stop", "tool_calls": "tool_calls", "function_call": "tool_calls", "length": "length",
    "content_filter": "content_filter",
}  # fmt: skip
"""What each means in the words of no dialect. Servers have others, for answers that failed: nobody else knows these."""


def to_reply(answer: Mapping[str, Any]) -> Reply:
    """
    Raises:
        Untellable: it says what others cannot, or is not made as the description says.
    """
    try:
        return Reply(
            id=_typed(answer.get("id") or "", str),
            model=_typed(answer.get("model") or "", str),
            created=_typed(answer.get("created") or 0, int),
            choices=tuple(_choice(choice, answer.get("id") or "") for choice in answer["choices"]),
            usage=to_usage(answer.get("usage")),
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise Untellable(f"not a chat completion: {error}") from None


def _typed(value: Any, kind: Any) -> Any:
    return msgspec.convert(value, kind, strict=True)


def _choice(choice: Mapping[str, Any], name: str) -> Choice:
    message = choice["message"]
    more = [name for name, value in message.items() if value and name not in _TOLD]
    if choice.get("logprobs") or more:
        raise Untellable(f"other dialects have no {more[0] if more else 'logprobs'}")
    return Choice(
        parts=tuple(_parts(message, name, choice.get("index") or 0)), finish=finish_of(choice["finish_reason"])
    )


def finish_of(told: Any) -> str:
    """Raises Untellable for one that only its server knows."""
    finish = _FINISHES.get(told) if isinstance(told, str) else None
    if finish is None:
        raise Untellable(f"other dialects have no finish reason {str(told)[:40]!r}")
    return finish


def _parts(message: Mapping[str, Any], name: str, choice: int) -> Iterator[Part]:
    thought = next((message[name] for name in REASONING if isinstance(message.get(name), str)), "")
    if thought:
        yield Thinking(text=thought)
    if message.get("content"):
        yield Text(text=_typed(message["content"], str))
    if message.get("refusal"):
        yield Refusal(text=_typed(message["refusal"], str))
    for at, call in enumerate(message.get("tool_calls") or ()):
        if call.get("type", "function") != "function":
            raise Untellable(f"other dialects have no tool calls of type {call['type']!r}")
        function = call["function"]
        yield ToolUse(
            id=call_id(_typed(call.get("id") or "", str), name, choice, at),
            name=_typed(function["name"], str),
            arguments=_typed(function["arguments"], str),
        )


def call_id(given: str, answer: str, choice: int, at: int) -> str:
    """The id of a tool's call; one of ours where its server gave none, the same each time."""
    return given or f"call_{answer}_{choice}_{at}"


def to_usage(told: Any) -> Usage | None:
    """None where nothing was told. Never raises: what is no number counts as 0."""
    if not isinstance(told, dict):
        return None
    prompt, completion = told.get("prompt_tokens_details"), told.get("completion_tokens_details")
    return Usage(
        prompt=_count(told, "prompt_tokens"),
        completion=_count(told, "completion_tokens"),
        cached=_count(prompt, "cached_tokens"),
        reasoning=_count(completion, "reasoning_tokens"),
    )


def _count(told: Any, name: str) -> int:
    value = told.get(name) if isinstance(told, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53 else 0


def from_usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.total,
        **({"prompt_tokens_details": {"cached_tokens": usage.cached}} if usage.cached else {}),
        **({"completion_tokens_details": {"reasoning_tokens": usage.reasoning}} if usage.reasoning else {}),
    }


def head(name: str, kind: str, created: int, model: str) -> dict[str, Any]:
    """What every chunk of one answer repeats."""
    return {"id": name, "object": kind, "created": created, "model": model}


def from_reply(reply: Reply) -> dict[str, Any]:
    """What a model told of its reasoning is left out, as OpenAI's own chat does."""
    choices = [_told(number, choice) for number, choice in enumerate(reply.choices)]
    answer = {**head(reply.id, "chat.completion", reply.created, reply.model), "choices": choices}
    return answer if reply.usage is None else {**answer, "usage": from_usage(reply.usage)}


def _told(number: int, choice: Choice) -> dict[str, Any]:
    texts = [part.text for part in choice.parts if isinstance(part, Text)]
    refusals = [part.text for part in choice.parts if isinstance(part, Refusal)]
    calls = [part for part in choice.parts if isinstance(part, ToolUse)]
    known = len(texts) + len(refusals) + len(calls) + sum(isinstance(part, Thinking) for part in choice.parts)
    if known < len(choice.parts):
        raise Untellable("OpenAI chat has no place for a part of the answer")
    message: dict[str, Any] = {
        "role": "assistant",
        "content": "".join(texts) if texts or not calls else None,
        "refusal": "".join(refusals) or None,
        "annotations": [],
    }
    if calls:
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in calls
        ]
    finish = "content_filter" if choice.finish == "refusal" else choice.finish
    return {"index": number, "message": message, "logprobs": None, "finish_reason": finish}
