"""Requests and answers between a client and an upstream that speak different dialects."""

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial

import msgspec

from edgecache.core.entry import Framing
from edgecache.core.ports import Form, UpstreamReply
from edgecache.core.reply import Begin, Closing, Delta, Finish
from edgecache.errors import RequestError, Untranslatable, UpstreamBroken
from edgecache.flow.heads import AT_ONCE, Head
from edgecache.wire import sse
from edgecache.wire.bodies import with_fields
from edgecache.wire.dialect import UNTELLABLE, Dialect, Request, Untellable
from edgecache.wire.dialects import BY_NAME, place
from edgecache.wire.told_errors import told_error

_HEADERS = {"anthropic.messages": (("anthropic-version", "2023-06-01"),)}
"""What a provider that speaks this dialect wants to be told beside the body."""
_OF_THE_FRAMING = ("content-type", "content-length", "content-encoding")


def forms(request: Request, path: str, body: bytes) -> Callable[[str, str], Form]:
    """What makes of a request, that is sent as `body` to `path`, one of another dialect or name of its model."""
    own = BY_NAME[request.dialect]

    def form(dialect: str, model: str) -> Form:
        if dialect in ("", own.name):
            return Form(path, named(body, model) if model else body)
        other = BY_NAME.get(dialect)
        if other is None or request.conversation is None:
            raise Untranslatable(f"This request cannot be said in {dialect}: it holds what only {own.name} has.")
        written = other.write_request(request.conversation, model or request.model, stream=request.stream)
        return Form(place(path, own) + other.suffix, written, _HEADERS.get(dialect, ()))

    return form


def named(body: bytes, model: str) -> bytes:
    """The same request of another model. Raises Untranslatable."""
    try:
        return with_fields(body, {"model": model})
    except msgspec.DecodeError:
        raise Untranslatable("The body is no JSON object, so that its model cannot be named otherwise.") from None


class Original:
    """What an upstream said in its own dialect, as far as `most` bytes: whether it may be stored is asked of that, for
    what is cut or broken there may look whole when it is told in other words.
    """

    def __init__(self, other: Dialect, framing: Framing, most: int) -> None:
        self._other = other
        self._framing = framing
        self._most = most
        self._said = bytearray()

    def feed(self, piece: bytes) -> None:
        if len(self._said) <= self._most:
            self._said += piece

    async def why_not_stored(self) -> str | None:
        if len(self._said) > self._most:
            return "too large"
        said = bytes(self._said)
        aside = asyncio.to_thread(self._other.summarise, self._framing, said) if len(said) > AT_ONCE else None
        summary = await aside if aside is not None else self._other.summarise(self._framing, said)
        return summary.why_not_stored

    def __repr__(self) -> str:
        return f"<Original of {self._other.name}: {len(self._said)} bytes>"


def translated(
    reply: UpstreamReply, head: Head, other: Dialect, request: Request, original: Original, now: int
) -> tuple[Head, AsyncIterator[bytes]]:
    """The answer of an upstream that speaks `other`, as the client reads it: event by event where both are streams.
    `now`, Unix time in seconds, is when it was made, where `other` does not tell.
    """
    own = BY_NAME[request.dialect]
    if head.status == 200 and not head.plain:
        raise UpstreamBroken(f"{reply.upstream}: its answer is neither JSON nor a stream of events.")
    if not head.plain:
        return _with_type(head, "application/json"), _refusal(reply, own)
    if head.framing is Framing.SSE and request.stream:
        return _with_type(head, "text/event-stream; charset=utf-8"), _stream(reply, other, own, request, original, now)
    media = "text/event-stream; charset=utf-8" if request.stream else "application/json"
    framing = Framing.SSE if request.stream else Framing.JSON
    assert head.framing is not None
    shown = msgspec.structs.replace(_with_type(head, media), framing=framing)
    return shown, _whole(reply, head.framing, other, own, request, original, now)


def _with_type(head: Head, media: str) -> Head:
    others = tuple(pair for pair in head.headers if pair[0].lower() not in _OF_THE_FRAMING)
    return msgspec.structs.replace(head, headers=(*others, ("Content-Type", media)))


async def _refusal(reply: UpstreamReply, own: Dialect) -> AsyncIterator[bytes]:
    content = b"".join([chunk async for chunk in reply.chunks()])
    yield own.error(told_error(reply.status, content))


async def _stream(
    reply: UpstreamReply, other: Dialect, own: Dialect, request: Request, original: Original, now: int
) -> AsyncIterator[bytes]:
    reader, writer = other.reader(), own.writer(request)
    finished = False
    async for event in whole_events(reply):
        original.feed(event)
        try:
            steps = [_dated(step, now) for step in reader.feed(event)]
            finished = finished or any(isinstance(step, Finish) for step in steps)
            if not finished and any(isinstance(step, Closing) for step in steps):
                raise Untellable("it ends without having finished")
            written = b"".join(map(writer.feed, steps))
        except UNTELLABLE as error:
            raise _broken(reply, own, error) from None
        for told in sse.events(written):
            yield told
        await asyncio.sleep(0)  # many events may have come at once: others get their turn


async def _whole(
    reply: UpstreamReply,
    framing: Framing,
    other: Dialect,
    own: Dialect,
    request: Request,
    original: Original,
    now: int,
) -> AsyncIterator[bytes]:
    content = b"".join([chunk async for chunk in reply.chunks()])
    original.feed(content)
    try:
        long = len(content) > AT_ONCE
        tell = partial(_told, framing, content, other, own, request, now)
        yield await asyncio.to_thread(tell) if long else tell()
    except UNTELLABLE as error:
        raise _broken(reply, own, error) from None


def _told(framing: Framing, content: bytes, other: Dialect, own: Dialect, request: Request, now: int) -> bytes:
    reply = other.reply(framing, content)
    return own.tell(msgspec.structs.replace(reply, created=reply.created or now), request)


def _dated(step: Delta, now: int) -> Delta:
    return msgspec.structs.replace(step, created=now) if isinstance(step, Begin) and not step.created else step


def _broken(reply: UpstreamReply, own: Dialect, error: Exception) -> RequestError:
    return UpstreamBroken(f"{reply.upstream}: its answer cannot be told in {own.name}: {error}")


async def whole_events(reply: UpstreamReply) -> AsyncIterator[bytes]:
    """Cut into events; what is left at the end of a stream that was cut is passed on as it came."""
    splitter = sse.EventSplitter()
    async for chunk in reply.chunks():
        try:
            events = splitter.feed(chunk)
        except ValueError as error:
            raise UpstreamBroken(f"{reply.upstream}: {error}") from None
        for event in events:
            yield event
    if splitter.rest:
        yield splitter.rest
