"""A mapping bounded by bytes, least recently used first out."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

import msgspec

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class BoundedStatistics(msgspec.Struct, frozen=True):
    """`bytes` is what the values say they cost; it is never over `budget`."""

    items: int
    bytes: int
    budget: int
    evicted: int


class Bounded(Generic[K, V]):
    """`size` says what a value costs, in bytes, and must always say the same of one value."""

    def __init__(self, budget: int, size: Callable[[V], int]) -> None:
        self._items: OrderedDict[K, V] = OrderedDict()
        self._budget = budget
        self._size = size
        self._bytes = 0
        self._evicted = 0

    def get(self, key: K) -> V | None:
        value = self._items.get(key)
        if value is not None:
            self._items.move_to_end(key)
        return value

    def peek(self, key: K) -> V | None:
        """As `get`, but it is no use of it."""
        return self._items.get(key)

    def swap(self, key: K, value: V) -> None:
        """Another value of the same size in the place of one that is there, without a use of it."""
        self._items[key] = value

    def put(self, key: K, value: V) -> None:
        """Replaces; a value over the whole budget is not kept."""
        self.discard(key)
        size = self._size(value)
        if size > self._budget:
            return
        self._items[key] = value
        self._bytes += size
        while self._bytes > self._budget:
            _, oldest = self._items.popitem(last=False)
            self._bytes -= self._size(oldest)
            self._evicted += 1

    def discard(self, key: K) -> None:
        value = self._items.pop(key, None)
        if value is not None:
            self._bytes -= self._size(value)

    def clear(self) -> None:
        self._items.clear()
        self._bytes = 0

    def __iter__(self) -> Iterator[tuple[K, V]]:
        """Of a copy: the mapping may change meanwhile."""
        return iter(list(self._items.items()))

    def __len__(self) -> int:
        return len(self._items)

    def statistics(self) -> BoundedStatistics:
        return BoundedStatistics(len(self._items), self._bytes, self._budget, self._evicted)

    def __repr__(self) -> str:
        return f"<Bounded {len(self._items)} items, {self._bytes} of {self._budget} bytes, evicted={self._evicted}>"
