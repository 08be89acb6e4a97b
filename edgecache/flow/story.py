"""The story of a request: exact lookup -> semantic lookup -> decide -> hit; else the fill that answers and admits.

What may be done with an entry is asked of the fence after the last await, at the moment its bytes are chosen: a purge
that was acknowledged before is then in the ledger, or this node knows that it is blind.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import TypeVar

import msgspec

from edgecache.cache.exact import ExactCache
from edgecache.core.decision import Decision, Outcome
from edgecache.core.demands import NOTHING
from edgecache.core.entry import Entry, Horizon, Scope
from edgecache.core.freshness import Use
from edgecache.core.ports import Embedder, Index, Neighbour, Spending, Store
from edgecache.core.tags import Tag
from edgecache.decide import Decider, embeddable
from edgecache.errors import EmbeddingUnavailable, NotCached, RequestError
from edgecache.flow.fence import Fence
from edgecache.flow.fills import Answer, Fills, Vector
from edgecache.flow.held import Held
from edgecache.flow.serve import Presenter
from edgecache.flow.sources import Sources
from edgecache.flow.tiers import Ask, Asked

CANDIDATES = 8
"""How many neighbours are looked at."""
AT_ONCE = 400
"""Characters that are read on the event loop."""
SERVED = (Use.FRESH, Use.STALE, Use.REVALIDATE)

_NOT_CACHED = "Only a cached answer was asked for (only-if-cached), and there is none."

T = TypeVar("T")

_log = logging.getLogger("edgecache.flow")


class Found(msgspec.Struct, frozen=True):
    """What a lookup came to: an `answer`; or an entry that is alive but not to be served as it is (`spare`), what makes
    the question's vector, and what was `near`, for people.
    """

    answer: Answer | None = None
    spare: Entry | None = None
    vector: Vector | None = None
    near: str = ""


class Flow:
    """One per node. `gone` is told of what the index has and the store has not: scope, partition, key."""

    def __init__(
        self,
        fence: Fence,
        exact: ExactCache,
        store: Store,
        index: Index,
        embedder: Embedder | None,
        decider: Decider,
        fills: Fills,
        presenter: Presenter,
        accounts: Spending,
        *,
        gone: Callable[[Scope, bytes, bytes], None],
    ) -> None:
        self._fence = fence
        self._exact = exact
        self._held = Held(exact, store, fence)
        self._index = index
        self._embedder = embedder
        self._decider = decider
        self._fills = fills
        self.presenter = presenter
        self._accounts = accounts
        self._gone = gone
        self._sources = Sources(store, fence)

    async def answer(self, ask: Ask) -> Answer:
        """Raises RequestError for what nobody can answer."""
        await self._accounts.arrive(ask.scope, ask.route.name)
        if ask.identity is None and ask.demands.only_if_cached:
            raise NotCached(_NOT_CACHED)
        if ask.identity is None:
            return await self._fills.alone(ask, ask.why)
        settled = await self._sources.settle(ask)
        if isinstance(settled, str):
            return await self._fills.alone(ask, settled)
        found = await self._looked_up(settled)
        return found.answer or await self._filled(settled, found)

    async def _looked_up(self, ask: Ask) -> Found:
        """What was filled while this one was looking is found at last, or still in flight."""
        if ask.demands.no_cache:
            return Found(vector=self._making(ask))
        found = await self._exactly(ask)
        if found.answer is None and not ask.demands.no_transform and await self._is_semantic(ask):
            found = await self._nearly(ask, found.spare)
        return found if found.answer is not None else msgspec.structs.replace(found, answer=await self.exact_hit(ask))

    async def _filled(self, ask: Ask, found: Found) -> Answer:
        """From the tiers, or what is stale where they fail (RFC 5861 section 4)."""
        if ask.demands.only_if_cached:
            raise NotCached(_NOT_CACHED)
        try:
            answer = await self._asked(ask, found)
        except RequestError as error:
            saved = await self._saved(ask, found.spare, error.status)
            if saved is None:
                raise
            return saved
        saved = await self._saved(ask, found.spare, answer.status)
        if saved is not None:
            await answer.close()
        return saved or answer

    async def _asked(self, ask: Ask, found: Found) -> Answer:
        """A node that may have missed a purge shares nothing: what is in flight may be from before it."""
        if ask.demands.no_store:
            return await self._fills.alone(ask, "no-store", fwd="miss")
        if self._fence.blind():
            return await self._fills.alone(ask, "blind")
        return await self._fills.share(ask, found.vector or _no_vector, found.near, self._why(ask, found))

    def _why(self, ask: Ask, found: Found) -> str:
        """RFC 9211 section 2.2."""
        if ask.demands != NOTHING and self._is_held(ask):
            return "request"
        return "stale" if found.spare is not None else "miss"

    def _is_held(self, ask: Ask) -> bool:
        """Whether an answer is in memory that only the request's own demands speak against."""
        assert ask.identity is not None
        entry = self._exact.get(ask.identity.scope, ask.identity.key)
        return entry is not None and self._fence.is_fresh(entry, msgspec.structs.replace(ask, demands=NOTHING))

    async def _saved(self, ask: Ask, spare: Entry | None, status: int) -> Answer | None:
        """`spare`, if asking failed with `status` and it may be served for that."""
        body = await self.presenter.told(spare, ask) if status >= 500 and spare is not None else None
        if spare is None or body is None or self._fence.use(spare, ask) is Use.NONE:
            return None
        return self.presenter.answer(spare, ask, body, "stale-if-error", failed=status)

    # --- exact ----------------------------------------------------------------------------------------------------

    async def exact_hit(self, ask: Asked) -> Answer | None:
        """From memory. Does not await where there is nothing: what is filled just then is still in flight."""
        entry = self.exact_entry(ask)
        body = await self.presenter.told(entry, ask) if entry is not None else None
        if entry is None or body is None or not self._fence.is_fresh(entry, ask):
            return None
        return self.presenter.answer(entry, ask, body)

    def exact_entry(self, ask: Asked) -> Entry | None:
        """The fresh entry in memory that may be served now, if it can be told; None also for what may not be cached."""
        if ask.identity is None or ask.sources:  # what its sources carry has to be looked up first
            return None
        entry = self._exact.get(ask.identity.scope, ask.identity.key)
        return entry if entry is not None and _carries(entry, ask) and self._fence.is_fresh(entry, ask) else None

    def same_entry(self, ask: Asked, tags: tuple[Tag, ...], seen: Horizon, now: float) -> Entry | None:
        """What `exact_entry` said when the ledger was at `seen`, if it must still be so: nothing was purged since, the
        entry is fresh, and it was not replaced. `tags` are the very tuple of its tags: every entry has its own.
        """
        assert ask.identity is not None
        entry = self._exact.get(ask.identity.scope, ask.identity.key)
        ledger = self._fence.ledger
        same = (
            entry is not None
            and entry.tags is tags
            and ledger.applied == seen.sequence
            and entry.expires_at > now
            and ledger.log == seen.log
            and ask.demands is NOTHING
            and not self._fence.blind()
        )
        return entry if same else None

    def horizon(self) -> Horizon:
        return self._fence.ledger.horizon()

    async def _exactly(self, ask: Ask) -> Found:
        assert ask.identity is not None
        entry = await self._held.find(ask.scope, ask.identity.key)
        if entry is not None and not _carries(entry, ask) and self._fence.use(entry, ask) is not Use.NONE:
            entry = await self._fills.admission.claim(entry, ask.tags)
        body = await self.presenter.told(entry, ask) if entry is not None else None
        if entry is None or body is None:
            return Found(vector=self._making(ask))
        use = self._fence.use(entry, ask)
        if use not in SERVED:
            return Found(spare=entry, vector=self._making(ask))
        if use is Use.REVALIDATE:
            self._fills.refresh(ask, self._making(ask))
        detail = {Use.FRESH: "", Use.STALE: "stale", Use.REVALIDATE: "revalidating"}[use]
        return Found(self.presenter.answer(entry, ask, body, detail))

    # --- semantic -------------------------------------------------------------------------------------------------

    async def _is_semantic(self, ask: Ask) -> bool:
        assert ask.identity is not None
        text = ask.identity.text
        return ask.semantic and self._embedder is not None and await _aside(len(text), lambda: embeddable(text))

    def _making(self, ask: Ask) -> Vector:
        async def vector() -> bytes | None:
            return await self._embed(ask) if await self._is_semantic(ask) else None

        return vector

    async def _embed(self, ask: Ask) -> bytes | None:
        assert self._embedder is not None and ask.identity is not None
        try:
            return await self._embedder.embed(ask.identity.text)
        except EmbeddingUnavailable as error:
            _log.warning("lookup without the embedding: %s", error)
            return None

    async def _nearly(self, ask: Ask, spare: Entry | None) -> Found:
        assert ask.identity is not None
        if not self._index.holds(ask.identity.scope, ask.identity.partition):
            # nothing to compare with: the vector is only needed to store the answer, and is made while that comes
            return Found(spare=spare, vector=self._making(ask))
        vector = await self._embed(ask)
        answer, decision = await self._semantic_hit(ask, vector) if vector is not None else (None, None)
        return Found(answer, spare, lambda: _known(vector), decision.explain() if decision is not None else "")

    async def _semantic_hit(self, ask: Ask, vector: bytes) -> tuple[Answer | None, Decision | None]:
        """The first neighbour that may be served, or the nearest one's decision. Nothing awaits between the last look
        at the ledger and the choice of the bytes. Only fresh ones: what is stale could not be asked for anew, the
        question being another's.
        """
        assert ask.identity is not None
        nearest: Decision | None = None
        identity = ask.identity
        for neighbour in await self._index.search(identity.scope, identity.partition, vector, CANDIDATES):
            if neighbour.similarity < ask.route.threshold:
                break
            entry, decision = await self._candidate(ask, neighbour)
            nearest = nearest or decision
            body = await self.presenter.told(entry, ask) if entry is not None else None
            if entry is None or body is None or decision is None or not self._fence.is_fresh(entry, ask):
                continue
            return self.presenter.answer(entry, ask, body, decision.explain()), decision
        return None, nearest

    async def _candidate(self, ask: Ask, neighbour: Neighbour) -> tuple[Entry | None, Decision | None]:
        """The neighbour's entry with all tags an answer to this request carries, where nothing speaks against it; and
        what was decided.
        """
        entry = await self._held.find(ask.scope, neighbour.key)
        if entry is None:
            assert ask.identity is not None
            self._gone(ask.scope, ask.identity.partition, neighbour.key)
        if entry is None or entry.vector is None or not self._fence.is_fresh(entry, ask):
            return None, None
        decision = await self._decide(ask, entry, neighbour.similarity)
        if decision.outcome is not Outcome.HIT:
            return None, decision
        if not _carries(entry, ask):
            entry = await self._fills.admission.claim(entry, ask.tags)
        return entry, decision

    async def _decide(self, ask: Ask, entry: Entry, similarity: float) -> Decision:
        assert ask.identity is not None
        asked, stored, threshold = ask.identity.text, entry.question, ask.route.threshold
        length = len(asked) + len(stored)
        return await _aside(length, lambda: self._decider.decide(asked, stored, similarity, threshold))


async def _aside(length: int, work: Callable[[], T]) -> T:
    """Reading a long text takes milliseconds, which are spent in a worker thread."""
    return work() if length <= AT_ONCE else await asyncio.to_thread(work)


async def _no_vector() -> bytes | None:
    """For answers that are only found exactly."""
    return None


async def _known(vector: bytes | None) -> bytes | None:
    return vector


def _carries(entry: Entry, ask: Asked) -> bool:
    """Whether a purge of any tag of the request would take the entry back, on every node."""
    return set(ask.tags).issubset(entry.tags) and set(ask.tags).isdisjoint(entry.pending)
