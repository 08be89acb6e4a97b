"""What happened to a key in the last seconds."""

from collections import OrderedDict
from collections.abc import Callable, Hashable

MOST = 10_000


class Recently:
    """Keys, each for `seconds`; the oldest go first when there are too many. `clock` is Unix time in seconds."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock
        self._until: OrderedDict[Hashable, float] = OrderedDict()

    def holds(self, key: Hashable) -> bool:
        return self._until.get(key, 0.0) > self._clock()

    def mark(self, key: Hashable, happened: bool) -> None:
        """It happened now; or it has not, and what was before is forgotten."""
        self._until.pop(key, None)
        if happened:
            self._until[key] = self._clock() + self._seconds
            if len(self._until) > MOST:
                self._until.popitem(last=False)

    def claim(self, key: Hashable) -> bool:
        """Whether it has not happened lately; it has now."""
        free = not self.holds(key)
        if free:
            self.mark(key, happened=True)
        return free

    def __repr__(self) -> str:
        return f"<Recently {len(self._until)} keys, {self._seconds:g} s>"
