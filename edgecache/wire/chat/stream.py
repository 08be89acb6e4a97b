"""A chat stream, event by event: written from the neutral steps of an answer, and read into them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from edgecache.core.reply import (
    Begin,
    Closing,
    Delta,
    Finish,
    TextDelta,
    ThinkingDelta,
    ToolBegin,
    ToolDelta,
    Usage,
)
from edgecache.wire import sse
from edgecache.wire.chat.neutral import REASONING, call_id, finish_of, from_usage, head, to_usage
from edgecache.wire.dialect import Untellable


class Writer:
    """Usage comes with the last chunk; `without_usage` takes it from who did not ask."""

    def __init__(self) -> None:
        self._head: dict[str, Any] = {}
        self._begun: set[int] = set()
        self._usage: Usage | None = None

    def feed(self, delta: Delta) -> bytes:
        """See `StreamWriter`."""
        if isinstance(delta, Begin):
            self._head = head(delta.id, "chat.completion.chunk", delta.created, delta.model)
            self._usage = delta.usage
            return b""
        if isinstance(delta, Closing):
            usage = delta.usage or self._usage
            told = b"" if usage is None else _event({**self._head, "choices": [], "usage": from_usage(usage)})
            return told + sse.DONE
        return self._opening(delta.choice) + self._chunk(delta)

    def _opening(self, choice: int) -> bytes:
        if choice in self._begun:
            return b""
        self._begun.add(choice)
        return self._choice(choice, {"role": "assistant", "content": "", "refusal": None}, None)

    def _chunk(self, delta: Delta) -> bytes:
        if isinstance(delta, TextDelta):
            return self._choice(delta.choice, {"refusal" if delta.refusal else "content": delta.text}, None)
        if isinstance(delta, ToolBegin):
            function = {"name": delta.name, "arguments": ""}
            call = {"index": delta.at, "id": delta.id, "type": "function", "function": function}
            return self._choice(delta.choice, {"tool_calls": [call]}, None)
        if isinstance(delta, ToolDelta):
            call = {"index": delta.at, "function": {"arguments": delta.arguments}}
            return self._choice(delta.choice, {"tool_calls": [call]}, None)
        if isinstance(delta, Finish):
            return self._choice(delta.choice, {}, "content_filter" if delta.finish == "refusal" else delta.finish)
        return b""

    def _choice(self, number: int, delta: dict[str, Any], finish: str | None) -> bytes:
        choice = {"index": number, "delta": delta, "logprobs": None, "finish_reason": finish}
        return _event({**self._head, "choices": [choice], "usage": None})


def _event(fields: dict[str, Any]) -> bytes:
    return sse.event(msgspec.json.encode(fields))


class Reader:
    """Reads the chunks of one stream."""

    def __init__(self) -> None:
        self._id: str | None = None
        self._calls: set[tuple[int, int]] = set()
        self._usage: Usage | None = None

    def feed(self, event: bytes) -> Sequence[Delta]:
        """See `StreamReader`."""
        payload = sse.data(event)
        if payload is None:
            return ()
        if payload == b"[DONE]":
            return (Closing(usage=self._usage),)
        try:
            return tuple(self._steps(msgspec.json.decode(payload)))
        except (msgspec.DecodeError, KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
            raise Untellable(f"not a chunk of a chat completion: {error}") from None

    def _steps(self, chunk: Mapping[str, Any]) -> Iterator[Delta]:
        if chunk.get("error") is not None:
            raise Untellable("an error in the stream")
        self._usage = to_usage(chunk.get("usage")) or self._usage
        if self._id is None:
            self._id = _typed(chunk.get("id") or "", str)
            model = _typed(chunk.get("model") or "", str)
            yield Begin(id=self._id, model=model, created=_typed(chunk.get("created") or 0, int))
        for choice in chunk.get("choices") or ():
            number = _typed(choice.get("index") or 0, int)
            delta = choice.get("delta") or {}
            yield from _texts(delta, number)
            for call in delta.get("tool_calls") or ():
                yield from self._call(call, number)
            if choice.get("finish_reason"):
                yield Finish(finish=finish_of(choice["finish_reason"]), choice=number)

    def _call(self, call: Mapping[str, Any], choice: int) -> Iterator[Delta]:
        """It begins with its first piece: some servers give no id, others repeat it in each."""
        function, at = call.get("function") or {}, _typed(call.get("index") or 0, int)
        if (choice, at) not in self._calls:
            self._calls.add((choice, at))
            name = call_id(_typed(call.get("id") or "", str), self._id or "", choice, at)
            yield ToolBegin(at=at, id=name, name=_typed(function.get("name") or "", str), choice=choice)
        if function.get("arguments"):
            yield ToolDelta(at=at, arguments=_typed(function["arguments"], str), choice=choice)


def _typed(value: Any, kind: Any) -> Any:
    """Raises ValueError (msgspec's) for another type."""
    return msgspec.convert(value, kind, strict=True)


def _texts(delta: Mapping[str, Any], number: int) -> Iterator[Delta]:
    for name in REASONING:
        if isinstance(delta.get(name), str) and delta[name]:
            yield ThinkingDelta(text=delta[name], choice=number)
            break
    if delta.get("content"):
        yield TextDelta(text=_typed(delta["content"], str), choice=number)
    if delta.get("refusal"):
        yield TextDelta(text=_typed(delta["refusal"], str), choice=number, refusal=True)
