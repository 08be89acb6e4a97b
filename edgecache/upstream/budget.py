"""How many retries the pool may make: an outage must not multiply the load on what is left."""

from collections.abc import Callable
from typing import Final

RATIO: Final = 0.18
PER_SECOND: Final = 1 / 60
BURST: Final = 10.0
"""Over any 1,000 requests within ten minutes: attempts <= 1,000 + 180 + 10 + 10, which is 1.2 a request."""


class RetryBudget:
    """A bucket of tokens, each worth one attempt after the first of a request: a retry or a hedge.

    Every request brings `ratio` tokens and every second `per_second`; at most `burst` are kept, which is also what
    there is at the start. So over any stretch: retries <= ratio * requests + per_second * seconds + burst.
    `clock` gives seconds.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        ratio: float = RATIO,
        per_second: float = PER_SECOND,
        burst: float = BURST,
    ) -> None:
        self._ratio = ratio
        self._per_second = per_second
        self._burst = burst
        self._clock = clock
        self._tokens = burst
        self._at = clock()

    def __repr__(self) -> str:
        return f"<RetryBudget {self._tokens:.1f} of {self._burst:g}>"

    @property
    def tokens(self) -> float:
        return self._tokens

    def deposit(self) -> None:
        """A request begins."""
        now = self._clock()
        self._add(self._ratio + self._per_second * (now - self._at))
        self._at = now

    def withdraw(self) -> bool:
        """Whether a retry may be made; takes its token."""
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def restore(self) -> None:
        """The retry was not made after all."""
        self._add(1)

    def _add(self, tokens: float) -> None:
        self._tokens = min(self._burst, self._tokens + tokens)
