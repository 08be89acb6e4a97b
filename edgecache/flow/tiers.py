"""Who is asked when the cache has no answer: the model on this node, the upstreams. Both answer in one shape."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

import msgspec

from edgecache.core.canonical import Identity
from edgecache.core.demands import NOTHING, Demands
from edgecache.core.entry import Framing, Horizon, Scope, Source
from edgecache.core.policy import Mode, Route, Tier
from edgecache.core.ports import Call, Generator, Upstream
from edgecache.core.reply import Begin
from edgecache.core.tags import Tag
from edgecache.errors import (
    BadRequest,
    ModelNotFound,
    ModelUnavailable,
    NoUpstream,
    Overloaded,
    RequestError,
    Untranslatable,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from edgecache.flow import local, translate
from edgecache.flow.heads import Head, of_route, upstream_head
from edgecache.wire.dialect import Request
from edgecache.wire.dialects import BY_NAME

OF_ONE_CALLER = frozenset({
    "accept-encoding", "content-length", "range", "if-match", "if-none-match", "if-modified-since",
    "if-unmodified-since", "if-range", "if",
})  # fmt: skip
"""Request headers that ask for another form of the answer than the whole of it (RFC 9110 sections 13 and 14)."""
_UNABLE: Mapping[Tier, tuple[type[RequestError], ...]] = {
    Tier.LOCAL: (BadRequest, ModelUnavailable, Overloaded),
    Tier.UPSTREAM: (NoUpstream, UpstreamUnreachable, UpstreamTimeout, Overloaded, Untranslatable),
}
"""What a tier raises when it cannot answer and the next one may."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a request asks, the same each time the same bytes come from the same caller. `tags` are those that any
    answer to it carries; `identity` is None where nothing of it may be cached. `filler` are tags of what is filled for
    this request only: whom it was made for. `sources` are keys of the stored documents and answers that the prompt
    says it was made from. `why` it has no identity, where it has none; `ignored` are headers that its route does not
    accept.
    """

    request: Request
    identity: Identity | None
    scope: Scope
    route: Route
    tags: tuple[Tag, ...]
    filler: tuple[Tag, ...] = ()
    demands: Demands = NOTHING
    sources: tuple[bytes, ...] = ()
    why: str = ""
    ignored: tuple[str, ...] = ()

    @property
    def semantic(self) -> bool:
        """Whether it may be answered with what was asked in other words. What an agent did so far is exact, unless its
        route says otherwise.
        """
        question, route = self.request.question, self.route
        agents = not question.of_agent or route.agents is Mode.SEMANTIC
        return route.mode is Mode.SEMANTIC and question.exact_only is None and agents


class Ask(Asked, frozen=True, kw_only=True):
    """One request on its way through the tiers, with what an upstream would be sent. `since` is the horizon of its
    sources, where it has any: when they were found alive.
    """

    call: Call
    since: Horizon | None = None


class TierReply(msgspec.Struct, frozen=True):
    """`pieces` are whole events for a stream. `close` must be called; closing early stops the work. `original` is
    what the answer was told from, where an upstream speaks another dialect."""

    head: Head
    pieces: AsyncIterator[bytes]
    close: Callable[[], Awaitable[None]]
    original: translate.Original | None = None


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
        for on a stream.

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
        dialect = BY_NAME[ask.request.dialect]
        events = generator.generate(dialect.prompt(ask.request))
        try:
            first = await anext(events)
        except BaseException:
            await events.aclose()
            raise
        begin = Begin(id=f"{dialect.prefix}{self._new_id()}", created=int(self._clock()), model=generator.name)
        stream = ask.request.stream
        content_type = "text/event-stream; charset=utf-8" if stream else "application/json"
        head = Head(
            status=200,
            headers=(("Content-Type", content_type),),
            framing=Framing.SSE if stream else Framing.JSON,
            source=Source.LOCAL,
            model=generator.name,
            lifetime=of_route(ask.route),
        )
        steps = local.steps(begin, first, events)
        pieces = local.told(steps, dialect, ask.request)
        return TierReply(head, pieces, events.aclose)

    async def _ask_upstream(self, upstream: Upstream, ask: Ask, to_store: bool) -> TierReply:
        reply = await upstream.send(_storable(ask) if to_store else readable(_with_forms(ask, _counted(ask))))
        head = upstream_head(reply, ask.route, ask.request.model)
        if reply.dialect not in ("", ask.request.dialect):
            now = int(self._clock())
            other = BY_NAME[reply.dialect]
            original = translate.Original(other, head.framing or Framing.JSON, ask.route.max_answer)
            translated = translate.translated(reply, head, other, ask.request, original, now)
            return TierReply(*translated, reply.close, original)
        pieces = translate.whole_events(reply) if head.framing is Framing.SSE else reply.chunks()
        return TierReply(head, pieces, reply.close)


def _storable(ask: Ask) -> Call:
    """The call as anyone would make it: what comes is for others too."""
    body = BY_NAME[ask.request.dialect].asking(ask.request)
    headers = tuple(pair for pair in ask.call.headers if pair[0].lower() not in OF_ONE_CALLER)
    return _with_forms(ask, msgspec.structs.replace(ask.call, headers=headers, body=body))


def _counted(ask: Ask) -> Call:
    """Nothing is added to what cannot be read for sure, nor for a server that may refuse it."""
    if ask.request.question.uncacheable is not None or ask.route.mode is Mode.OFF:
        return ask.call
    return msgspec.structs.replace(ask.call, body=BY_NAME[ask.request.dialect].asking(ask.request))


def readable(call: Call) -> Call:
    """The call for an answer that is not compressed: what it cost is read from it."""
    headers = tuple(pair for pair in call.headers if pair[0].lower() != "accept-encoding")
    return msgspec.structs.replace(call, headers=headers)


def _with_forms(ask: Ask, call: Call) -> Call:
    """In whatever dialect, and under whatever name of the model, an upstream wants it."""
    assert isinstance(call.body, bytes)
    request = ask.request
    body = translate.named(call.body, ask.route.model) if ask.route.model else call.body
    return msgspec.structs.replace(
        call,
        body=body,
        dialect=request.dialect,
        model=request.model,
        form=translate.forms(request, call.path, body),
        hedge=float(ask.route.hedge) or None,
    )
