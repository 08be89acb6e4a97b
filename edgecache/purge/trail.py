"""Which records stood where in the log, as far as it is about to give them once more."""

from itertools import islice

from edgecache.core.purges import Logged

UNREADABLE = ""
KEPT = 1_000
"""Of records that the follower is past, the newest are remembered, for appends whose replies come later."""


class Trail:
    """What this node ordered it applies at once; the log gives it again a moment later. Another record in its place
    says that the log lost some: a server took over that had not seen them all.
    """

    def __init__(self) -> None:
        self._ids: dict[int, str] = {}
        self._confirmed = 0

    def begin(self, applied: int) -> None:
        """Nothing is remembered of what was applied so far."""
        self._ids.clear()
        self._confirmed = applied

    @property
    def confirmed(self) -> int:
        """Up to here the follower has had it from the log."""
        return self._confirmed

    @property
    def resume(self) -> int:
        """To follow the log from here on: it gives the last one again, where that one can be told from another."""
        return self._confirmed - 1 if self._confirmed in self._ids else self._confirmed

    def note(self, logged: Logged) -> None:
        """It is applied."""
        self._ids[logged.sequence] = _id(logged)

    def contradicts(self, logged: Logged) -> bool:
        """Whether another record was applied at its place."""
        return self._ids.get(logged.sequence, _id(logged)) != _id(logged)

    def confirm(self, sequence: int) -> None:
        """The follower has had the log's record at `sequence`."""
        self._confirmed = max(self._confirmed, sequence)
        for passed in list(islice(self._ids, max(len(self._ids) - KEPT, 0))):
            if passed < self._confirmed:
                del self._ids[passed]

    def __repr__(self) -> str:
        return f"<Trail confirmed={self._confirmed} remembered={len(self._ids)}>"


def _id(logged: Logged) -> str:
    return UNREADABLE if logged.record is None else logged.record.id
