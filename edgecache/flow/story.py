"""The story of a request: exact lookup -> semantic lookup -> decide -> hit; else the fill that answers and admits.

Whether an entry may be served is asked after the last await, at the moment its bytes are chosen: a purge that was
acknowledged before is then in the ledger.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import TypeVar

from edgecache.cache.bounded import Bounded
from edgecache.cache.exact import ExactCache
from edgecache.core.decision import Decision, Outcome
from edgecache.core.entry import Entry, Framing, Horizon, Scope
from edgecache.core.ledger import Ledger
from edgecache.core.policy import Mode
from edgecache.core.ports import Embedder, Index, Store
from edgecache.core.tags import Tag
from edgecache.core.trace import Trace
from edgecache.decide import Decider, embeddable
from edgecache.errors import EmbeddingUnavailable, StoreUnavailable
from edgecache.flow.fills import Answer, Fills, nothing_to_close
from edgecache.flow.tiers import Ask, Asked
from edgecache.wire.openai_reply import render

CANDIDATES = 8
"""How many neighbours are looked at."""
AT_ONCE = 400
"""Characters that are read on the event loop."""

T = TypeVar("T")

_log = logging.getLogger("edgecache.flow")

Presentation = tuple[Scope, bytes, float, bool, bool]


class Flow:
    """One per node. `clock` is Unix time in seconds; `rendered` keeps answers in another framing than they came in."""

    def __init__(
        self,
        ledger: Ledger,
        exact: ExactCache,
        store: Store,
        index: Index,
        embedder: Embedder | None,
        decider: Decider,
        fills: Fills,
        *,
        rendered: Bounded[Presentation, bytes],
        clock: Callable[[], float],
    ) -> None:
        self._ledger = ledger
        self._exact = exact
        self._store = store
        self._index = index
        self._embedder = embedder
        self._decider = decider
        self._fills = fills
        self._rendered = rendered
        self._clock = clock

    async def answer(self, ask: Ask) -> Answer:
        """Raises RequestError for what nobody can answer."""
        if ask.identity is None:
            return await self._fills.alone(ask, ask.request.question.uncacheable or f"mode {ask.route.mode}")
        found = self.exact_hit(ask) or await self._stored_hit(ask)
        if found is not None:
            return found
        if not await self._is_semantic(ask):
            return self.exact_hit(ask) or await self._fills.share(ask, _no_vector, "")
        if not self._index.holds(ask.identity.scope, ask.identity.partition):
            # nothing to compare with: the vector is only needed to store the answer, and is made while that comes
            return self.exact_hit(ask) or await self._fills.share(ask, lambda: self._embed(ask), "")
        vector = await self._embed(ask)
        found, decision = await self._semantic_hit(ask, vector) if vector is not None else (None, None)
        # what was filled while this one was looking is found now, or still in flight
        found = found or self.exact_hit(ask)
        return found or await self._fills.share(
            ask, lambda: _known(vector), decision.explain() if decision is not None else ""
        )

    # --- exact ----------------------------------------------------------------------------------------------------

    def exact_hit(self, ask: Asked) -> Answer | None:
        """From memory, at once."""
        entry = self.exact_entry(ask)
        return self.serve(entry, ask) if entry is not None else None

    def exact_entry(self, ask: Asked) -> Entry | None:
        """The entry in memory that may be served now; None also for what may not be cached."""
        if ask.identity is None:
            return None
        entry = self._exact.get(ask.identity.scope, ask.identity.key)
        return entry if entry is not None and _carries(entry, ask) and self._is_servable(entry, ask) else None

    def same_entry(self, ask: Asked, tags: tuple[Tag, ...], seen: Horizon, now: float) -> Entry | None:
        """What `exact_entry` said when the ledger was at `seen`, if it must still be so: nothing was purged since, the
        entry is fresh, and it was not replaced. `tags` are the very tuple of its tags: every entry has its own.
        """
        assert ask.identity is not None
        entry = self._exact.get(ask.identity.scope, ask.identity.key)
        ledger = self._ledger
        same = (
            entry is not None
            and entry.tags is tags
            and ledger.applied == seen.sequence
            and entry.expires_at > now
            and ledger.log == seen.log
        )
        return entry if same else None

    def horizon(self) -> Horizon:
        return self._ledger.horizon()

    async def _stored_hit(self, ask: Ask) -> Answer | None:
        assert ask.identity is not None
        entry = await self._fetch(ask, ask.identity.key)
        if entry is not None:
            entry = await self._claim(entry, ask)
        return self.serve(entry, ask) if entry is not None and self._is_servable(entry, ask) else None

    async def _claim(self, entry: Entry, ask: Ask) -> Entry | None:
        """The entry with all tags an answer to this request carries (another rule, other surrogate keys), so that
        purging one of them takes it back. Its horizon stays: such a tag purged since the fill kills it now.
        """
        if _carries(entry, ask) or not self._is_servable(entry, ask):
            return entry
        return await self._fills.admission.claim(entry, ask.tags)

    async def _fetch(self, ask: Ask, key: bytes) -> Entry | None:
        """From memory or the store. Without the store requests are still answered, from upstream."""
        assert ask.identity is not None
        scope = ask.identity.scope
        entry = self._exact.get(scope, key)
        if entry is not None:
            return entry
        try:
            entry = await self._store.get(scope, key)
        except StoreUnavailable as error:
            _log.warning("lookup without the store: %s", error)
            return None
        held = self._exact.get(scope, key)  # what came meanwhile is newer, or has more tags
        if held is None and entry is not None and self._is_servable(entry, ask):
            self._exact.put(entry)
        return held or entry

    def _is_servable(self, entry: Entry, ask: Asked) -> bool:
        """Fresh, of a source the route serves, and no tag of it purged since its fill began."""
        return (
            entry.expires_at > self._clock()
            and ask.route.serves(entry.source)
            and self._ledger.killer(entry.tags, entry.horizon) is None
        )

    # --- semantic -------------------------------------------------------------------------------------------------

    async def _is_semantic(self, ask: Ask) -> bool:
        assert ask.identity is not None
        text = ask.identity.text
        allowed = ask.route.mode is Mode.SEMANTIC and ask.request.question.exact_only is None
        return allowed and self._embedder is not None and await _aside(len(text), lambda: embeddable(text))

    async def _embed(self, ask: Ask) -> bytes | None:
        assert self._embedder is not None and ask.identity is not None
        try:
            return await self._embedder.embed(ask.identity.text)
        except EmbeddingUnavailable as error:
            _log.warning("lookup without the embedding: %s", error)
            return None

    async def _semantic_hit(self, ask: Ask, vector: bytes) -> tuple[Answer | None, Decision | None]:
        """The first neighbour that may be served, or the nearest one's decision. Nothing awaits between the last look
        at the ledger and the choice of the bytes.
        """
        assert ask.identity is not None
        nearest: Decision | None = None
        identity = ask.identity
        for neighbour in await self._index.search(identity.scope, identity.partition, vector, CANDIDATES):
            if neighbour.similarity < ask.route.threshold:
                break
            entry = await self._fetch(ask, neighbour.key)
            if entry is None or entry.vector is None or not self._is_servable(entry, ask):
                continue
            decision = await self._decide(ask, entry, neighbour.similarity)
            nearest = nearest or decision
            if decision.outcome is not Outcome.HIT:
                continue
            entry = await self._claim(entry, ask)
            if entry is not None and self._is_servable(entry, ask):
                return self.serve(entry, ask, decision.explain()), decision
        return None, nearest

    async def _decide(self, ask: Ask, entry: Entry, similarity: float) -> Decision:
        assert ask.identity is not None
        asked, stored, threshold = ask.identity.text, entry.question, ask.route.threshold
        length = len(asked) + len(stored)
        return await _aside(length, lambda: self._decider.decide(asked, stored, similarity, threshold))

    # --- serve ----------------------------------------------------------------------------------------------------

    def serve(self, entry: Entry, ask: Asked, detail: str = "") -> Answer:
        """An answer made of this entry, which the caller has just found servable."""
        age = max(0, int(self._clock() - entry.stored_at))
        trace = Trace(
            route=ask.route.name,
            id=entry.id,
            source=entry.source,
            model=entry.model,
            hit=True,
            age=age,
            ttl=int(entry.ttl) - age,
            detail=detail,
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
        presentation = (entry.scope, entry.key, entry.stored_at, stream, include_usage)
        body = self._rendered.get(presentation)
        if body is None:
            body = render(entry.framing, entry.body, stream=stream, include_usage=include_usage)
            self._rendered.put(presentation, body)
        return body


async def _aside(length: int, work: Callable[[], T]) -> T:
    """Reading a long text takes milliseconds, which are spent in a worker thread."""
    return work() if length <= AT_ONCE else await asyncio.to_thread(work)


async def _no_vector() -> bytes | None:
    """For answers that are only found exactly."""
    return None


async def _known(vector: bytes | None) -> bytes | None:
    return vector


def _carries(entry: Entry, ask: Asked) -> bool:
    """Whether a purge of any tag of the request would take the entry back."""
    return set(ask.tags).issubset(entry.tags)
