"""What is to be added to the counters of limits in the store."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice

from edgecache.core.limits import Count, Counter, Debt

MOST = 100_000
"""Counters to which something is owed; what is owed to more is dropped."""


class Owed:
    """By scope: what waits, and one debt that is sent until it is known to have arrived, always the same. State changes
    only: who ships a debt says what became of it. `node` is unlike that of any other process.
    """

    def __init__(self, node: str) -> None:
        self._node = node
        self._waiting: dict[str, dict[Counter, Count]] = {}
        self._sent: dict[str, Debt] = {}
        self._under_way: set[str] = set()
        self._number = 0
        self._counters = 0
        self.dropped = 0

    def __len__(self) -> int:
        """Counters that something is owed to, as far as is known."""
        return self._counters + sum(len(debt.counts) for debt in self._sent.values())

    def add(self, counter: Counter, count: Count) -> None:
        waiting = self._waiting.get(counter.scope, {})
        if counter in waiting:
            waiting[counter].merge(count)
        elif self._counters < MOST:
            self._waiting.setdefault(counter.scope, {})[counter] = Count(count.requests, count.tokens, count.money)
            self._counters += 1
        else:
            self.dropped += 1

    def of(self, counter: Counter) -> Count:
        """All that the store is not known to have."""
        total = Count()
        sent = self._sent.get(counter.scope)
        for counts in (self._waiting.get(counter.scope, {}), sent.counts if sent else {}):
            total.merge(counts.get(counter, Count()))
        return total

    def owes(self, scope: str) -> bool:
        return scope in self._waiting or scope in self._sent

    def ship(self, scope: str, now: float) -> Debt:
        """To be sent now; empty while one to this scope is under way. What is owed to windows that are over is dropped:
        nothing asks for it any more.
        """
        if scope in self._under_way:
            return Debt(scope, self._node, 0, {})
        debt = self._sent.pop(scope, None)
        if debt is None or not _lasting(debt.counts, now):
            debt = self._new(scope, now)
        if debt.counts:
            self._sent[scope] = debt
            self._under_way.add(scope)
        return debt

    def _new(self, scope: str, now: float) -> Debt:
        counts = self._waiting.pop(scope, {})
        self._number += 1
        self._counters -= len(counts)
        return Debt(scope, self._node, self._number, _lasting(counts, now))

    def ship_all(self, now: float, most: int) -> Sequence[Debt]:
        """Of so many scopes at most; none when there is nothing left that could be sent now."""
        while scopes := list(islice(self._ready(), most)):
            if debts := [debt for scope in scopes if (debt := self.ship(scope, now)).counts]:
                return debts
        return []

    def _ready(self) -> Iterator[str]:
        return (scope for scope in chain(self._sent, self._waiting) if scope not in self._under_way)

    def arrived(self, debt: Debt) -> None:
        if debt.counts:
            self._under_way.discard(debt.scope)
            self._sent.pop(debt.scope, None)

    def came_back(self, debt: Debt) -> None:
        """It may have arrived all the same, and is sent again as it is."""
        if debt.counts:
            self._under_way.discard(debt.scope)

    def __repr__(self) -> str:
        return f"<Owed waiting={self._counters} sent={len(self._sent)} dropped={self.dropped}>"


def _lasting(counts: Mapping[Counter, Count], now: float) -> Mapping[Counter, Count]:
    return {counter: count for counter, count in counts.items() if counter.ends > now}
