"""An answer written in this dialect from its neutral steps: a stream, and the response object at its end."""

from collections.abc import Iterator
from typing import Any

import msgspec

from edgecache.core.messages import Part, Refusal, Text, Thinking, ToolUse
from edgecache.core.reply import (
    Begin,
    Closing,
    Delta,
    Finish,
    Reply,
    TextDelta,
    ThinkingDelta,
    ToolBegin,
    ToolDelta,
    Usage,
)
from edgecache.wire.dialect import Request, Untellable
from edgecache.wire.responses.events import Numbered
from edgecache.wire.responses.opening import Ids, opening
from edgecache.wire.responses.outputs import Call, MessageItem, Reasoning

_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter", "refusal": "content_filter"}


class Writer:
    """Of one stream. `response` is what it has told so far. The client wants one answer, so others are not told."""

    def __init__(self, request: Request) -> None:
        self.response: dict[str, Any] = {}
        self._request = request
        self._event = Numbered()
        self._ids = Ids("")
        self._items = 0
        self._open: MessageItem | Reasoning | None = None
        self._calls: dict[int, Call] = {}
        self._done: dict[int, dict[str, Any]] = {}
        self._refused = False
        self._usage: Usage | None = None

    def __repr__(self) -> str:
        return f"<Writer: {self._items} items, {self._event}>"

    def feed(self, delta: Delta) -> bytes:
        """See `StreamWriter`."""
        if isinstance(delta, Begin):
            return self._begin(delta)
        if isinstance(delta, Closing):
            return self._close(delta.usage or self._usage)
        if delta.choice != 0:
            return b""
        if isinstance(delta, Finish):
            return self._finish(delta.finish)
        if isinstance(delta, TextDelta):
            return self._text(delta)
        if isinstance(delta, ThinkingDelta):
            return self._thought(delta)
        return self._call(delta)

    def _begin(self, delta: Begin) -> bytes:
        self._ids = Ids(delta.id)
        self._usage = delta.usage
        self.response = opening(self._request, self._ids.response, delta.model, delta.created)
        told = self._event("response.created", response=self.response)
        return told + self._event("response.in_progress", response=self.response)

    # --- items ----------------------------------------------------------------------------------------------------

    def _text(self, delta: TextDelta) -> bytes:
        if not delta.text:
            return b""
        self._refused = self._refused or delta.refusal
        told = b""
        if not isinstance(self._open, MessageItem):
            told = self._end_item()
            self._open = MessageItem(self._event, self._ids.item("msg_", self._items), self._next())
        return told + self._open.more(delta.text, refusal=delta.refusal)

    def _thought(self, delta: ThinkingDelta) -> bytes:
        """A signature, or what came sealed, ends a thought."""
        told = b""
        if not isinstance(self._open, Reasoning):
            told = self._end_item()
            self._open = Reasoning(self._event, self._ids.reasoning(self._items), self._next())
        told += self._open.more(delta)
        return told + self._end_item() if delta.signature or delta.data else told

    def _call(self, delta: ToolBegin | ToolDelta) -> bytes:
        """Calls may be told piece by piece at once: all end when the answer does."""
        if isinstance(delta, ToolDelta):
            return self._calls[delta.at].more(delta.arguments) if delta.at in self._calls else b""
        told = self._end_item()
        name, place = self._ids.item("fc_", self._items), self._next()
        self._calls[delta.at] = call = Call(self._event, name, place, delta.id, delta.name)
        return told + call.begin()

    def _next(self) -> int:
        self._items += 1
        return self._items - 1

    def _end_item(self, status: str = "completed") -> bytes:
        ended, self._open = self._open, None
        return b"" if ended is None else self._ended(ended, status)

    def _ended(self, item: MessageItem | Reasoning | Call, status: str) -> bytes:
        told, value = item.end(status)
        self._done[item.index] = value
        return told

    # --- ends -----------------------------------------------------------------------------------------------------

    def _finish(self, finish: str) -> bytes:
        """A model that refused in so many words has come to its end."""
        refused = finish == "refusal" and self._refused
        reason = None if refused else _INCOMPLETE.get(finish)
        status = "completed" if reason is None else "incomplete"
        told = [self._end_item(status), *(self._ended(call, status) for call in self._calls.values())]
        self._calls = {}
        details = None if reason is None else {"reason": reason}
        self.response = {**self.response, "status": status, "incomplete_details": details}
        return b"".join(told)

    def _close(self, usage: Usage | None) -> bytes:
        output = [self._done[index] for index in sorted(self._done)]
        self.response = {**self.response, "output": output, "usage": None if usage is None else _usage(usage)}
        return self._event(f"response.{self.response['status']}", response=self.response)


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt,
        "input_tokens_details": {"cached_tokens": usage.cached, "cache_write_tokens": usage.written},
        "output_tokens": usage.completion,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.total,
    }


# --- whole answers ------------------------------------------------------------------------------------------------


def tell(reply: Reply, request: Request) -> bytes:
    """See `Dialect.tell`."""
    if len(reply.choices) != 1:
        raise Untellable("a response is one answer")
    writer = Writer(request)
    told = [writer.feed(step) for step in _steps(reply)]
    return b"".join(told) if request.stream else msgspec.json.encode(writer.response)


def _steps(reply: Reply) -> Iterator[Delta]:
    yield Begin(id=reply.id, model=reply.model, created=reply.created)
    [choice] = reply.choices
    for at, part in enumerate(choice.parts):
        yield from _part(at, part)
    yield Finish(finish=choice.finish, stop_sequence=choice.stop_sequence)
    yield Closing(usage=reply.usage)


def _part(at: int, part: Part) -> Iterator[Delta]:
    if isinstance(part, Text | Refusal):
        yield TextDelta(text=part.text, refusal=isinstance(part, Refusal))
    elif isinstance(part, Thinking):
        yield ThinkingDelta(text=part.text, signature=part.signature, data=part.data)
    elif isinstance(part, ToolUse):
        yield ToolBegin(at=at, id=part.id, name=part.name)
        yield ToolDelta(at=at, arguments=part.arguments)
    else:
        raise Untellable(f"a response has no place for a part of type {part.__struct_config__.tag!r}")
