"""A stored entry as an answer."""

import hashlib
import math

import msgspec

from edgecache.cache.bounded import Bounded
from edgecache.core.entry import Entry, Framing, Scope
from edgecache.core.trace import Trace
from edgecache.flow.fence import Fence
from edgecache.flow.fills import Answer, nothing_to_close
from edgecache.flow.pace import paced
from edgecache.flow.tiers import Asked
from edgecache.wire.dialect import UNTELLABLE, Request
from edgecache.wire.dialects import BY_NAME

Presentation = tuple[Scope, bytes, str, str, bool, bool, bytes]

_UNTELLABLE = b""
_encode = msgspec.json.Encoder(order="deterministic").encode


class Presenter:
    """`rendered` keeps answers in other words or another framing than they came in."""

    def __init__(self, fence: Fence, rendered: Bounded[Presentation, bytes]) -> None:
        self._fence = fence
        self._rendered = rendered

    def serve(self, entry: Entry, ask: Asked, detail: str = "", *, failed: int = 0) -> Answer | None:
        """An answer made of this entry, which the caller has just found may be served; None where this client's dialect
        cannot say the same. `failed` is the status that asking anew came to, where it was tried.
        """
        body = self.presented(entry, ask)
        return None if body is None else self.answer(entry, ask, body, detail, failed=failed)

    def answer(self, entry: Entry, ask: Asked, body: bytes, detail: str = "", *, failed: int = 0) -> Answer:
        """As `serve`, with what was `presented` of it."""
        trace = Trace(
            route=ask.route.name,
            id=entry.id,
            source=entry.source,
            model=entry.model,
            hit=not failed,
            served_stale=bool(failed),
            fwd="stale" if failed else "",
            fwd_status=failed,
            age=max(0, int(self._fence.clock() - entry.stored_at)),
            ttl=_whole(self._fence.fresh_for(entry)),
            detail=detail or self._circumstance(entry, ask),
            ignored=ask.ignored,
        )
        stream = ask.request.stream
        same = stream == (entry.framing is Framing.SSE) and entry.dialect == ask.request.dialect
        media = entry.content_type if same else "text/event-stream; charset=utf-8" if stream else "application/json"
        headers = (*entry.headers, ("Content-Type", media))
        paces = stream and ask.route.pace > 0
        tokens = entry.usage.completion if entry.usage is not None else 0
        replay = paced(body, tokens, ask.route.pace) if paces else None
        shown = b"" if paces else body
        return Answer(
            status=200,
            headers=headers,
            body=shown,
            stream=replay,
            trace=trace,
            close=nothing_to_close,
            usage=entry.usage,
        )

    def _circumstance(self, entry: Entry, ask: Asked) -> str:
        if self._fence.blind():
            return "blind"
        return "" if entry.dialect == ask.request.dialect else f"told from {entry.dialect}"

    def presented(self, entry: Entry, ask: Asked) -> bytes | None:
        """The provider's bytes, or what was once made from them; None where it cannot be told in this dialect."""
        request = ask.request
        own = entry.dialect == request.dialect
        if request.bound and not (own and entry.bound):
            return None  # who may go on with an answer at its provider gets one that was asked for so
        if own and entry.framing is Framing.JSON and not request.stream and not request.echo:
            return entry.body
        echo = hashlib.blake2b(_encode(request.echo), digest_size=16).digest() if request.echo else b""
        about = (entry.version, request.dialect, request.stream, request.include_usage)
        presentation = (entry.scope, entry.key, *about, echo)
        body = self._rendered.get(presentation)
        if body is None:
            body = _told(entry, request)
            self._rendered.put(presentation, body)
        return None if body is _UNTELLABLE or not body else body

    def __repr__(self) -> str:
        return f"<Presenter {self._rendered!r}>"


def _told(entry: Entry, request: Request) -> bytes:
    own, other = BY_NAME[request.dialect], BY_NAME.get(entry.dialect)
    if other is None:
        return _UNTELLABLE
    if own is other:
        return own.render(entry.framing, entry.body, request)
    try:
        reply = other.reply(entry.framing, entry.body)
        return own.tell(msgspec.structs.replace(reply, created=reply.created or int(entry.stored_at)), request)
    except UNTELLABLE:
        return _UNTELLABLE


def _whole(seconds: float) -> int:
    """Away from 0: what is fresh shows some, and what is stale less than none."""
    return math.ceil(seconds) if seconds > 0 else math.floor(seconds)
