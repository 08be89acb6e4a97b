"""Inputs that are being embedded: each is asked for once at a time, however many requests wait for it, and what one
request lacks goes upstream in one call.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import msgspec

from edgecache.cache.flights import Flight, FlightStatistics
from edgecache.core.entry import TOO_MANY_TAGS, Entry, Framing, Scope, with_keys
from edgecache.core.freshness import Lifetime
from edgecache.core.ports import Call, Form, Spending, Upstream, UpstreamReply
from edgecache.core.reply import Usage
from edgecache.core.tags import Kind, Tag
from edgecache.errors import Untranslatable
from edgecache.flow.admit import Admission, kept_headers
from edgecache.flow.embedding_asks import Wants
from edgecache.flow.fence import Fence
from edgecache.flow.heads import AT_ONCE, Head, upstream_head
from edgecache.flow.recently import Recently
from edgecache.flow.tiers import OF_ONE_CALLER
from edgecache.wire.embeddings import DIALECT, Input, Part, asked_as, asking, split, usage_of

LARGEST = 64 << 20
"""Bytes of an answer that are held to be taken apart. Who waits for a longer one asks for it alone."""
AT_A_TIME = 32
"""Entries that are looked up, or stored, at once."""
REFRESH_PAUSE = 1.0
"""Seconds between two attempts to replace a stale embedding."""

T = TypeVar("T")


def estimated(wants: Wants) -> Usage:
    """What nobody told: by the length of the request, about four bytes a token."""
    return Usage(prompt=len(wants.asked.request.body) // 4)


class Came(msgspec.Struct, frozen=True):
    """What a call brought: a part for each key, None where it does not answer what was asked. `body` is None where it
    was over LARGEST.
    """

    head: Head
    body: bytes | None
    parts: Mapping[bytes, Part] | None


class Ride(msgspec.Struct, frozen=True, kw_only=True):
    """A request aboard a flight, for these keys. `arrival` is what was applied of the log when it came."""

    flight: Flight[Came]
    passenger: int
    keys: tuple[bytes, ...]
    joined: bool
    arrival: int


class Calls:
    """One per node."""

    def __init__(self, upstream: Upstream, admission: Admission, fence: Fence, accounts: Spending) -> None:
        self._upstream = upstream
        self._accounts = accounts
        self._admission = admission
        self._fence = fence
        self._newest: dict[tuple[Scope, bytes], Flight[Came]] = {}
        self._flying: set[Flight[Came]] = set()
        self._refreshed = Recently(REFRESH_PAUSE, fence.clock)
        self._started = self._joined = 0

    def board(self, wants: Wants, keys: Sequence[bytes]) -> list[Ride]:
        """The flights that bring these keys; those that none of them brings are asked for at once. Does not await.
        Each has to be left.
        """
        found: dict[Flight[Came], list[bytes]] = {}
        own = []
        for key in keys:
            flight = self._joinable(wants, key)
            if flight is None:
                own.append(key)
            else:
                found.setdefault(flight, []).append(key)
        self._joined += len(found)
        rides = [self._ride(flight, tuple(named), joined=True) for flight, named in found.items()]
        return [*rides, self._begin(wants, tuple(own), finish=wants.asked.route.finish)] if own else rides

    def _ride(self, flight: Flight[Came], keys: tuple[bytes, ...], *, joined: bool) -> Ride:
        arrival = self._fence.ledger.applied
        return Ride(flight=flight, passenger=flight.board(), keys=keys, joined=joined, arrival=arrival)

    def refresh(self, wants: Wants, keys: Sequence[bytes]) -> None:
        """Ask for what replaces stale embeddings, for nobody who waits."""
        due = [key for key in keys if wants.name(key) not in self._newest and self._refreshed.claim(wants.name(key))]
        if due:
            ride = self._begin(wants, tuple(due), finish=True)
            ride.flight.leave(ride.passenger)

    def _joinable(self, wants: Wants, key: bytes) -> Flight[Came] | None:
        """The join fence, first half: nothing known of the flight was purged since it began. Who sent `no-cache` wants
        what is asked for after it came.
        """
        flight = self._newest.get(wants.name(key))
        if flight is None or not flight.joinable or wants.asked.demands.no_cache:
            return None
        ledger, horizon = self._fence.ledger, flight.horizon
        tags = (*flight.tags, *wants.asked.tags, _id(key))
        alive = ledger.killer(tags, horizon) is None and ledger.softened(tags, horizon) is None
        alive = alive and ledger.covered(wants.asked.scope, horizon.sequence, None) is None
        return flight if alive and flight.takes(wants.asked.tags) else None

    def may_stay(self, ride: Ride) -> bool:
        """The join fence, second half: the tags that came with the head."""
        tags = (*ride.flight.tags, *map(_id, ride.keys))
        return not ride.joined or not self._fence.ledger.stops_joiner(tags, ride.flight.horizon, ride.arrival)

    # --- one call -------------------------------------------------------------------------------------------------

    def _begin(self, wants: Wants, keys: tuple[bytes, ...], *, finish: bool) -> Ride:
        asked = wants.asked
        flight: Flight[Came] = Flight(
            self._fence.ledger.horizon(), (*asked.tags, *asked.filler), keep=0, finish=finish
        )  # fmt: skip
        ride = self._ride(flight, keys, joined=False)
        names = [wants.name(key) for key in keys]
        self._newest.update(dict.fromkeys(names, flight))
        self._flying.add(flight)
        self._started += 1
        flight.fly(self._fly(flight, wants, keys), lambda: self._landed(flight, names))
        return ride

    def _landed(self, flight: Flight[Came], names: Sequence[tuple[Scope, bytes]]) -> None:
        self._flying.discard(flight)
        for name in names:
            if self._newest.get(name) is flight:
                del self._newest[name]

    async def _fly(self, flight: Flight[Came], wants: Wants, keys: tuple[bytes, ...]) -> None:
        came = await self._receive(flight, wants, keys)
        flight.open(came)
        flight.end()
        flight.settle(await self._store(flight, wants, came))

    async def _receive(self, flight: Flight[Came], wants: Wants, keys: tuple[bytes, ...]) -> Came:
        request, route = wants.asked.request, wants.asked.route
        inputs = wants.inputs(keys)
        fewer = inputs if len(keys) < len(wants.identities) else None
        body = await aside(len(request.body), lambda: asking(request, fewer, route.model))
        await self._accounts.admit(wants.asked.scope, route.name)
        reply = await self._upstream.send(_storable(wants, body))
        try:
            head = _tagged(flight, upstream_head(reply, route, request.model))
            answer = await _gathered(reply)
        finally:
            await reply.close()
        if not head.plain:
            return Came(head, answer, None)
        parts, usage = await aside(len(answer or b""), lambda: _read(answer, inputs))
        self._accounts.spent(wants.asked.scope, route.name, request.model, usage or estimated(wants))
        return Came(head, answer, None if parts is None else dict(zip(keys, parts, strict=True)))

    # --- keeping --------------------------------------------------------------------------------------------------

    async def _store(self, flight: Flight[Came], wants: Wants, came: Came) -> str | None:
        """Why something was not stored; None when all was, durably."""
        if came.head.status != 200:
            return f"status {came.head.status}"
        if came.parts is None:
            return "too large" if came.body is None else "no answer to what was asked"
        if came.head.lifetime.forbidden is not None:
            return came.head.lifetime.forbidden
        tags = flight.seal()
        reasons: list[str | None] = []
        for some in slices(list(came.parts), AT_A_TIME):
            kept = (self._keep(flight, wants, key, came.parts[key], came.head, tags) for key in some)
            reasons += await asyncio.gather(*kept)
        return next(filter(None, reasons), None)

    async def _keep(
        self, flight: Flight[Came], wants: Wants, key: bytes, part: Part, head: Head, tags: tuple[Tag, ...]
    ) -> str | None:
        if len(part.body) > wants.asked.route.max_answer:
            return "too large"
        place = wants.places[key]
        life, asked, identity = head.lifetime, wants.asked, wants.identities[place]
        return await self._admission.keep(
            Entry(
                key=key,
                scope=identity.scope,
                partition=identity.partition,
                question=_question(wants.batch.inputs[place]),
                vector=None,
                embedder="",
                tags=(*tags, _id(key)),
                horizon=flight.horizon,
                stored_at=self._fence.clock(),
                ttl=life.ttl,
                stale_while_revalidate=life.stale_while_revalidate,
                stale_if_error=life.stale_if_error,
                grace=life.grace,
                must_revalidate=life.strict,
                source=head.source,
                route=asked.route.name,
                model=head.model,
                dialect=DIALECT,
                framing=Framing.JSON,
                content_type="application/json",
                headers=kept_headers(head.headers),
                body=part.body,
                usage=part.usage,
            )
        )

    async def close(self) -> None:
        """Give up what is still coming; wait until what has come is stored."""
        for flight in list(self._flying):
            await flight.close()

    def statistics(self) -> FlightStatistics:
        passengers = sum(flight.passengers for flight in self._flying)
        return FlightStatistics(len(self._flying), self._started, self._joined, passengers)

    def __repr__(self) -> str:
        return f"<Calls flying={len(self._flying)} started={self._started} joined={self._joined}>"


def _id(key: bytes) -> Tag:
    return Tag(Kind.ID, key.hex())


def _question(value: Input) -> str:
    """A text, so that purges by meaning find it; tokens as they were written."""
    return value if isinstance(value, str) else asked_as(value)


def _tagged(flight: Flight[Came], head: Head) -> Head:
    """The flight gets the answer's tags; one with too many is for nobody else."""
    united = with_keys(flight.tags, head.keys)
    if united is None:
        return msgspec.structs.replace(head, lifetime=Lifetime(0, TOO_MANY_TAGS))
    flight.tags = united
    return head


