"""What the pool counts, and how it is shown."""

import msgspec


class Tally:
    """Counts of one target, while they change."""

    def __init__(self) -> None:
        self.requests = 0
        self.failures = 0
        self.retries = 0
        self.open = 0

    def __repr__(self) -> str:
        return f"<Tally {self.requests} requests, {self.failures} failures, {self.retries} retries, {self.open} open>"


class TargetStatistics(msgspec.Struct, frozen=True):
    """`requests` counts attempts, `retries` those of them that came after another target's failure, `failures` those
    without an answer or with a broken one (an answer with an error status is an answer). `open` are under way.
    `cooling`: it could not be reached lately and is asked last."""

    name: str
    requests: int
    failures: int
    retries: int
    open: int
    cooling: bool


class PoolStatistics(msgspec.Struct, frozen=True):
    """`retries_left` are the whole retries that the budget allows now."""

    targets: tuple[TargetStatistics, ...]
    retries_left: int
