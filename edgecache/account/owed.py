"""What is to be added to the counters of limits in the store."""

from collections.abc import Iterable, Mapping

from edgecache.core.limits import Count, Counter

MOST = 100_000
"""Counters to which something is owed; what is owed to more is dropped."""


class Owed:
    """What waits, and what is on its way. State changes only: who takes a shipment says what became of it."""

    def __init__(self) -> None:
        self._waiting: dict[Counter, Count] = {}
        self._under_way: dict[int, Mapping[Counter, Count]] = {}
        self._shipments = 0
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, counter: Counter, count: Count) -> None:
        waiting = self._waiting.get(counter)
        if waiting is not None:
            waiting.merge(count)
        elif len(self._waiting) < MOST:
            self._waiting[counter] = Count(count.requests, count.tokens, count.money)
        else:
            self.dropped += 1

    def of(self, counter: Counter) -> Count:
        """All that the store is not known to have."""
        total = Count()
        for counts in (self._waiting, *self._under_way.values()):
            if counter in counts:
                total.merge(counts[counter])
        return total

    def ship(self, counters: Iterable[Counter]) -> tuple[int, Mapping[Counter, Count]]:
        """What waits for these, to be sent, and the shipment's number."""
        shipped = {counter: self._waiting.pop(counter) for counter in counters if counter in self._waiting}
        self._shipments += 1
        if shipped:
            self._under_way[self._shipments] = shipped
        return self._shipments, shipped

    def ship_all(self, now: float, most: int) -> tuple[int, Mapping[Counter, Count]]:
        """So many of all at most. What is owed to windows that are over is dropped: nothing asks for it any more."""
        self._waiting = {counter: count for counter, count in self._waiting.items() if counter.ends > now}
        return self.ship([counter for counter, _ in zip(self._waiting, range(most), strict=False)])

    def arrived(self, shipment: int) -> None:
        self._under_way.pop(shipment, None)

    def came_back(self, shipment: int) -> None:
        """It may have arrived all the same: then it counts twice, and the limit is reached early."""
        for counter, count in self._under_way.pop(shipment, {}).items():
            self.add(counter, count)

    def __repr__(self) -> str:
        return f"<Owed waiting={len(self._waiting)} under_way={len(self._under_way)} dropped={self.dropped}>"
