"""The nodes that follow a log, as one of them sees them."""

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from edgecache.core.ports import Member


class _Seen(NamedTuple):
    row: bytes
    since: float


def row_of(applied: int, lease: float, beat: int) -> str:
    """What a node writes of itself with every read. `beat` differs each time: the row says that it was heard of."""
    return f"{applied} {lease!r} {beat}"


class Roll:
    """Remembers since when each row has stood as it is, so that nobody is struck who was heard of within its lease:
    such a node may still get the reply that lets it serve. By this node's own clock (monotonic, seconds).
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[str, _Seen] = {}

    def __repr__(self) -> str:
        return f"<Roll {sorted(self._seen)}>"

    def take(self, rows: Mapping[str, bytes]) -> Mapping[str, Member]:
        """What the log says just now."""
        now = self._clock()
        before = self._seen
        self._seen = {
            node: seen if (seen := before.get(node)) and seen.row == row else _Seen(row, now)
            for node, row in rows.items()
        }
        return {node: member_of(row) for node, row in rows.items()}

    def silent(self, node: str, applied: int) -> bytes | None:
        """The row of a node that has stood unchanged for its lease, and says `applied`; None where there is none."""
        seen = self._seen.get(node)
        if seen is None:
            return None
        member = member_of(seen.row)
        return seen.row if member.applied == applied and self._clock() - seen.since >= member.lease else None


def member_of(row: bytes) -> Member:
    applied, lease, _ = row.split(b" ", 2)
    return Member(int(applied), float(lease))
