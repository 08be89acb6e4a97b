"""A stored entry as an answer."""

import asyncio
import hashlib
import math
from concurrent.futures import ThreadPoolExecutor

import msgspec

from edgecache.cache.bounded import Bounded
from edgecache.core.entry import Entry, Framing, Scope
from edgecache.core.trace import Trace
from edgecache.flow.fence import Fence
from edgecache.flow.fills import Answer, nothing_to_close
from edgecache.flow.heads import AT_ONCE
from edgecache.flow.pace import paced
from edgecache.flow.tiers import Asked
from edgecache.wire.dialect import UNTELLABLE, Request
from edgecache.wire.dialects import BY_NAME

Presentation = tuple[Scope, bytes, str, str, bool, bool, bytes]

THREADS = 2
"""That long answers are told in."""
_UNTELLABLE = b""
_encode = msgspec.json.Encoder(order="deterministic").encode


class Presenter:
    """`rendered` keeps answers in other words or another framing than they came in."""

    def __init__(self, fence: Fence, rendered: Bounded[Presentation, bytes]) -> None:
        self._fence = fence
        self._rendered = rendered
        self._threads = ThreadPoolExecutor(THREADS, "telling")

    def answer(self, entry: Entry, ask: Asked, body: bytes, detail: str = "", *, failed: int = 0) -> Answer:
        """An answer made of this entry, which the caller has just found may be served, and of what was `told` of it.
        `failed` is the status that asking anew came to, where it was tried.
        """
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

    async def told(self, entry: Entry, ask: Asked) -> bytes | None:
        """As `presented`; what takes long is made in a worker thread."""
        body = self._at_hand(entry, ask.request)
        if body is None:
            body = await self._made(entry, ask.request)
        return body or None

    async def _made(self, entry: Entry, request: Request) -> bytes:
        """In few threads of their own. What only repeats a request is put in at last: without it the answer is the same
        for everybody, and kept.
        """
        plain = msgspec.structs.replace(request, echo=None)
        made = self._at_hand(entry, plain)
        loop = asyncio.get_running_loop()
        if made is None:
            made = await loop.run_in_executor(self._threads, _told, entry, plain)
            self._rendered.put(_presentation(entry, plain), made)
        if not request.echo or not made or entry.dialect != request.dialect:
            return made
        framing = Framing.SSE if request.stream else Framing.JSON
        return await loop.run_in_executor(self._threads, BY_NAME[request.dialect].render, framing, made, request)

    def presented(self, entry: Entry, ask: Asked) -> bytes | None:
        """The provider's bytes, or what was once made from them; None where it cannot be told in this dialect, or not
        at once.
        """
        return self._at_hand(entry, ask.request) or None

    def _at_hand(self, entry: Entry, request: Request) -> bytes | None:
        """_UNTELLABLE for what cannot be told, None for what is not made yet and too long to make on the event loop."""
        own = entry.dialect == request.dialect
        if request.bound and not (own and entry.bound):
            return _UNTELLABLE  # who may go on with an answer at its provider gets one that was asked for so
        if own and entry.framing is Framing.JSON and not request.stream and not request.echo:
            return entry.body
        presentation = _presentation(entry, request)
        body = self._rendered.get(presentation)
        if body is None and len(entry.body) <= AT_ONCE:
            body = _told(entry, request)
            self._rendered.put(presentation, body)
        return body

    def __repr__(self) -> str:
        return f"<Presenter {self._rendered!r}>"


def _presentation(entry: Entry, request: Request) -> Presentation:
    echo = hashlib.blake2b(_encode(request.echo), digest_size=16).digest() if request.echo else b""
    about = (entry.version, request.dialect, request.stream, request.include_usage)
    return (entry.scope, entry.key, *about, echo)


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
