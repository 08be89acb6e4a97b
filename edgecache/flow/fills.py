"""A miss: join the fill in flight or start one, and give what arrives to everyone aboard."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec

from edgecache.cache.bounded import Bounded
from edgecache.cache.flights import Flight, Flights
from edgecache.core.entry import TOO_MANY_TAGS, Framing, Scope, with_keys
from edgecache.core.freshness import Lifetime
from edgecache.core.ledger import Ledger
from edgecache.core.ports import Spending
from edgecache.core.reply import Usage
from edgecache.core.tags import Kind, Tag
from edgecache.core.trace import Trace
from edgecache.errors import UpstreamBroken
from edgecache.flow.admit import PASSING, Admission, read, shared_headers
from edgecache.flow.costs import Costs
from edgecache.flow.heads import AT_ONCE, Head
from edgecache.flow.recently import Recently
from edgecache.flow.tiers import Ask, TierReply, Tiers
from edgecache.flow.translate import Original
from edgecache.wire.dialects import BY_NAME

_log = logging.getLogger("edgecache.fills")

OUTCOMES = 2 << 20
"""Bytes for what became of the last fills, by entry id: a stream's headers leave before that is known."""
UNCACHEABLE_FOR = 5.0
"""Seconds for which it is remembered that an answer could not be kept."""
REFRESH_PAUSE = 1.0
"""Seconds between two attempts to replace a stale answer, so that an upstream that fails is not asked at every hit."""

