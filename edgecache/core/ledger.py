"""The ledger: what was purged when, and so which entries are dead, and which are stale.

A purge takes effect the moment it is applied here, however many entries it kills. Nothing else decides whether an
entry is alive: it is asked when an entry is stored and again at every read, after the last await.
"""

from collections.abc import Iterable

import msgspec

from edgecache.core.entry import Entry, Horizon
from edgecache.core.meanings import FrozenMeanings, Meanings, Meant
from edgecache.core.purges import Effect, Logged, PurgeRecord
from edgecache.core.tags import EVERYTHING, Kind, Tag
from edgecache.core.tombstones import Frozen, Tombstones

UNCOMPARED = Tag(Kind.MEANING, "")
"""Names no purge: the entry has yet to be held against one by meaning, for which it has no vector."""
NEVER_FRESH = float("-inf")


class LedgerStatistics(msgspec.Struct, frozen=True):
    """`tombstones` are tags remembered one by one, `floored` how many floors are in use; `soft` and
    `meanings` are purges of these kinds; `unknown` records could not be read here.
    """

    log: str
    applied: int
    floor: int
    tombstones: int
    floored: int
    soft: int = 0
    meanings: int = 0
    unknown: int = 0


class Snapshot(msgspec.Struct, frozen=True, array_like=True):
    """All of a ledger: what the log's records up to `applied` come to."""

    log: str
    applied: int
    floor: int
    hard: Frozen = Frozen()
    soft: Frozen = Frozen()
    soft_times: dict[int, float] = {}
    meanings: FrozenMeanings = FrozenMeanings()

    def encode(self) -> bytes:
        """Takes a while where much is remembered: not for the event loop."""
        return msgspec.msgpack.encode(self)


