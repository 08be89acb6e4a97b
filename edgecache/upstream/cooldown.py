"""A target that could not be reached, or that said when to come back, is asked last until then."""

from collections.abc import Callable
from typing import Final

LONGEST: Final = 300.0
"""Seconds. Nothing is cooled longer at a time, whatever it says."""


class Cooldown:
    """`base` is for how many seconds at first; each time in a row twice as long. `clock` gives seconds."""

    def __init__(self, base: float, clock: Callable[[], float]) -> None:
        self._base = base
        self._clock = clock
        self._in_a_row = 0
        self._lost_until = self._told_until = clock()

    def __repr__(self) -> str:
        return f"<Cooldown {self.left:.1f} s left>"

    @property
    def left(self) -> float:
        """Seconds; 0 when it does not cool."""
        return max(0.0, self._lost_until - self._clock(), self._told_until - self._clock())

    def unreachable(self) -> None:
        """Several that failed at the same time count once."""
        if self._lost_until <= self._clock():
            seconds = self._base * 2.0 ** min(self._in_a_row, 20)
            self._in_a_row += 1
            self._lost_until = self._clock() + min(LONGEST, seconds)

    def told(self, seconds: float | None) -> None:
        """It asked to be left alone; None where it did not say for how long."""
        wanted = self._base if seconds is None else min(LONGEST, seconds)
        self._told_until = max(self._told_until, self._clock() + wanted)

    def answered(self) -> None:
        """It can be reached. What it said itself still holds."""
        self._in_a_row = 0
        self._lost_until = self._clock()
