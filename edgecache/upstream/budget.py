"""How many retries the pool may make: an outage must not multiply the load on what is left."""

from collections.abc import Callable


class RetryBudget:
    """A bucket of tokens, each worth one retry.

    Every request brings `ratio` tokens and every second `per_second`; at most `burst` are kept, which is also what
    there is at the start. So over any stretch: retries <= ratio * requests + per_second * seconds + burst.
    `clock` gives seconds.
    """

    def __init__(self, ratio: float, per_second: float, burst: float, clock: Callable[[], float]) -> None:
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
        earned = self._ratio + self._per_second * (now - self._at)
        self._tokens = min(self._burst, self._tokens + earned)
        self._at = now

    def withdraw(self) -> bool:
        """Whether a retry may be made; takes its token."""
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