def _storable(wants: Wants, body: bytes) -> Call:
    """The call as anyone would make it: what comes is for others too."""
    headers = tuple(pair for pair in wants.call.headers if pair[0].lower() not in OF_ONE_CALLER)
    return formed(wants, msgspec.structs.replace(wants.call, headers=headers, body=body))


def formed(wants: Wants, call: Call) -> Call:
    """Under whatever name of its model an upstream wants it."""
    route, request = wants.asked.route, wants.asked.request

    def form(dialect: str, model: str) -> Form:
        if dialect not in ("", DIALECT):
            raise Untranslatable(f"Embeddings cannot be asked for in {dialect}.")
        assert isinstance(call.body, bytes)
        named = msgspec.structs.replace(request, body=call.body)
        return Form(call.path, asking(named, None, model))

    hedge = float(route.hedge) or None
    return msgspec.structs.replace(call, dialect=DIALECT, model=request.model, form=form, hedge=hedge)


async def _gathered(reply: UpstreamReply) -> bytes | None:
    """All of it; None where it is over LARGEST."""
    pieces, size = [], 0
    async for piece in reply.chunks():
        pieces.append(piece)
        size += len(piece)
        if size > LARGEST:
            return None
    return b"".join(pieces)


def _read(answer: bytes | None, inputs: Sequence[Input]) -> tuple[tuple[Part, ...] | None, Usage | None]:
    """What answers each input, and what all of it cost."""
    if answer is None:
        return None, None
    parts = split(answer, inputs)
    return parts, usage_of(answer) if parts is None else added(part.usage for part in parts)


def added(usages: Iterable[Usage | None]) -> Usage | None:
    told = [usage.prompt for usage in usages if usage is not None]
    return Usage(prompt=sum(told)) if told else None


def slices(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


async def aside(size: int, work: Callable[[], T]) -> T:
    """What reads or writes many bytes takes milliseconds, which are spent in a thread."""
    return work() if size <= AT_ONCE else await asyncio.to_thread(work)
