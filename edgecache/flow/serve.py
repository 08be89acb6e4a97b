"""A stored entry as an answer."""

import math

from edgecache.cache.bounded import Bounded
from edgecache.core.entry import Entry, Framing, Scope
from edgecache.core.trace import Trace
from edgecache.flow.fence import Fence
from edgecache.flow.fills import Answer, nothing_to_close
from edgecache.flow.tiers import Asked
from edgecache.wire.openai_reply import render

Presentation = tuple[Scope, bytes, str, bool, bool]


class Presenter:
    """`rendered` keeps answers in another framing than they came in."""

    def __init__(self, fence: Fence, rendered: Bounded[Presentation, bytes]) -> None:
        self._fence = fence
        self._rendered = rendered

    def serve(self, entry: Entry, ask: Asked, detail: str = "", *, failed: int = 0) -> Answer:
        """An answer made of this entry, which the caller has just found may be served. `failed` is the status that
        asking anew came to, where it was tried.
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
            detail=detail or ("blind" if self._fence.blind() else ""),
        )
        stream = ask.request.stream
        same = stream == (entry.framing is Framing.SSE)
        media = entry.content_type if same else "text/event-stream; charset=utf-8" if stream else "application/json"
        return Answer(
            status=200,
            headers=(*entry.headers, ("Content-Type", media)),
            body=self.presented(entry, ask),
            trace=trace,
            close=nothing_to_close,
        )

    def presented(self, entry: Entry, ask: Asked) -> bytes:
        """The provider's bytes, or what was once rendered from them."""
        stream, include_usage = ask.request.stream, ask.request.include_usage
        if entry.framing is Framing.JSON and not stream:
            return entry.body
        presentation = (entry.scope, entry.key, entry.version, stream, include_usage)
        body = self._rendered.get(presentation)
        if body is None:
            body = render(entry.framing, entry.body, stream=stream, include_usage=include_usage)
            self._rendered.put(presentation, body)
        return body

    def __repr__(self) -> str:
        return f"<Presenter {self._rendered!r}>"


def _whole(seconds: float) -> int:
    """Away from 0: what is fresh shows some, and what is stale less than none."""
    return math.ceil(seconds) if seconds > 0 else math.floor(seconds)
