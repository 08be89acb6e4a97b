"""The shortest way to an exact hit: what these bytes from this caller asked the last time, and how it was answered.

A request is the same when body, target and every header that counts are the same bytes. What it asks then depends on
the policy and the tokens in force; how it was answered may be said again within the same second, while the same entry
is in memory and nothing at all was purged. Everything else takes the long way.
"""

from edgecache.cache.bounded import Bounded
from edgecache.core.entry import Horizon
from edgecache.core.ports import Tells
from edgecache.core.tags import Tag
from edgecache.edge.metrics import Tally
from edgecache.flow.tiers import Asked

LARGEST = 64 << 10
"""Bytes of the largest body that is remembered."""

TARGETS = 256
"""Targets that are remembered; a caller may send any query."""

Key = tuple[bytes, str, tuple[tuple[bytes, bytes], ...]]

NEVER = Horizon("", -1)


class Reading:
    """One request as it was read, and the head of the last exact hit on it: in which second of Unix time, with the
    ledger where. The entry is known by the tuple of its tags, so that nothing here keeps its body alive; `plain`
    says that its body is sent as it was stored.
    """

    __slots__ = ("asked", "cost", "head", "plain", "saver", "second", "seen", "tags", "tally")

    def __init__(self, asked: Asked, key: Key) -> None:
        """`cost` in bytes: the body and what was read from it, the key, the tags, and the head of an answer."""
        named = sum(len(part) for pair in key[2] for part in pair) + 3 * sum(len(tag.value) for tag in asked.tags)
        self.asked = asked
        self.cost = 4_096 + 4 * len(key[0]) + named + 250 * len(asked.tags)
        self.tags: tuple[Tag, ...] = ()
        self.second = -1
        self.seen = NEVER
        self.tally = Tally()
        self.head: bytes | None = None
        self.plain = False
        self.saver: Tells | None = None


class Readings:
    """Bounded by bytes; emptied whenever policy or tokens change."""

    def __init__(self, budget: int, counted: frozenset[bytes]) -> None:
        self._known: Bounded[Key, Reading] = Bounded(budget, lambda reading: reading.cost)
        self._counted = counted
        self._targets: set[str] = set()
        self._under = (0, 0)

    def knows(self, target: str) -> bool:
        """Whether any request for this target is remembered."""
        return target in self._targets

    def key(self, body: bytes, target: str, headers: tuple[tuple[bytes, bytes], ...]) -> Key:
        counted = self._counted
        return body, target, tuple([pair for pair in headers if pair[0].lower() in counted])

    def find(self, key: Key, under: tuple[int, int]) -> Reading | None:
        """`under` names the policy and the set of tokens in force."""
        if under != self._under:
            self._known.clear()
            self._targets.clear()
            self._under = under
        return self._known.get(key)

    def put(self, key: Key, asked: Asked, under: tuple[int, int]) -> Reading:
        """Not kept when policy or tokens have changed since it was read."""
        reading = Reading(asked, key)
        if under == self._under and len(asked.request.body) <= LARGEST:
            self._known.put(key, reading)
            if len(self._targets) >= TARGETS:
                self._targets.clear()
            self._targets.add(key[1])
        return reading

    def __repr__(self) -> str:
        return f"<Readings {self._known!r}>"
