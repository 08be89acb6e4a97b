"""Who is asked when the cache has no answer: the model on this node, the upstreams. Both answer in one shape."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing

import msgspec

from edgecache.core.canonical import Identity
from edgecache.core.demands import NOTHING, Demands
from edgecache.core.entry import Framing, Horizon, Scope, Source
from edgecache.core.freshness import Lifetime
from edgecache.core.generation import Finished, Piece
from edgecache.core.policy import Route, Tier
from edgecache.core.ports import Call, Generator, Upstream, UpstreamReply
from edgecache.core.tags import MAX_HEADER_BYTES, Tag
from edgecache.errors import (
    BadRequest,
    ModelNotFound,
    ModelUnavailable,
    NoUpstream,
    Overloaded,
    RequestError,
    UpstreamBroken,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from edgecache.wire import openai_request, sse
from edgecache.wire.freshness import lifetime
from edgecache.wire.openai_local import Envelope
from edgecache.wire.openai_prompt import to_prompt
from edgecache.wire.openai_request import ChatRequest
from edgecache.wire.surrogate import TAG_HEADERS, response_keys

_OF_ONE_CALLER = frozenset({
    "accept-encoding", "content-length", "range", "if-match", "if-none-match", "if-modified-since",
    "if-unmodified-since", "if-range", "if",
})  # fmt: skip
"""Request headers that ask for another form of the answer than the whole of it (RFC 9110 sections 13 and 14)."""
_VARIES_HARMLESSLY = frozenset(
    {"", "accept-encoding", "origin", "access-control-request-method", "access-control-request-headers"}
)
"""What an answer may vary by: nothing comes compressed, and what is said to an origin is not kept."""
_SEPARATED_BY_SPACE = ("surrogate-key", "xkey")
_UNABLE: Mapping[Tier, tuple[type[RequestError], ...]] = {
    Tier.LOCAL: (BadRequest, ModelUnavailable, Overloaded),
    Tier.UPSTREAM: (NoUpstream, UpstreamUnreachable, UpstreamTimeout),
}
"""What a tier raises when it cannot answer and the next one may."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a request asks, the same each time the same bytes come from the same caller. `tags` are those that any
    answer to it carries; `identity` is None where nothing of it may be cached. `filler` are tags of what is filled for
    this request only: whom it was made for. `sources` are keys of the stored documents and answers that the prompt
    says it was made from.
    """

    request: ChatRequest
    identity: Identity | None
    scope: Scope
    route: Route
    tags: tuple[Tag, ...]
    filler: tuple[Tag, ...] = ()
    demands: Demands = NOTHING
    sources: tuple[bytes, ...] = ()


class Ask(Asked, frozen=True, kw_only=True):
    """One request on its way through the tiers, with what an upstream would be sent. `since` is the horizon of its
    sources, where it has any: when they were found alive.
    """

    call: Call
    since: Horizon | None = None


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The head of an answer. `framing` is None for what is neither JSON nor a stream of events, `model` who made it."""

    status: int
    headers: tuple[tuple[str, str], ...]
    framing: Framing | None
    source: Source
    model: str
    keys: tuple[str, ...] = ()
    lifetime: Lifetime

    @property
    def plain(self) -> bool:
        """Whether this is an answer to the question, rather than an error or something unknown."""
        return self.status == 200 and self.framing is not None

    @property
    def personal(self) -> str | None:
        """Why only the one who asked may have this, None where others who wait may too. A refusal may be of its own
        headers or credential; a limit or a failure is everybody's.
        """
        refused = self.status == 304 or (400 <= self.status < 500 and self.status != 429)
        return f"status {self.status}" if refused else self.lifetime.forbidden


class TierReply(msgspec.Struct, frozen=True):
    """`pieces` are whole events for a stream. `close` must be called; closing early stops the work."""

    head: Head
    pieces: AsyncIterator[bytes]
    close: Callable[[], Awaitable[None]]


