"""The story of a request for embeddings: each input at hand or asked for -> joined in their order.

Whether an entry may be served is asked of the fence as for answers; what was chosen is looked at again where a purge
came while it was joined.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Mapping, Sequence

import msgspec

from edgecache.cache.exact import ExactCache
from edgecache.core.entry import Entry, Source
from edgecache.core.freshness import Use
from edgecache.core.policy import Tier
from edgecache.core.ports import Spending, Store, Upstream, UpstreamReply
from edgecache.core.reply import Usage
from edgecache.core.trace import Trace
from edgecache.errors import ModelNotFound, NotCached, RequestError
from edgecache.flow.admit import Admission, shared_headers
from edgecache.flow.embedding_asks import Wants
from edgecache.flow.embedding_calls import AT_A_TIME, Calls, Came, Ride, added, aside, estimated, formed, slices
from edgecache.flow.fence import Fence
from edgecache.flow.fills import Answer, nothing_to_close
from edgecache.flow.heads import Head
from edgecache.flow.held import Held
from edgecache.flow.tiers import readable
from edgecache.wire.embeddings import Mixed, Part, asking, join, usage_of

ROUNDS = 4
"""Times that what is missing is asked for, where purges take back what was there."""
AT_HAND = 256
"""Entries that are looked at before others get their turn."""
SERVED = (Use.FRESH, Use.STALE, Use.REVALIDATE)


class Gathering:
    """One request, as its embeddings come together: those that were `held`, and those that `came`."""

    def __init__(self, wants: Wants, held: dict[bytes, Entry]) -> None:
        self.wants = wants
        self.held = held
        self.came: dict[bytes, Part] = {}
        self.lent: set[bytes] = set()
        self.head: Head | None = None
        self.whole: bytes | None = None
        self.alone = False
        self.why: str | None = None

    def missing(self, chosen: Mapping[bytes, Entry]) -> list[bytes]:
        return [key for key in self.wants.places if key not in chosen and key not in self.came]

    def take(self, ride: Ride, came: Came) -> None:
        assert came.parts is not None
        self.came |= {key: came.parts[key] for key in ride.keys}
        self.lent |= set(ride.keys if ride.joined else ())
        self.why = self.why or ride.flight.outcome
        if self.head is None or not ride.joined:
            self.head, self.alone = came.head, not ride.joined
        self.whole = came.body if is_whole(ride, self.wants) else None

    def saved(self, held: Mapping[bytes, Entry]) -> tuple[bool, Usage | None]:
        """Whether anything was there, or asked for by others, and what that cost."""
        keys = [one.key for one in self.wants.identities if one.key not in self.came or one.key in self.lent]
        usages = (self.came[key].usage if key in self.came else held[key].usage for key in keys)
        return bool(keys), added(usages)

    @property
    def share(self) -> str:
        """For people: how many of the inputs were there."""
        there = sum(identity.key not in self.came for identity in self.wants.identities)
        return f"embeddings {there}/{len(self.wants.identities)}"

    def __repr__(self) -> str:
        return f"<Gathering held={len(self.held)} came={len(self.came)} of {len(self.wants.places)}>"


def is_whole(ride: Ride, wants: Wants) -> bool:
    """Whether what was asked upstream is what the client asked."""
    return not ride.joined and len(ride.keys) == len(wants.identities)


class EmbeddingFlow:
    """One per node."""

    def __init__(
        self,
        exact: ExactCache,
        store: Store,
        fence: Fence,
        admission: Admission,
        upstream: Upstream,
        accounts: Spending,
    ) -> None:
        self._exact = exact
        self._held = Held(exact, store, fence)
        self._fence = fence
        self._admission = admission
        self._upstream = upstream
        self._accounts = accounts
        self.calls = Calls(upstream, admission, fence, accounts)

    async def answer(self, wants: Wants) -> Answer:
        """Raises RequestError for what nobody can answer."""
        route = wants.asked.route
        if Tier.UPSTREAM not in route.tiers:
            raise ModelNotFound(f"Rule {route.name!r} asks no upstream, and nothing here makes embeddings.")
        await self._accounts.arrive(wants.asked.scope, route.name)
        apart = self._why_apart(wants)
        if apart is not None:
            return await self._alone(wants, apart)
        gathering = Gathering(wants, await self._looked_up(wants))
        for _ in range(ROUNDS):
            chosen = await self._chosen(wants, gathering.held)
            missing = gathering.missing(chosen)
            answer = await (self._ask(gathering, missing) if missing else self._joined(gathering, chosen))
            if answer is not None:
                return answer
        return await self._alone(wants, "purged meanwhile")

    def _why_apart(self, wants: Wants) -> str | None:
        """Why nothing stored may answer this request, and its own answer nobody else."""
        if not wants.identities:
            return wants.asked.why
        if wants.asked.demands.no_store:
            return "no-store"
        return "sources" if wants.asked.sources else None

    # --- at hand --------------------------------------------------------------------------------------------------

    async def _looked_up(self, wants: Wants) -> dict[bytes, Entry]:
        """Those in memory first, then what the store has, several at a time."""
        found: dict[bytes, Entry] = {}
        if wants.asked.demands.no_cache:
            return found
        elsewhere = []
        for at, key in enumerate(wants.places, 1):
            entry = self._exact.get(wants.asked.scope, key)
            if entry is not None and self._use(entry, wants) is not Use.NONE:
                found[key] = entry
            else:
                elsewhere.append(key)
            if at % AT_HAND == 0:
                await asyncio.sleep(0)
        for some in slices(elsewhere, AT_A_TIME):
            entries = await asyncio.gather(*(self._find(wants, key) for key in some))
            found |= {entry.key: entry for entry in entries if entry is not None}
        return found

    async def _find(self, wants: Wants, key: bytes) -> Entry | None:
        """With all tags that an answer to this request carries."""
        entry = await self._held.find(wants.asked.scope, key)
        if entry is not None and not _carries(entry, wants) and self._fence.use(entry, wants.asked) is not Use.NONE:
            return await self._admission.claim(entry, wants.asked.tags)
        return entry

    def _use(self, entry: Entry, wants: Wants) -> Use:
        return self._fence.use(entry, wants.asked) if _carries(entry, wants) else Use.NONE

    async def _chosen(self, wants: Wants, held: Mapping[bytes, Entry]) -> dict[bytes, Entry]:
        """Those that may be served, at one moment: when this returns."""
        seen = self._fence.ledger.horizon()
        chosen: dict[bytes, Entry] = {}
        for at, (key, entry) in enumerate(held.items(), 1):
            if self._use(entry, wants) in SERVED:
                chosen[key] = entry
            if at % AT_HAND == 0:
                await asyncio.sleep(0)
        return chosen if self._is_still(seen, wants) else self._serving(wants, chosen)

    def _is_still(self, seen: object, wants: Wants) -> bool:
        return self._fence.ledger.horizon() == seen and self._fence.may_serve(wants.asked.route)

    def _serving(self, wants: Wants, chosen: Mapping[bytes, Entry]) -> dict[bytes, Entry]:
        return {key: entry for key, entry in chosen.items() if self._use(entry, wants) in SERVED}

    # --- asking ---------------------------------------------------------------------------------------------------

    async def _ask(self, gathering: Gathering, missing: Sequence[bytes]) -> Answer | None:
        """None where they came, or have to be asked for again; else what there is instead."""
        wants = gathering.wants
        if wants.asked.demands.only_if_cached:
            raise NotCached("Only what is cached was asked for (only-if-cached), and some of it is not.")
        if self._fence.blind():  # what is in flight may be from before a purge that this node has missed
            return await self._alone(wants, "blind")
        try:
            failed = await self._filled(gathering, missing)
        except RequestError as error:
            saved = await self._saved(gathering, error.status)
            if saved is None:
                raise
            return saved
        if failed is None:
            return None
        return await self._saved(gathering, failed[1].head.status) or await self._failed(wants, *failed)

    async def _filled(self, gathering: Gathering, missing: Sequence[bytes]) -> tuple[Ride, Came] | None:
        """The first that is no answer to what was asked."""
        rides = self.calls.board(gathering.wants, missing)
        try:
            for ride in rides:
                came = await ride.flight.wait_head()
                await ride.flight.wait_settled()
                if came.parts is None or (ride.joined and came.head.personal is not None):
                    return ride, came
                if self.calls.may_stay(ride):  # else it is still missing, and asked for again
                    gathering.take(ride, came)
        finally:
            for ride in rides:
                ride.flight.leave(ride.passenger)
        return None

    async def _failed(self, wants: Wants, ride: Ride, came: Came) -> Answer:
        """The provider's own words to the client's own question, or of what concerns everybody; else it is asked."""
        head = came.head
        everybody = head.status == 429 or head.status >= 500
        fit = is_whole(ride, wants) or (everybody and not (ride.joined and head.personal is not None))
        if came.body is None or not fit:
            return await self._alone(wants, ride.flight.outcome or f"status {head.status}")
        headers = shared_headers(head.headers) if ride.joined else head.headers
        trace = _miss(wants, head.status, "miss", stored=False, collapsed=ride.joined, detail=ride.flight.outcome or "")
        return Answer(status=head.status, headers=headers, body=came.body, trace=trace, close=nothing_to_close)

    async def _saved(self, gathering: Gathering, status: int) -> Answer | None:
        """Everything from what is held, where asking failed and all of it may be served for that (RFC 5861)."""
        wants, held = gathering.wants, gathering.held
        if status < 500 or any(key not in held or self._use(held[key], wants) is Use.NONE for key in wants.places):
            return None
        gathering.came.clear()
        trace = self._hit(wants, held, "stale-if-error")
        trace = msgspec.structs.replace(trace, hit=False, served_stale=True, fwd="stale", fwd_status=status)
        try:
            answer = await self._told(gathering, held, trace)
        except Mixed:
            return None
        self._save(gathering, held)
        return answer

    async def _alone(self, wants: Wants, why: str) -> Answer:
        """Asked for this caller only; nothing is stored."""
        if wants.asked.demands.only_if_cached:
            raise NotCached("Only what is cached was asked for (only-if-cached), and this is not cached.")
        asked = wants.asked
        body = asking(asked.request, None, asked.route.model)
        await self._accounts.admit(asked.scope, asked.route.name)
        reply = await self._upstream.send(readable(formed(wants, msgspec.structs.replace(wants.call, body=body))))
        stream = self._counted(wants, reply) if reply.status == 200 else reply.chunks()
        fwd = "miss" if why == "no-store" else "bypass"
        trace = _miss(wants, reply.status, fwd, detail=why)
        return Answer(status=reply.status, headers=reply.headers, stream=stream, trace=trace, close=reply.close)

    async def _counted(self, wants: Wants, reply: UpstreamReply) -> AsyncIterator[bytes]:
        """What comes, and at its end what it cost: nothing that is known where it was longer than what is kept."""
        asked, kept, size, usage = wants.asked, bytearray(), 0, None
        try:
            async for piece in reply.chunks():
                size += len(piece)
                if size <= asked.route.max_answer:
                    kept += piece
                yield piece
            usage = await aside(size, lambda: usage_of(bytes(kept)))
        finally:
            self._accounts.spent(asked.scope, asked.route.name, asked.request.model, usage or estimated(wants))

    # --- answers --------------------------------------------------------------------------------------------------

    async def _joined(self, gathering: Gathering, chosen: Mapping[bytes, Entry]) -> Answer | None:
        """None where a purge, or another model's name in what came, makes it ask once more."""
        wants, seen = gathering.wants, self._fence.ledger.horizon()
        stale = [key for key, entry in chosen.items() if self._fence.use(entry, wants.asked) is Use.REVALIDATE]
        try:
            answer = await self._told(gathering, chosen, self._trace(gathering, chosen, revalidating=bool(stale)))
        except Mixed:
            if not chosen:
                return await self._alone(wants, "several models")
            gathering.held.clear()
            return None
        if not self._is_still(seen, wants) and len(self._serving(wants, chosen)) < len(chosen):
            return None
        self.calls.refresh(wants, stale)
        self._save(gathering, chosen)
        return answer

    def _save(self, gathering: Gathering, held: Mapping[bytes, Entry]) -> None:
        any_, usage = gathering.saved(held)
        asked = gathering.wants.asked
        if any_:
            self._accounts.saved(asked.scope, asked.route.name, asked.request.model, usage)

    async def _told(self, gathering: Gathering, held: Mapping[bytes, Entry], trace: Trace) -> Answer:
        """
        Raises:
            Mixed
        """
        head, whole = gathering.head, gathering.whole
        if head is None or not gathering.came:
            headers = next((entry.headers for entry in held.values()), ())
        else:
            headers = head.headers if gathering.alone else shared_headers(head.headers)
        headers = (*_without_type(headers), ("Content-Type", "application/json"))
        if whole is None:
            parts = {key: entry.body for key, entry in held.items()}
            parts |= {key: part.body for key, part in gathering.came.items()}
            ordered = [parts[identity.key] for identity in gathering.wants.identities]
            whole = await aside(sum(map(len, ordered)), lambda: join(ordered))
        return Answer(status=200, headers=headers, body=whole, trace=trace, close=nothing_to_close)

    def _trace(self, gathering: Gathering, chosen: Mapping[bytes, Entry], *, revalidating: bool) -> Trace:
        if not gathering.came or gathering.head is None:
            return self._hit(gathering.wants, chosen, "revalidating" if revalidating else gathering.share)
        detail = f"{gathering.share} {gathering.why}" if gathering.why else gathering.share
        fwd = "stale" if any(key in gathering.held for key in gathering.came) else "miss"
        fwd = "request" if gathering.wants.asked.demands.no_cache else fwd
        stored, collapsed = gathering.why is None, not gathering.alone
        return _miss(gathering.wants, gathering.head.status, fwd, stored=stored, collapsed=collapsed, detail=detail)

    def _hit(self, wants: Wants, held: Mapping[bytes, Entry], detail: str) -> Trace:
        """As old as the oldest, as fresh as the stalest of them."""
        entries = [held[key] for key in wants.places]
        return Trace(
            route=wants.asked.route.name,
            id=_named(wants),
            source=Source.UPSTREAM,
            model=wants.asked.request.model,
            hit=True,
            age=max(0, int(self._fence.clock() - min(entry.stored_at for entry in entries))),
            ttl=_whole(min(map(self._fence.fresh_for, entries))),
            detail="blind" if self._fence.blind() else detail,
            ignored=wants.asked.ignored,
        )

    def __repr__(self) -> str:
        return f"<EmbeddingFlow {self._held!r} {self.calls!r}>"


def _carries(entry: Entry, wants: Wants) -> bool:
    """Whether a purge of any tag of the request would take the entry back, on every node."""
    tags = wants.asked.tags
    return set(tags).issubset(entry.tags) and set(tags).isdisjoint(entry.pending)


def _without_type(headers: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    return tuple(pair for pair in headers if pair[0].lower() not in ("content-type", "content-length"))


def _named(wants: Wants) -> str | None:
    """An answer's id names one entry; a batch has many."""
    return wants.identities[0].key.hex() if len(wants.identities) == 1 else None


def _miss(
    wants: Wants, status: int, fwd: str, *, stored: bool | None = None, collapsed: bool = False, detail: str = ""
) -> Trace:
    return Trace(
        route=wants.asked.route.name,
        id=_named(wants) if fwd != "bypass" else None,
        source=Source.UPSTREAM,
        model=wants.asked.request.model,
        fwd=fwd,
        fwd_status=status,
        stored=stored,
        collapsed=collapsed,
        detail=detail,
        ignored=wants.asked.ignored,
    )


def _whole(seconds: float) -> int:
    """Away from 0: what is fresh shows some, and what is stale less than none."""
    return math.ceil(seconds) if seconds > 0 else math.floor(seconds)
