"""Completions in the words of no dialect, read and written. They say nothing but text."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from edgecache.core.entry import Framing
from edgecache.core.messages import Part, Text
from edgecache.core.reply import Begin, Choice, Closing, Delta, Finish, Reply, TextDelta, Usage
from edgecache.wire import sse
from edgecache.wire.chat.neutral import from_usage, head, to_usage
from edgecache.wire.completions.answer import MALFORMED, Told, ToldChoice, gather, is_done, to_stream, whole_events
from edgecache.wire.dialect import Request, Untellable

KIND = "text_completion"
_FINISHES = ("stop", "length", "content_filter")
_encode = msgspec.json.encode


# --- reading ------------------------------------------------------------------------------------------------------


def read_reply(framing: Framing, body: bytes) -> Reply:
    """See `Dialect.reply`."""
    try:
        whole = msgspec.json.decode(body) if framing is Framing.JSON else gather(whole_events(body))
        told = msgspec.convert(whole, Told)
    except MALFORMED:
        raise Untellable("no end, or unreadable") from None
    if told.failed:
        raise Untellable("an error")
    return Reply(
        id=told.id or "",
        model=told.model or "",
        choices=tuple(_choice(choice) for choice in told.choices or ()),
        created=told.made_at,
        usage=to_usage(told.usage),
    )


def _choice(choice: ToldChoice) -> Choice:
    finish = _finish(choice)
    if finish is None:
        raise Untellable("a choice without an end")
    return Choice(parts=(Text(text=choice.text),) if choice.text else (), finish=finish)


def _finish(choice: ToldChoice) -> str | None:
    if choice.logprobs is not None:
        raise Untellable("log probabilities")
    if choice.finish_reason not in (None, *_FINISHES):
        raise Untellable("an end of another kind")
    return choice.finish_reason


class Reader:
    """See `StreamReader`."""

    def __init__(self) -> None:
        self._begun = False
        self._usage: Usage | None = None

    def feed(self, event: bytes) -> Sequence[Delta]:
        if is_done(event):
            return (Closing(usage=self._usage),)
        payload = sse.data(event)
        if payload is None:
            return ()
        try:
            told = msgspec.json.decode(payload, type=Told)
        except MALFORMED:
            raise Untellable("an unreadable event") from None
        if told.failed or sse.name(event) == b"error":
            raise Untellable("an error")
        return tuple(self._deltas(told))

    def _deltas(self, told: Told) -> Iterator[Delta]:
        self._usage = to_usage(told.usage) or self._usage
        if not self._begun:
            self._begun = True
            yield Begin(id=told.id or "", model=told.model or "", created=told.made_at)
        for choice in told.choices or ():
            if choice.text:
                yield TextDelta(text=choice.text, choice=choice.index)
            finish = _finish(choice)
            if finish is not None:
                yield Finish(finish=finish, choice=choice.index)

    def __repr__(self) -> str:
        return f"<Reader {'begun' if self._begun else 'new'}>"


# --- writing ------------------------------------------------------------------------------------------------------


def tell(reply: Reply, request: Request) -> bytes:
    """See `Dialect.tell`."""
    choices = [
        _piece(at, "".join(map(_text, choice.parts)), _told_finish(choice.finish))
        for at, choice in enumerate(reply.choices)
    ]
    answer = {**head(reply.id, KIND, reply.created, reply.model), "choices": choices}
    body = _encode(answer if reply.usage is None else {**answer, "usage": from_usage(reply.usage)})
    return to_stream(body, include_usage=request.include_usage) if request.stream else body


class Writer:
    """Usage comes with the last event; `without_usage` takes it from who did not ask."""

    def __init__(self) -> None:
        self._head: dict[str, Any] = {}
        self._usage: Usage | None = None

    def feed(self, delta: Delta) -> bytes:
        """See `StreamWriter`. Raises Untellable for what is no text."""
        if isinstance(delta, Begin):
            self._head = head(delta.id, KIND, delta.created, delta.model)
            self._usage = delta.usage
            return b""
        if isinstance(delta, Closing):
            return self._closing(delta.usage or self._usage)
        if isinstance(delta, Finish):
            return self._chunk(_piece(delta.choice, "", _told_finish(delta.finish)))
        if not isinstance(delta, TextDelta) or delta.refusal:
            raise Untellable(f"a completion has no place for a {type(delta).__name__}")
        return self._chunk(_piece(delta.choice, delta.text, None))

    def _chunk(self, piece: dict[str, Any]) -> bytes:
        return sse.event(_encode({**self._head, "choices": [piece], "usage": None}))

    def _closing(self, usage: Usage | None) -> bytes:
        if usage is None:
            return sse.DONE
        return sse.event(_encode({**self._head, "choices": [], "usage": from_usage(usage)})) + sse.DONE

    def __repr__(self) -> str:
        return f"<Writer {self._head.get('id', 'new')}>"


def _piece(index: int, text: str, finish: str | None) -> dict[str, Any]:
    return {"text": text, "index": index, "logprobs": None, "finish_reason": finish}


def _text(part: Part) -> str:
    if not isinstance(part, Text):
        raise Untellable(f"a completion has no place for a {type(part).__name__}")
    return part.text


def _told_finish(finish: str) -> str:
    if finish not in _FINISHES:
        raise Untellable(f"an end by {finish}")
    return finish