Vector = Callable[[], Awaitable[bytes | None]]
"""Makes the question's vector; None where an answer may only be found exactly."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What goes back: the whole `body`, or a `stream` of pieces. `close` must be called, whatever happens. `outcome`
    waits until a streamed answer is stored, or is known not to be, and tells. While the next piece is waited for, a
    stream of events gets a comment every `ping` seconds; 0 for none.
    `usage` is what one from cache cost when it was made.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""
    stream: AsyncIterator[bytes] | None = None
    trace: Trace
    close: Callable[[], Awaitable[None]]
    outcome: Callable[[], Awaitable[Trace]] | None = None
    ping: float = 0
    usage: Usage | None = None


async def nothing_to_close() -> None:
    """For answers that hold nothing."""


class Fills:
    """Shared fills (`share`), and requests that are nobody else's business (`alone`)."""

    def __init__(
        self, tiers: Tiers, ledger: Ledger, admission: Admission, accounts: Spending, *, clock: Callable[[], float]
    ) -> None:
        self._tiers = tiers
        self._costs = Costs(accounts)
        self._ledger = ledger
        self.admission = admission
        self.flights: Flights[Head] = Flights()
        self.outcomes: Bounded[str, str] = Bounded(OUTCOMES, lambda outcome: 200 + len(outcome))
        self._uncacheable = Recently(UNCACHEABLE_FOR, clock)
        self._refreshed = Recently(REFRESH_PAUSE, clock)

    async def alone(self, ask: Ask, why: str, fwd: str = "bypass") -> Answer:
        """Ask the tiers for this caller only; nothing is stored."""
        await self._costs.admit(ask)
        try:
            reply = await self._tiers.ask(ask, to_store=False)
        except asyncio.CancelledError:
            self._costs.left(ask, None, 0, 0)
            raise
        head = reply.head
        trace = _miss(ask, head, fwd=fwd, detail=why)
        ping = float(ask.route.ping) if head.framing is Framing.SSE else 0
        pieces = self._costs.counted(ask, reply) if head.plain else reply.pieces
        if head.plain and head.framing is Framing.SSE:
            pieces = _filtered(pieces, ask)
        return Answer(
            status=head.status, headers=head.headers, stream=pieces, trace=trace, close=reply.close, ping=ping
        )

    async def share(self, ask: Ask, vector: Vector, near: str, fwd: str = "miss") -> Answer:
        """Ask the tiers once for all who ask the same at the same time. Does not await before it is registered.
        `vector` makes the question's vector, `near` says what was found and not served, `fwd` why it is asked for
        (RFC 9211 section 2.2).
        """
        while True:
            if ask.since is not None and self._ledger.killer(ask.tags, ask.since) is not None:
                return await self.alone(ask, "source gone")
            flight, passenger, joined = self._board(ask, vector)
            arrival = self._ledger.applied
            try:
                head = await flight.wait_head()
                if not joined or self._may_stay(flight, head, arrival):
                    return await self._present(ask, flight, passenger, head, joined, near, fwd)
            except BaseException:
                flight.leave(passenger)
                raise
            flight.leave(passenger)
            if head.personal is not None:
                return await self.alone(ask, head.personal)

    def refresh(self, ask: Ask, vector: Vector) -> None:
        """Ask the tiers for what replaces a stale answer, for nobody who waits; at most once in `REFRESH_PAUSE`."""
        scope, key = _name(ask)
        if self.flights.find(scope, key) is None and self._refreshed.claim((scope, key)):
            flight, passenger = self._begin(ask, vector, finish=True)
            flight.leave(passenger)

    def _board(self, ask: Ask, vector: Vector) -> tuple[Flight[Head], int, bool]:
        """The join fence, first half: nothing known of the flight was purged since it began. Rules do not share
        flights: another one may ask other tiers, and serve no answers of this one's. Who cannot join begins another,
        which is joined from then on. Where the last answer could not be kept nobody waits for another's.
        """
        scope, key = _name(ask)
        flight = None if self._uncacheable.holds((scope, key)) else self.flights.find(scope, key)
        if flight is not None and self._may_join(flight, ask):
            return flight, self.flights.join(flight), True
        return *self._begin(ask, vector, finish=ask.route.finish), False

    def _begin(self, ask: Ask, vector: Vector, *, finish: bool) -> tuple[Flight[Head], int]:
        assert ask.identity is not None
        flight: Flight[Head] = Flight(
            ask.since or self._ledger.horizon(),
            (*ask.tags, *ask.filler, Tag(Kind.ID, ask.identity.key.hex())),
            keep=ask.route.max_answer,
            finish=finish,
        )
        return flight, self.flights.start(*_name(ask), flight, lambda f: self._fill(f, ask, vector))

    def _may_join(self, flight: Flight[Head], ask: Ask) -> bool:
        """A flight's vector is not looked at: after a purge by meaning in its scope nobody joins it any more."""
        ledger, horizon = self._ledger, flight.horizon
        tags = (*flight.tags, *ask.tags)
        alive = ledger.killer(tags, horizon) is None and ledger.softened(tags, horizon) is None
        asked_before = ask.demands.no_cache  # it wants what is asked for after it came
        alive = alive and not asked_before and ledger.covered(ask.scope, horizon.sequence, None) is None
        return alive and flight.takes(ask.tags)

    def _may_stay(self, flight: Flight[Head], head: Head, arrival: int) -> bool:
        """The join fence, second half: the tags that came with the head, and whether it may be shared at all."""
        return head.personal is None and not self._ledger.stops_joiner(flight.tags, flight.horizon, arrival)

    async def _fill(self, flight: Flight[Head], ask: Ask, vector: Vector) -> None:
        """The vector is made while the answer comes."""
        embedding = asyncio.ensure_future(vector())
        try:
            head, original = await self._received(flight, ask)
            body = flight.kept()
            summary = await read(ask.request.dialect, head, body)
            if head.plain:
                joined = flight.joined if head.personal is None else 0
                self._costs.told(ask, head, summary, *flight.received, joined=joined)
            found = await embedding if head.plain and body is not None else None
            outcome = await original.why_not_stored() if original is not None and head.plain else None
            outcome = outcome or await self.admission.admit(
                ask, head, body, summary, flight.seal(), flight.horizon, found
            )
            self._uncacheable.mark(_name(ask), head.plain and outcome not in (None, *PASSING))
            if outcome is not None:
                _log.info("%s is not stored: %s", _id(ask), outcome)
            self.outcomes.put(_id(ask), outcome or "stored")
            flight.settle(outcome)
        finally:
            embedding.cancel()

    async def _received(self, flight: Flight[Head], ask: Ask) -> tuple[Head, Original | None]:
        """As `_receive`; what breaks off, or nobody waits for any more, is paid for all the same."""
        try:
            return await self._receive(flight, ask)
        except BaseException as error:
            if flight.head is not None or isinstance(error, asyncio.CancelledError):
                self._costs.left(ask, flight.head, *flight.received)
            raise

    async def _receive(self, flight: Flight[Head], ask: Ask) -> tuple[Head, Original | None]:
        await self._costs.admit(ask)
        reply = await self._tiers.ask(ask, to_store=True)
        try:
            head = _tagged(flight, reply.head)
            flight.open(head)
            await _gather(reply, flight)
        finally:
            await reply.close()
        flight.end()
        return head, reply.original

    async def _present(
        self, ask: Ask, flight: Flight[Head], passenger: int, head: Head, joined: bool, near: str, fwd: str
    ) -> Answer:
        headers = shared_headers(head.headers) if joined else head.headers
        trace = _miss(ask, head, fwd=fwd, collapsed=joined, detail=near)

        async def leave() -> None:
            flight.leave(passenger)

        async def outcome() -> Trace:
            await flight.wait_settled()
            return _settled(trace, flight.outcome, near)

        chunks = flight.chunks(passenger)
        if not head.plain:
            return Answer(status=head.status, headers=headers, stream=chunks, trace=trace, close=leave)
        if head.framing is Framing.SSE and ask.request.stream:
            shown = _without(headers, "content-length")  # what is hidden makes it shorter
            stream = _filtered(chunks, ask)
            ping = float(ask.route.ping)
            return Answer(
                status=200, headers=shown, stream=stream, trace=trace, close=leave, outcome=outcome, ping=ping
            )
        received = b"".join([chunk async for chunk in chunks])
        at_once = len(received) <= AT_ONCE
        body = _whole(ask, head, received) if at_once else await asyncio.to_thread(_whole, ask, head, received)
        await flight.wait_settled()
        flight.leave(passenger)
        told = _settled(trace, flight.outcome, near)
        return Answer(status=200, headers=_retyped(headers, ask, head), body=body, trace=told, close=nothing_to_close)