class Ledger:
    """Bounded memory: of `max_tombstones` tags purged, and as many softly, the time is known one by one."""

    def __init__(self, log: str, *, max_tombstones: int = 200_000) -> None:
        self._most = max_tombstones
        self.reset(log)

    def reset(self, log: str) -> None:
        """Begin with an empty log called `log`: what was filled under another one is dead."""
        self.log = log
        self.applied = 0
        self._floor = 0
        self._hard = Tombstones(self._most, log)
        self._soft = Tombstones(self._most, log)
        self._soft_times: dict[int, float] = {}
        self._meanings = Meanings()
        self._unknown = 0

    def horizon(self) -> Horizon:
        """Read this before a fill begins: what is purged later kills what the fill brings."""
        return Horizon(self.log, self.applied)

    # --- apply ----------------------------------------------------------------------------------------------------

    def apply(self, logged: Logged) -> None:
        """Take effect of one record. A record seen before changes nothing; a gap before it kills all that is older, and
        so does one that cannot be read.
        """
        if logged.sequence <= self.applied:
            return
        if logged.sequence != self.applied + 1:
            self._floor = logged.sequence
        self.applied = logged.sequence
        if logged.record is None:
            self._floor = logged.sequence
            self._unknown += 1
        else:
            self._take(logged.sequence, logged.record)

    def _take(self, sequence: int, record: PurgeRecord) -> None:
        if record.effect is Effect.PURGE:
            self._hard.put(record.tags, sequence)
        elif record.effect is Effect.SOFT:
            self._soft.put(record.tags, sequence)
            self._soft_times[sequence] = record.at
            if len(self._soft_times) > self._most:
                del self._soft_times[next(iter(self._soft_times))]
        if record.meaning is not None:
            self._meanings.put(Meant(sequence, record.id, record.meaning))

    # --- ask ------------------------------------------------------------------------------------------------------

    def last_purge(self, tag: Tag) -> int:
        """Sequence of the last hard purge that named this tag; 0 when there was none, or that is not known any more."""
        return self._hard.exact(tag)

    def last_meant(self, scope: str) -> int:
        """Sequence of the newest purge by meaning that concerns this scope; 0 when there was none."""
        return self._meanings.newest(scope)

    def killer(self, tags: Iterable[Tag], horizon: Horizon) -> Tag | None:
        """The first tag purged after `horizon`, or None: then what carries these tags is alive, as far as tags go.

        A horizon of another log, or one below the floor, is dead of `EVERYTHING`.
        """
        if self._forgotten(horizon):
            return EVERYTHING
        if horizon.sequence == self.applied:
            return None
        return self._hard.newer(tags, horizon.sequence)

    def _forgotten(self, horizon: Horizon) -> bool:
        """Whether it is not known what was purged since."""
        return horizon.sequence < self._floor or horizon.log != self.log

    def killer_of(self, entry: Entry) -> Tag | None:
        """Why this entry may not be served: a tag of it was purged since its fill began, a purge by meaning covers it,
        or it has to be compared with one first (`UNCOMPARED`). None when it is alive.
        """
        return self.killer(entry.tags, entry.horizon) or self.meaning_of(entry)

    def meaning_of(self, entry: Entry) -> Tag | None:
        """As `killer_of`, of purges by meaning alone."""
        return None if entry.document is not None else self.covered(entry.scope, _compared(entry), _vector_of(entry))

    def covered(self, scope: str, since: int, vector: tuple[bytes, str] | None) -> Tag | None:
        """The purge by meaning after sequence `since` that covers a question with this vector (with the name of its
        embedder); `UNCOMPARED` where it has none that could be compared.
        """
        if since < self._meanings.floor(scope):
            return EVERYTHING
        for meant in self._meanings.since(scope, since):
            if vector is None or vector[1] != meant.meaning.embedder:
                return UNCOMPARED
            if meant.meaning.covers(vector[0]):
                return Tag(Kind.MEANING, meant.id)
        return None

    def softened(self, tags: Iterable[Tag], horizon: Horizon) -> float | None:
        """Since when (Unix seconds) what carries these tags is stale by a soft purge; None where it is not. Where that
        is not known any more: since ever.
        """
        if horizon.sequence == self.applied:
            return None
        purged = self._soft.all_newer(tags, horizon.sequence)
        return min((self._soft_times.get(self._soft.exact(tag), NEVER_FRESH) for tag in purged), default=None)

    def stops_joiner(self, tags: Iterable[Tag], horizon: Horizon, arrival: int) -> bool:
        """Whether one that arrived when `arrival` was applied must not be given what was begun at `horizon`.

        Only purges between the two count, soft ones too. The ledger remembers the last purge of a tag alone, so a tag
        purged again after the arrival counts as purged before it, unless nothing at all was.
        """
        if self._forgotten(horizon):  # and an arrival may be of another log: nothing to compare
            return True
        if arrival <= horizon.sequence:
            return False
        named = tuple(tags)
        return self.killer(named, horizon) is not None or self.softened(named, horizon) is not None

    # --- keep -----------------------------------------------------------------------------------------------------

    def frozen(self) -> Snapshot:
        """As it is now: for the store, so that the log can be trimmed up to `applied`."""
        hard, soft = self._hard.frozen(), self._soft.frozen()
        times, meanings = self._soft_times.copy(), self._meanings.frozen()
        return Snapshot(self.log, self.applied, self._floor, hard, soft, times, meanings)

    def snapshot(self) -> bytes:
        return self.frozen().encode()

    def restore(self, snapshot: bytes) -> None:
        """Start from a snapshot of the same log; an older, an unreadable or another log's changes nothing."""
        try:
            whole = msgspec.msgpack.decode(snapshot, type=Snapshot)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return
        if whole.log != self.log or whole.applied < self.applied:
            return
        if not (whole.hard.is_sound() and whole.soft.is_sound()):
            return
        self.applied, self._floor = whole.applied, whole.floor
        self._hard.unpack(whole.hard)
        self._soft.unpack(whole.soft)
        self._soft_times = dict(whole.soft_times)
        self._meanings.unpack(whole.meanings)

    def statistics(self) -> LedgerStatistics:
        return LedgerStatistics(
            self.log,
            self.applied,
            self._floor,
            len(self._hard),
            self._hard.floored,
            soft=len(self._soft),
            meanings=len(self._meanings),
            unknown=self._unknown,
        )

    def __repr__(self) -> str:
        return f"<Ledger {self.log} applied={self.applied} floor={self._floor} tombstones={len(self._hard)}>"


def _compared(entry: Entry) -> int:
    return max(entry.horizon.sequence, entry.compared_to)


def _vector_of(entry: Entry) -> tuple[bytes, str] | None:
    return (entry.vector, entry.embedder) if entry.vector is not None else None
