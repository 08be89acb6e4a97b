"""A server that hangs is not waited for by everybody: after some timeouts in a row it is left alone for a moment."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec

from edgecache.errors import StoreUnavailable

TIMEOUTS = 3
"""In a row, with no answer between them: the server is taken to hang."""
REST = 1.0
"""Seconds for which calls then fail at once. After them one call is tried, and again after each one that times out."""

logger = logging.getLogger(__name__)


class TimedOut(StoreUnavailable):
    """No answer in time; what was asked may have been done."""


class BreakerStatistics(msgspec.Struct, frozen=True):
    """`opened` counts how often the server was taken to hang, `refused` the calls that failed at once."""

    opened: int
    refused: int


class Breaker:
    """Lets calls through while the server answers. `clock` is monotonic, in seconds."""

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._clock = clock
        self._in_a_row = 0
        self._resting_until = 0.0
        self._trying = False
        self._opened = self._refused = 0

    def __repr__(self) -> str:
        state = "closed" if self._in_a_row < TIMEOUTS else "half open" if self._trying else "open"
        return f"<Breaker {self._name} {state}, {self._in_a_row} timeouts in a row, {self._refused} refused>"

    def statistics(self) -> BreakerStatistics:
        return BreakerStatistics(self._opened, self._refused)

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Around one call, which raises TimedOut where no answer came. Any answer counts, an error too: only hanging
        holds others up. A call that was cancelled says nothing.

        Raises:
            StoreUnavailable: at once, the call was not made.
        """
        self._admit()
        try:
            yield
        except TimedOut:
            self._timed_out()
            raise
        except StoreUnavailable:
            self._in_a_row = 0
            raise
        else:
            self._in_a_row = 0
        finally:
            self._trying = False  # a call from before the trial may end here: then one more is tried, not many

    def _admit(self) -> None:
        if self._in_a_row < TIMEOUTS:
            return
        if self._trying or self._clock() < self._resting_until:
            self._refused += 1
            raise StoreUnavailable(f"{self._name} does not answer, and is asked again in a moment")
        self._trying = True

    def _timed_out(self) -> None:
        self._in_a_row += 1
        self._resting_until = self._clock() + REST
        if self._in_a_row == TIMEOUTS:
            self._opened += 1
            logger.warning("%s does not answer: calls fail at once until it does", self._name)