class Tiers:
    """`names` are what the local model is called; `clock` is Unix time in seconds; `new_id` makes 32 hex digits."""

    def __init__(
        self,
        upstream: Upstream | None,
        generator: Generator | None,
        names: tuple[str, ...],
        *,
        clock: Callable[[], float],
        new_id: Callable[[], str],
    ) -> None:
        self._upstream = upstream
        self._generator = generator
        self._names = names
        self._clock = clock
        self._new_id = new_id

    async def ask(self, ask: Ask, *, to_store: bool) -> TierReply:
        """The first tier of the route that can answer. `to_store`: the answer may be stored, so that usage is asked
        for on a stream and nothing comes compressed.

        Raises:
            RequestError: the last tier's; of a request that only the local model refuses, why nobody else was there.
        """
        failures: list[RequestError] = []
        for tier in filter(self._has, ask.route.tiers):
            try:
                return await self._ask_tier(tier, ask, to_store)
            except _UNABLE[tier] as error:
                failures.append(error)
        if not failures:
            raise ModelNotFound(self._no_tier(ask.request.model), param="model")
        raise failures[0] if isinstance(failures[-1], BadRequest) else failures[-1]

    def _has(self, tier: Tier) -> bool:
        return (self._generator if tier is Tier.LOCAL else self._upstream) is not None

    def _no_tier(self, model: str) -> str:
        here = f"The models here are {', '.join(self._names)}." if self._names else "There is no local model."
        return f"The model {model[:80]!r} is not here, and no upstream is configured for it. {here}"

    async def _ask_tier(self, tier: Tier, ask: Ask, to_store: bool) -> TierReply:
        if tier is Tier.LOCAL and self._generator is not None:
            return await self._ask_local(self._generator, ask)
        assert self._upstream is not None
        return await self._ask_upstream(self._upstream, ask, to_store)

    async def _ask_local(self, generator: Generator, ask: Ask) -> TierReply:
        """Waits for the first event, so that what the model refuses still becomes a status."""
        events = generator.generate(to_prompt(ask.request.fields))
        try:
            first = await anext(events)
        except BaseException:
            await events.aclose()
            raise
        envelope = Envelope(f"chatcmpl-{self._new_id()}", int(self._clock()), generator.name)
        stream = ask.request.stream
        pieces = _local_stream(envelope, first, events) if stream else _local_whole(envelope, first, events)
        content_type = "text/event-stream; charset=utf-8" if stream else "application/json"
        head = Head(
            status=200,
            headers=(("Content-Type", content_type),),
            framing=Framing.SSE if stream else Framing.JSON,
            source=Source.LOCAL,
            model=generator.name,
            lifetime=of_route(ask.route),
        )
        return TierReply(head, pieces, events.aclose)

    async def _ask_upstream(self, upstream: Upstream, ask: Ask, to_store: bool) -> TierReply:
        reply = await upstream.send(_storable(ask) if to_store else ask.call)
        head = _upstream_head(reply, ask)
        pieces = _whole_events(reply) if head.framing is Framing.SSE else reply.chunks()
        return TierReply(head, pieces, reply.close)


async def _local_stream(
    envelope: Envelope, first: Piece | Finished, events: AsyncGenerator[Piece | Finished, None]
) -> AsyncIterator[bytes]:
    yield envelope.opening()
    async with aclosing(events):
        event: Piece | Finished = first
        while isinstance(event, Piece):
            yield envelope.piece(event.text)
            event = await anext(events)
        for last in envelope.closing(event):
            yield last


async def _local_whole(
    envelope: Envelope, first: Piece | Finished, events: AsyncGenerator[Piece | Finished, None]
) -> AsyncIterator[bytes]:
    text = []
    async with aclosing(events):
        event: Piece | Finished = first
        while isinstance(event, Piece):
            text.append(event.text)
            event = await anext(events)
        yield envelope.whole("".join(text), event)


def _storable(ask: Ask) -> Call:
    """The call as anyone would make it: what comes is for others too."""
    body = openai_request.with_usage(ask.request.body) if ask.request.stream else ask.request.body
    headers = tuple(pair for pair in ask.call.headers if pair[0].lower() not in _OF_ONE_CALLER)
    return msgspec.structs.replace(ask.call, headers=headers, body=body)


def _upstream_head(reply: UpstreamReply, ask: Ask) -> Head:
    named = joined(reply.headers)
    return Head(
        status=reply.status,
        headers=reply.headers,
        framing=_framing(named),
        source=Source.UPSTREAM,
        model=ask.request.model,
        keys=response_keys(named),
        lifetime=_lifetime(named, ask.route),
    )


def _lifetime(named: Mapping[str, str], route: Route) -> Lifetime:
    """What varies by a header that is no part of the question is nobody else's answer (RFC 9111 section 4.1)."""
    if any(len(named.get(name, "")) > MAX_HEADER_BYTES for name in TAG_HEADERS):
        return Lifetime(0, "too many surrogate keys")  # what is cut off could not be purged
    for name in named.get("vary", "").split(","):
        if name.strip().lower() not in _VARIES_HARMLESSLY:
            return Lifetime(0, f"vary: {name.strip()[:80]}")
    return lifetime(named, default=of_route(route), provider_cache_control=route.provider_cache_control)


def of_route(route: Route) -> Lifetime:
    """For answers that say nothing of their own."""
    return Lifetime(float(route.ttl), None, float(route.stale_while_revalidate), float(route.stale_if_error))


def joined(headers: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """By lower-case name; the values of a repeated field together (RFC 9110 section 5.3)."""
    found: dict[str, str] = {}
    for name, value in headers:
        low = name.lower()
        between = " " if low in _SEPARATED_BY_SPACE else ", "
        found[low] = found[low] + between + value if low in found else value
    return found


def _framing(headers: dict[str, str]) -> Framing | None:
    if headers.get("content-encoding", "identity") != "identity":
        return None
    media = headers.get("content-type", "").split(";")[0].strip().lower()
    return {"text/event-stream": Framing.SSE, "application/json": Framing.JSON}.get(media)


async def _whole_events(reply: UpstreamReply) -> AsyncIterator[bytes]:
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
