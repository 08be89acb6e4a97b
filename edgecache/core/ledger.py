"""The ledger: which tags were purged when, and so which entries are dead.

A purge takes effect the moment it is applied here, however many entries it kills. Nothing else decides whether an
entry is alive: it is asked when an entry is stored and again at every read, after the last await.
"""

import zlib
from array import array
from collections.abc import Iterable

import msgspec

from edgecache.core.entry import Horizon
from edgecache.core.purges import Logged
from edgecache.core.tags import EVERYTHING, Tag

FLOORS = 65_536


class LedgerStatistics(msgspec.Struct, frozen=True):
    """`tombstones` are tags remembered one by one, `floored` how many of the 65,536 floors are in use."""

    log: str
    applied: int
    floor: int
    tombstones: int
    floored: int


class Snapshot(msgspec.Struct, frozen=True, array_like=True):
    """All of a ledger: what the log's records up to `applied` come to."""

    log: str
    applied: int
    floor: int
    tombstones: tuple[tuple[Tag, int], ...]
    floors: bytes


class Ledger:
    """Tag -> sequence of its last purge. Memory is bounded: old tombstones fold into 65,536 floors by hash of the tag,
    which may kill a tag's neighbours but never lets one live that is dead.
    """

    def __init__(self, log: str, *, max_tombstones: int = 200_000) -> None:
        self._max_tombstones = max_tombstones
        self.reset(log)

    def reset(self, log: str) -> None:
        """Begin with an empty log called `log`: what was filled under another one is dead."""
        self.log = log
        self.applied = 0
        self._floor = 0
        self._purged: dict[Tag, int] = {}
        self._floors = array("Q", bytes(8 * FLOORS))
        self._floored = False

    def horizon(self) -> Horizon:
        """Read this before a fill begins: what is purged later kills what the fill brings."""
        return Horizon(self.log, self.applied)

    def apply(self, logged: Logged) -> None:
        """Take effect of one record. A record seen before changes nothing; a gap before it kills all that is older."""
        if logged.sequence <= self.applied:
            return
        if logged.sequence != self.applied + 1:
            self._floor = logged.sequence
        self.applied = logged.sequence
        for tag in logged.record.tags:
            self._purged.pop(tag, None)  # so that the dict stays in the order of the last purge
            self._purged[tag] = logged.sequence
        self._trim()

    def _trim(self) -> None:
        while len(self._purged) > self._max_tombstones:
            tag = next(iter(self._purged))
            slot = _slot(tag)
            self._floors[slot] = max(self._floors[slot], self._purged.pop(tag))
            self._floored = True

    def last_purge(self, tag: Tag) -> int:
        """Sequence of the last purge that may have named this tag; 0 when there was none."""
        exact = self._purged.get(tag, 0)
        return max(exact, self._floors[_slot(tag)]) if self._floored else exact

    def killer(self, tags: Iterable[Tag], horizon: Horizon) -> Tag | None:
        """The first tag purged after `horizon`, or None: then what carries these tags is alive.

        A horizon of another log, or one below the floor, is dead of `EVERYTHING`.
        """
        if horizon.sequence == self.applied and horizon.log == self.log:
            return None
        if horizon.log != self.log or horizon.sequence < self._floor:
            return EVERYTHING
        return next((tag for tag in tags if self.last_purge(tag) > horizon.sequence), None)

    def stops_joiner(self, tags: Iterable[Tag], horizon: Horizon, arrival: int) -> bool:
        """Whether one that arrived when `arrival` was applied must not be given what was begun at `horizon`.

        Only purges between the two count. The ledger remembers the last purge of a tag alone, so a tag purged again
        after the arrival counts as purged before it, unless nothing at all was.
        """
        return arrival > horizon.sequence and self.killer(tags, horizon) is not None

    def snapshot(self) -> bytes:
        """For the store, so that the log can be trimmed up to `applied`."""
        floors = self._floors.tobytes() if self._floored else b""
        whole = Snapshot(self.log, self.applied, self._floor, tuple(self._purged.items()), floors)
        return msgspec.msgpack.encode(whole)

    def restore(self, snapshot: bytes) -> None:
        """Start from a snapshot of the same log; an older, an unreadable or another log's changes nothing."""
        try:
            whole = msgspec.msgpack.decode(snapshot, type=Snapshot)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return
        if whole.log != self.log or whole.applied < self.applied or len(whole.floors) not in (0, 8 * FLOORS):
            return
        self.applied, self._floor = whole.applied, whole.floor
        self._purged = dict(whole.tombstones)
        self._floored = bool(whole.floors)
        self._floors = array("Q", whole.floors or bytes(8 * FLOORS))

    def statistics(self) -> LedgerStatistics:
        floored = sum(1 for floor in self._floors if floor) if self._floored else 0
        return LedgerStatistics(self.log, self.applied, self._floor, len(self._purged), floored)

    def __repr__(self) -> str:
        return f"<Ledger {self.log} applied={self.applied} floor={self._floor} tombstones={len(self._purged)}>"


def _slot(tag: Tag) -> int:
    """Stable over restarts and nodes, unlike hash()."""
    return zlib.crc32(f"{tag.kind}\0{tag.value}".encode(errors="surrogatepass")) & (FLOORS - 1)
