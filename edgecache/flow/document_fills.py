"""A document that is not at hand: fetched, or validated with the origin, once for all who want it at the same time."""

from collections.abc import Callable
from itertools import count

import msgspec

from edgecache.cache.flights import Flight, Flights
from edgecache.core.demands import NOTHING, Demands
from edgecache.core.entry import Entry, Scope, Source
from edgecache.core.freshness import Use, use
from edgecache.core.ports import Upstream, UpstreamReply
from edgecache.core.tags import Kind, Tag
from edgecache.core.trace import Trace
from edgecache.errors import RequestError, UpstreamBroken
from edgecache.flow.document_answers import validated
from edgecache.flow.fence import Fence
from edgecache.flow.fills import Answer, nothing_to_close
from edgecache.flow.heads import joined
from edgecache.flow.origin import FAILURES, OURS, Came, checked, entry_of, fetching, read_confirmation, read_head
from edgecache.flow.recently import Recently
from edgecache.flow.shelf import Place, Shelf, Wanted
from edgecache.wire.conditional import is_unmodified, of_not_modified

UNCACHEABLE_FOR = 5.0
"""Seconds for which it is remembered that a response could not be kept: nobody waits for another's meanwhile."""
REFRESH_PAUSE = 1.0
"""Seconds between two attempts to replace a stale document that is being served."""
AT_ONCE = 64 << 10
"""Bytes of a response that is sent when it is whole, and stored: its head can then say so."""

MOST_UNATTENDED = 32
"""Fills that go on for others when those who began them were told that they have it already."""
TRIES = 4
"""Flights of others that a request waits for before it begins its own."""

Instead = Callable[[int], Answer | None]
"""A stale document where the origin failed with this status (0 for none); None where it must not be."""