def _tagged(flight: Flight[Head], head: Head) -> Head:
    """The flight gets the answer's tags. An answer with more than it could be stored with is for nobody else: who has
    joined could not be told of a purge of what is left out.
    """
    united = with_keys(flight.tags, head.keys)
    if united is None:
        return msgspec.structs.replace(head, lifetime=Lifetime(0, TOO_MANY_TAGS))
    flight.tags = united
    return head


async def _gather(reply: TierReply, flight: Flight[Head]) -> None:
    async for piece in reply.pieces:
        flight.add(piece)
        await flight.room()


async def _filtered(chunks: AsyncIterator[bytes], ask: Ask) -> AsyncIterator[bytes]:
    """Usage is asked for on every stream that may be stored, and hidden from who did not ask for it."""
    hide = BY_NAME[ask.request.dialect].hider(ask.request)
    async for chunk in chunks:
        shown = chunk if hide is None else hide(chunk)
        if shown:
            yield shown


def _whole(ask: Ask, head: Head, body: bytes) -> bytes:
    assert head.framing is not None
    dialect = BY_NAME[ask.request.dialect]
    same = ask.request.stream == (head.framing is Framing.SSE)
    if not same:
        summary = dialect.summarise(head.framing, body)
        if not summary.finished:
            raise UpstreamBroken(f"The upstream's answer has no end, or failed ({summary.why_not_stored}): ask again.")
    return dialect.render(head.framing, body, ask.request)


def _retyped(headers: tuple[tuple[str, str], ...], ask: Ask, head: Head) -> tuple[tuple[str, str], ...]:
    """The headers of an answer whose framing may have changed."""
    if ask.request.stream == (head.framing is Framing.SSE):
        return headers
    media = "text/event-stream; charset=utf-8" if ask.request.stream else "application/json"
    return (*_without(headers, "content-type", "content-length"), ("Content-Type", media))


def _without(headers: tuple[tuple[str, str], ...], *names: str) -> tuple[tuple[str, str], ...]:
    return tuple(pair for pair in headers if pair[0].lower() not in names)


def _name(ask: Ask) -> tuple[Scope, bytes]:
    """What shares a flight: the same question by the same rule in the same dialect. Who may go on with an answer at
    the provider waits for no answer that was asked for without.
    """
    assert ask.identity is not None
    told = f"{ask.route.name} {ask.request.dialect} {ask.request.bound}"
    return ask.identity.scope, ask.identity.key + told.encode()


def _id(ask: Ask) -> str:
    assert ask.identity is not None
    return ask.identity.key.hex()


def _settled(trace: Trace, outcome: str | None, near: str) -> Trace:
    return msgspec.structs.replace(trace, stored=outcome is None, detail=outcome or near)


def _miss(
    ask: Ask, head: Head, *, fwd: str = "miss", collapsed: bool = False, stored: bool | None = None, detail: str = ""
) -> Trace:
    return Trace(
        route=ask.route.name,
        id=ask.identity.key.hex() if ask.identity is not None and fwd != "bypass" else None,
        source=head.source,
        model=head.model,
        fwd=fwd,
        fwd_status=head.status,
        stored=stored,
        collapsed=collapsed,
        detail=detail,
        ignored=ask.ignored,
    )
