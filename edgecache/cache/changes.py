"""When keys last changed: for who has read something and comes back with it after an await."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

MOST = 1_024
"""About 160 bytes each."""


class Changes(Generic[K]):
    """Remembers the last `most` keys that changed. Of others only that they may have, when what is asked about lies
    further back.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._last: OrderedDict[K, int] = OrderedDict()
        self._count = 0
        self._forgotten = 0

    def mark(self) -> int:
        """This moment."""
        return self._count

    def note(self, key: K) -> None:
        self._count += 1
        self._last[key] = self._count
        self._last.move_to_end(key)
        if len(self._last) > self._most:
            _, self._forgotten = self._last.popitem(last=False)

    def note_all(self) -> None:
        self._count += 1
        self._last.clear()
        self._forgotten = self._count

    def since(self, key: K, mark: int) -> bool:
        """Whether `key` has changed since that moment, or may have."""
        return self._last.get(key, self._forgotten) > mark

    def __repr__(self) -> str:
        return f"<Changes {self._count}, {len(self._last)} keys>"
