"""What may not be served any more of one canary, and since when.

The promise: after a purge with `wait=all` has answered 200, no request that starts later is answered from anything
older. Versions count up, one writer makes them, and all times are of one clock: so it comes to one number at a time.
"""

from bisect import bisect_left

import msgspec


class Forbidden(msgspec.Struct, frozen=True):
    """No request that begins after `at` (monotonic seconds) may be answered with version `through` or an older one:
    `why` says what was acknowledged then.
    """

    at: float
    through: int
    why: str


class History:
    """One canary's. One thread writes, any may ask."""

    def __init__(self) -> None:
        self._times: list[float] = []
        self._forbidden: list[Forbidden] = []

    def forbid(self, through: int, at: float, why: str) -> None:
        """Acknowledged at `at`; call it in the order of these times."""
        self._forbidden.append(Forbidden(at, through, why))
        self._times.append(at)  # last: who looks meanwhile finds the other list at least as long

    def broken(self, version: int, begun: float) -> Forbidden | None:
        """The newest acknowledgement that a request begun at `begun`, answered with `version`, breaks."""
        known = bisect_left(self._times, begun)
        if not known:
            return None
        newest = self._forbidden[known - 1]
        return newest if version <= newest.through else None

    def __repr__(self) -> str:
        return f"<History {self._forbidden[-1:]}>"
