"""May this scope ask? Counted in the store, for all nodes; by what is known here while the store is away."""

import math
from collections.abc import Callable, Mapping, Sequence

import msgspec

from edgecache.account.owed import Owed
from edgecache.core.limits import Bound, Count, Counter, Debt, Limit, WhenUnavailable
from edgecache.core.ports import Meters
from edgecache.errors import LimitReached, Overloaded, StoreUnavailable

KNOWN = 10_000
"""Counters whose last count is remembered, for when the store is away."""
BATCH = 1_000
"""Scopes that are charged at once."""
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "m"))


class LimiterStatistics(msgspec.Struct, frozen=True):
    """Requests `admitted` under a limit, `refused` because one was reached, and `alone` those judged without the store;
    `owed` counters wait for something, `dropped` is how often there was no room for more.
    """

    admitted: int
    refused: int
    alone: int
    owed: int
    dropped: int


class Limiter:
    """`owes` is told whenever something is to be flushed. `clock` is Unix time in seconds."""

    def __init__(self, meters: Meters, *, clock: Callable[[], float], owes: Callable[[], None], node: str) -> None:
        self._meters = meters
        self._clock = clock
        self._owes = owes
        self._owed = Owed(node)
        self._known: dict[Counter, Count] = {}
        self._admitted = self._refused = self._alone = 0

    async def admit(self, scope: str, limits: Sequence[Limit], currency: str) -> None:
        """Count a request by all of these limits, or by none.

        Raises:
            LimitReached: one of them is reached.
            Overloaded: the store is away, and one of them refuses then.
        """
        now = self._clock()
        bounds = [limit.bound(scope, now) for limit in limits]
        reached = await self._take(scope, bounds, now)
        if reached is None:
            self._alone += 1
            reached = self._take_here(limits, bounds)
        if reached:
            self._refused += 1
            raise _refusal([(limits[at], bounds[at], what) for at, what in reached.items()], now, currency)
        self._admitted += 1

    async def _take(self, scope: str, bounds: Sequence[Bound], now: float) -> Mapping[int, str] | None:
        """Which bounds are reached, and what of them; None where the store is away."""
        debt = self._owed.ship(scope, now)
        try:
            taken = await self._meters.take(bounds, debt)
        except StoreUnavailable:
            self._owed.came_back(debt)
            return None
        except BaseException:  # the caller has left
            self._owed.came_back(debt)
            raise
        else:
            self._owed.arrived(debt)
        finally:
            if self._owed.owes(scope):
                self._owes()
        for bound, count in zip(bounds, taken.counts, strict=True):
            self._learn(bound.counter, Count(count.requests + taken.admitted, count.tokens, count.money))
        return {} if taken.admitted else _reached(bounds, taken.counts)

    def _take_here(self, limits: Sequence[Limit], bounds: Sequence[Bound]) -> Mapping[int, str]:
        if any(limit.when_unavailable is WhenUnavailable.REFUSE for limit in limits):
            raise Overloaded("What you may ask cannot be counted now: ask again in a moment.", retry_after=1)
        counts = [self._guess(bound.counter) for bound in bounds]
        reached = _reached(bounds, counts)
        if not reached:
            for bound in bounds:
                self._owed.add(bound.counter, Count(requests=1))
            self._owes()
        return reached

    def _guess(self, counter: Counter) -> Count:
        """What the store would say: what it last said, and what it has not heard of."""
        count = self._owed.of(counter)
        count.merge(self._known.get(counter, Count()))
        return count

    def _learn(self, counter: Counter, heard: Count) -> None:
        """Replies may overtake each other, and counts only grow."""
        known = self._known.get(counter)
        if known is None:
            self._make_room()
            known = self._known[counter] = Count()
        known.requests = max(known.requests, heard.requests)
        known.tokens = max(known.tokens, heard.tokens)
        known.money = max(known.money, heard.money)

    def _make_room(self) -> None:
        """The oldest go."""
        while len(self._known) >= KNOWN:
            del self._known[next(iter(self._known))]

    def charge(self, scope: str, limits: Sequence[Limit], tokens: int, money: int) -> None:
        """An answer has ended: its tokens, and its cost in billionths."""
        now = self._clock()
        for limit in limits:
            self._owed.add(limit.bound(scope, now).counter, Count(0, tokens, money))
        self._owes()

    async def flush(self) -> None:
        """Send all that is owed.

        Raises:
            StoreUnavailable: what may not have come is kept.
        """
        while debts := self._owed.ship_all(self._clock(), BATCH):
            try:
                await self._meters.charge(debts)
            except BaseException:
                for debt in debts:
                    self._owed.came_back(debt)
                raise
            for debt in debts:
                self._owed.arrived(debt)
                self._learn_more(debt)

    def _learn_more(self, debt: Debt) -> None:
        for counter, count in debt.counts.items():
            if counter in self._known:
                self._known[counter].merge(count)

    def statistics(self) -> LimiterStatistics:
        return LimiterStatistics(self._admitted, self._refused, self._alone, len(self._owed), self._owed.dropped)

    def __repr__(self) -> str:
        return f"<Limiter {self.statistics()}>"


def _reached(bounds: Sequence[Bound], counts: Sequence[Count]) -> Mapping[int, str]:
    found = [bound.most.reached(count) for bound, count in zip(bounds, counts, strict=True)]
    return {at: what for at, what in enumerate(found) if what is not None}


def _refusal(reached: Sequence[tuple[Limit, Bound, str]], now: float, currency: str) -> LimitReached:
    """Of several, the one whose window ends last: before that, asking again does not help."""
    limit, bound, what = max(reached, key=lambda each: each[1].counter.ends)
    seconds = max(1, math.ceil(bound.counter.ends - now))
    most = f"{limit.money:,g} {currency}" if what == "money" else f"{getattr(limit, what):,} {what}"
    return LimitReached(
        f"You have reached a limit of this edgecache: {most} in {_written(limit.per)}. Ask again in {seconds} seconds, "
        "or have its operator raise the limit.",
        retry_after=seconds,
    )


def _written(seconds: float) -> str:
    """A duration as owners write it."""
    for size, unit in _UNITS:
        if seconds % size == 0:
            return f"{seconds / size:g}{unit}"
    return f"{seconds:g}s"
