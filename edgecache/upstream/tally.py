"""What the pool counts, and how it is shown."""

from collections.abc import Callable
from enum import StrEnum
from typing import Self

import msgspec

from edgecache.upstream.breaker import State


class Turn(StrEnum):
    """Why a target is asked: FIRST of its request, after another's failure (RETRY), or beside another (HEDGE)."""

    FIRST = "first"
    RETRY = "retry"
    HEDGE = "hedge"


class Tally:
    """Counts of one target, while they change."""

    def __init__(self) -> None:
        self.requests = 0
        self.failures = 0
        self.retries = 0
        self.hedges = 0
        self.open = 0

    def __repr__(self) -> str:
        return f"<Tally {self.requests} requests, {self.failures} failures, {self.retries} retries, {self.open} open>"

    def begin(self, turn: Turn) -> None:
        self.requests += 1
        self.open += 1
        self.retries += turn is Turn.RETRY
        self.hedges += turn is Turn.HEDGE


class Lease:
    """What one attempt holds until its answer was read or dropped: `release` gives it back, once. `broke` is called
    when the answer is cut.
    """

    def __init__(self, release: Callable[[], None], broke: Callable[[], None]) -> None:
        self._release: Callable[[], None] | None = release
        self.broke = broke

    def __repr__(self) -> str:
        return f"<Lease {'held' if self._release else 'ended'}>"

    @classmethod
    def nothing(cls) -> Self:
        return cls(lambda: None, lambda: None)

    def end(self) -> None:
        """Safe twice."""
        release, self._release = self._release, None
        if release is not None:
            release()


class TargetStatistics(msgspec.Struct, frozen=True):
    """`requests` counts attempts; `retries` those of them that came after another target's failure, `hedges` those made
    beside another, `failures` those without an answer or with a broken one (an answer with an error status is an
    answer). `open` are under way, `waiting` for a slot. `state` is its breaker's. `cooling_for` are the seconds for
    which it is asked last; `healthy` is false while its health path does not answer well.
    """

    name: str
    requests: int
    failures: int
    retries: int
    hedges: int
    open: int
    waiting: int
    state: State
    cooling_for: float
    healthy: bool

    @property
    def cooling(self) -> bool:
        return self.cooling_for > 0


class PoolStatistics(msgspec.Struct, frozen=True):
    """`sent` counts the requests, `retries_left` are the whole attempts beyond one a request that the budget allows
    now.
    """

    targets: tuple[TargetStatistics, ...]
    sent: int
    retries_left: int