class DocumentFills:
    """Shared fills (`share`), and requests that are nobody else's business (`alone`)."""

    def __init__(self, upstream: Upstream, shelf: Shelf, fence: Fence) -> None:
        self._upstream = upstream
        self._shelf = shelf
        self._fence = fence
        self._ledger = fence.ledger
        self._clock = fence.clock
        self.flights: Flights[Came] = Flights()
        self._uncacheable = Recently(UNCACHEABLE_FOR, fence.clock)
        self._refreshed = Recently(REFRESH_PAUSE, fence.clock)

    async def alone(self, wanted: Wanted, why: str) -> Answer:
        """Ask the origin for this caller only, as it asked; nothing is stored."""
        reply = await self.pass_on(wanted)
        route = wanted.route.name
        trace = Trace(route=route, source=Source.UPSTREAM, fwd="bypass", fwd_status=reply.status, detail=why)
        chunks = reply.chunks()
        return Answer(status=reply.status, headers=reply.headers, stream=chunks, trace=trace, close=reply.close)

    async def pass_on(self, wanted: Wanted) -> UpstreamReply:
        """The origin's answer to the request as it came."""
        call = msgspec.structs.replace(wanted.call, headers=(*wanted.call.headers, *OURS))
        return await checked(await self._upstream.send(call))

    async def share(self, wanted: Wanted, place: Place, fwd: str, instead: Instead) -> Answer:
        """Ask the origin once for all who want the same at the same time. Does not await before it is registered. `fwd`
        is why it is asked (RFC 9211 section 2.2).
        """
        joins = True
        for attempt in count(1):
            flight, passenger, joining = self._board(wanted, place, joins=joins)
            arrival = self._ledger.applied
            try:
                came = await flight.wait_head()
                answer = instead(came.status) if came.status in FAILURES and came.body is None else None
                if answer is None and (not joining or self._may_stay(flight, came, wanted, arrival)):
                    return await self._present(wanted, flight, passenger, came, fwd, joining=joining)
            except BaseException as error:
                flight.leave(passenger)
                answer = instead(0) if isinstance(error, RequestError) else None
                if answer is None:
                    raise
            flight.leave(passenger)
            if answer is not None:
                return answer
            if came.why_not is not None:
                return await self.alone(wanted, came.why_not)
            joins = attempt < TRIES and self._is_fresh(came, wanted, wanted.demands)
            if came.place.names != place.names:
                place = self._shelf.place(wanted, came.place.names)
        raise AssertionError("one that does not join stays")

    def refresh(self, wanted: Wanted, place: Place) -> None:
        """Replace a stale entry for nobody who waits; at most once in `REFRESH_PAUSE` (RFC 5861 section 3)."""
        name = _name(wanted, place)
        if self.flights.find(*name) is None and self._refreshed.claim(name):
            flight, passenger = self._begin(wanted, place, finish=True)
            flight.leave(passenger)

    # --- flights --------------------------------------------------------------------------------------------------

    def _board(self, wanted: Wanted, place: Place, *, joins: bool) -> tuple[Flight[Came], int, bool]:
        """The join fence, first half: nothing known of the flight was purged since it began."""
        name = _name(wanted, place)
        flight = None if self._uncacheable.holds(name) else self.flights.find(*name)
        if joins and flight is not None and self._may_join(flight, wanted):
            return flight, self.flights.join(flight), True
        return *self._begin(wanted, place, finish=wanted.route.finish), False

    def _begin(self, wanted: Wanted, place: Place, *, finish: bool) -> tuple[Flight[Came], int]:
        stale = place.entry.tags if place.entry is not None else ()
        tags = dict.fromkeys((*wanted.tags, *stale, Tag(Kind.ID, place.identity.key.hex())))
        flight: Flight[Came] = Flight(
            self._ledger.horizon(), tuple(tags), keep=wanted.route.max_answer, finish=finish
        )  # fmt: skip
        return flight, self.flights.start(*_name(wanted, place), flight, lambda f: self._fill(f, wanted, place))

    def _may_join(self, flight: Flight[Came], wanted: Wanted) -> bool:
        """Who sent `no-cache` wants what is asked for after it came (RFC 9111 section 5.2.1.4)."""
        tags, horizon = (*flight.tags, *wanted.tags), flight.horizon
        purged = self._ledger.killer(tags, horizon) is not None or self._ledger.softened(tags, horizon) is not None
        may = not purged and not wanted.demands.no_cache and self._fence.may_serve(wanted.route)
        return may and flight.takes(wanted.tags)

    def _may_stay(self, flight: Flight[Came], came: Came, wanted: Wanted, arrival: int) -> bool:
        """The join fence, second half: tags that came with the head, whether it is for others at all, and for this one:
        as fresh as it wants it, and its request has the same values of what the response varies by (RFC 9111 section
        4).
        """
        purged = self._ledger.stops_joiner(flight.tags, flight.horizon, arrival)
        same = self._shelf.place(wanted, came.place.names).identity.key == came.place.identity.key
        may = not purged and came.why_not is None and self._fence.may_serve(wanted.route)
        return may and same and self._is_fresh(came, wanted, wanted.demands)

    def _is_fresh(self, came: Came, wanted: Wanted, demands: Demands) -> bool:
        entry = entry_of(wanted, came, b"", self._ledger.horizon())
        return use(entry, demands, None, self._clock()) is Use.FRESH

    # --- fill -----------------------------------------------------------------------------------------------------

    async def _fill(self, flight: Flight[Came], wanted: Wanted, place: Place) -> None:
        came = await self._receive(flight, wanted, place)
        flight.settle(await self._admit(flight, wanted, place, came))

    async def _receive(self, flight: Flight[Came], wanted: Wanted, place: Place) -> Came:
        """Opens and ends the flight. What another response's 304 says counts for nothing: it is asked again."""
        asked_at = self._clock()
        reply = await checked(await self._upstream.send(fetching(wanted, place.entry)))
        try:
            if reply.status == 304 and place.entry is not None:
                came = self._confirmed(flight, wanted, place, place.entry, reply, asked_at)
                if came is not None:
                    self._open(flight, wanted, place, came)
                    flight.end()
                    return came
                await reply.close()
                asked_at = self._clock()
                reply = await checked(await self._upstream.send(fetching(wanted, None)))
            came = read_head(
                wanted, place, reply, lambda names: self._shelf.place(wanted, names), asked_at, self._clock()
            )
            flight.tags = tuple(dict.fromkeys((*flight.tags, *came.tags)))
            self._open(flight, wanted, place, came)
            await _gather(reply, flight, came, wanted.route.max_answer)
        finally:
            await reply.close()
        flight.end()
        return came

    def _open(self, flight: Flight[Came], wanted: Wanted, place: Place, came: Came) -> None:
        """Who waits goes on; those who come later do not wait for what is nobody else's."""
        apart = came.why_not is not None or not self._is_fresh(came, wanted, NOTHING)
        self._uncacheable.mark(_name(wanted, place), apart)
        flight.open(came)
        if came.why_not is not None or came.is_longer_than(wanted.route.max_answer):
            flight.keep_nothing()

    def _confirmed(
        self, flight: Flight[Came], wanted: Wanted, place: Place, old: Entry, reply: UpstreamReply, asked_at: float
    ) -> Came | None:
        """None also where the entry is dead by now: purged meanwhile, or before by a tag that only the 304 has named.
        From here on the flight's horizon is its own: the origin was asked after that.
        """
        came = read_confirmation(wanted, place, old, reply, asked_at, self._clock())
        if came is None or self._ledger.killer((*old.tags, *came.tags), old.horizon) is not None:
            return None
        flight.tags = tuple(dict.fromkeys((*flight.tags, *came.tags)))
        return came

    async def _admit(self, flight: Flight[Came], wanted: Wanted, place: Place, came: Came) -> str | None:
        """Why nothing was stored; None when it was. A failure takes nothing's place."""
        flight.seal()
        body = flight.kept() if came.body is None else came.body
        if came.why_not is not None or body is None:
            return came.why_not or "too large"
        if came.status in FAILURES and place.entry is not None and came.body is None:
            return f"status {came.status}"
        if not self._fence.may_serve(wanted.route):
            return "blind"
        return await self._shelf.put(wanted, came.place, entry_of(wanted, came, body, flight.horizon))

    # --- answers --------------------------------------------------------------------------------------------------

    async def _present(
        self, wanted: Wanted, flight: Flight[Came], passenger: int, came: Came, fwd: str, *, joining: bool
    ) -> Answer:
        if came.body is not None:
            await flight.wait_settled()
            flight.leave(passenger)
            entry = entry_of(wanted, came, came.body, flight.horizon)
            return validated(entry, wanted, now=self._clock(), stored=flight.outcome is None, collapsed=joining)
        trace = _trace(wanted, came, fwd, collapsed=joining)
        named = joined(came.headers)
        if came.status == 200 and came.why_not is None and is_unmodified(wanted.headers, named, came.at):
            if self.flights.unattended < MOST_UNATTENDED:
                flight.finish()
            flight.leave(passenger)
            headers = of_not_modified(came.headers)
            return Answer(status=304, headers=headers, trace=trace, close=nothing_to_close)
        if came.length > (AT_ONCE if came.why_not is None else 0):
            return _streamed(flight, passenger, came, trace, joining=joining)
        body = b"".join([chunk async for chunk in flight.chunks(passenger)])
        await flight.wait_settled()
        flight.leave(passenger)
        trace = msgspec.structs.replace(trace, stored=flight.outcome is None, detail=flight.outcome or "")
        headers = came.shared if joining else came.headers
        return Answer(status=came.status, headers=headers, body=body, trace=trace, close=nothing_to_close)

    def __repr__(self) -> str:
        return f"<DocumentFills {self.flights!r}>"


