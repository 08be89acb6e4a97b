"""A target that fails most of what it is asked is left alone for a while."""

from collections import deque
from collections.abc import Callable
from enum import StrEnum
from typing import Final

import msgspec

PARTS: Final = 10
"""Of the window; the oldest is forgotten at once."""


class State(StrEnum):
    """CLOSED: asked as usual. OPEN: not asked. HALF_OPEN: one request is let through, and tells which it will be."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Breaking(msgspec.Struct, frozen=True, kw_only=True):
    """Opens when within `window` seconds at least `least` attempts ended and `share` of them failed; after `rest`
    seconds one is let through, and again one every `rest` seconds while none of them has succeeded.
    """

    window: float = 10.0
    least: int = 10
    share: float = 0.5
    rest: float = 5.0


class Pass(msgspec.Struct, frozen=True):
    """Leave to ask, of one era: what is told of an attempt that began before the last change counts for nothing."""

    era: int
    trial: bool


class Breaker:
    """`clock` gives seconds. Every `Pass` must be settled."""

    def __init__(self, rules: Breaking, clock: Callable[[], float]) -> None:
        self._rules = rules
        self._clock = clock
        self._era = 0
        self._trials = 0
        self._until: float | None = None
        self._counts: deque[list[int]] = deque()

    def __repr__(self) -> str:
        ended, failed = self._total()
        return f"<Breaker {self.state}: {failed} of {ended} failed>"

    @property
    def state(self) -> State:
        if self._until is None:
            return State.CLOSED
        return State.HALF_OPEN if self._trials or self.wait == 0 else State.OPEN

    @property
    def wait(self) -> float:
        """Seconds until the next request is let through; 0 if one would be now."""
        return 0.0 if self._until is None else max(0.0, self._until - self._clock())

    def admit(self) -> Pass | None:
        """Leave for one attempt, if it may be made."""
        if self._until is None:
            return Pass(self._era, trial=False)
        if self.wait > 0:
            return None
        self._until = self._clock() + self._rules.rest
        self._trials += 1
        return Pass(self._era, trial=True)

    def settle(self, leave: Pass, *, ok: bool | None) -> None:
        """How the attempt ended; None where that tells nothing, as when the caller left."""
        if leave.era != self._era:
            return
        if not leave.trial:
            self._note(ok)
            return
        self._trials -= 1
        if ok:
            self._change(None)
        else:
            self._until = self._clock() + (0.0 if ok is None else self._rules.rest)

    def broke(self) -> None:
        """An answer that began well was cut."""
        if self._until is None:
            self._note(ok=False)

    def _note(self, ok: bool | None) -> None:
        if ok is None:
            return
        part = int(self._clock() * PARTS / self._rules.window)
        if not self._counts or self._counts[-1][0] != part:
            self._counts.append([part, 0, 0])
        self._counts[-1][1] += 1
        self._counts[-1][2] += not ok
        ended, failed = self._total()
        if ended >= self._rules.least and failed >= self._rules.share * ended:
            self._change(self._clock() + self._rules.rest)

    def _total(self) -> tuple[int, int]:
        """What ended within the window, and how much of it failed."""
        oldest = int(self._clock() * PARTS / self._rules.window) - PARTS
        while self._counts and self._counts[0][0] <= oldest:
            self._counts.popleft()
        return sum(part[1] for part in self._counts), sum(part[2] for part in self._counts)

    def _change(self, until: float | None) -> None:
        self._until = until
        self._era += 1
        self._trials = 0
        self._counts.clear()