def _streamed(flight: Flight[Came], passenger: int, came: Came, trace: Trace, *, joining: bool) -> Answer:
    async def leave() -> None:
        flight.leave(passenger)

    headers = came.shared if joining else came.headers
    return Answer(status=came.status, headers=headers, stream=flight.chunks(passenger), trace=trace, close=leave)


async def _gather(reply: UpstreamReply, flight: Flight[Came], came: Came, most: int) -> None:
    """Stops when nobody waits any more for what cannot be kept either."""
    size = 0
    async for piece in reply.chunks():
        size += len(piece)
        if not flight.passengers and (came.why_not is not None or size > most):
            raise UpstreamBroken("nobody waits for the rest of it")
        flight.add(piece)
        await flight.room()


def _name(wanted: Wanted, place: Place) -> tuple[Scope, bytes]:
    return wanted.scope, place.identity.key + wanted.route.name.encode()


def _trace(wanted: Wanted, came: Came, fwd: str, *, collapsed: bool) -> Trace:
    return Trace(
        route=wanted.route.name,
        id=came.place.identity.key.hex() if came.why_not is None else None,
        source=Source.UPSTREAM,
        fwd=fwd,
        fwd_status=came.status,
        stored=None if came.why_not is None else False,
        collapsed=collapsed,
        detail=came.why_not or "",
    )
