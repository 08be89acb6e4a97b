"""Purges of old, all that is left of which is about when: constant memory, whatever was purged."""

from hashlib import blake2b
from struct import Struct

import msgspec

from edgecache.core.tags import Tag

TABLE = 65_536
TABLES = 4
FLOORS = TABLE * TABLES
"""Floors of one byte each."""
GENERATION = 1_024
"""Purges that share a generation."""
LAST = 255
"""A floor is one byte: the generation of the newest purge that set it, 0 for none."""

_places = Struct("<4H").unpack


class FrozenFloors(msgspec.Struct, frozen=True, array_like=True):
    """`tops` are the newest sequence of each generation and of those before it, `latest` how many purges the last one
    has so far.
    """

    slots: bytes = b""
    tops: tuple[int, ...] = (0,)
    latest: int = 0

    def is_sound(self) -> bool:
        """Whether floors can be made of it: snapshots may come damaged."""
        rising = all(one <= other for one, other in zip(self.tops, self.tops[1:], strict=False))
        known = bytes(range(min(len(self.tops), LAST + 1)))
        fits = len(self.slots) in (0, FLOORS) and not self.slots.translate(None, known)
        return fits and rising and 0 < len(self.tops) <= LAST + 1 and self.tops[0] == 0


class Floors:
    """A tag has a place in each of four tables, and was purged when the oldest of the four says: never before it was,
    and later only where others took all four since.

    Where m tags were put in after a moment, one that was not seems purged since with (1 - exp(-m / 65,536))^4. Places
    are a digest keyed with the log's name, the same on all nodes: who may purge cannot choose tags that share them.
    """

    def __init__(self, log: str) -> None:
        self._keyed = blake2b(log.encode(errors="surrogatepass"), digest_size=8)
        self._slots = bytearray()
        self._tops = [0]
        self._latest = 0

    def put(self, scope: str, tag: Tag, sequence: int) -> None:
        """In any order: a generation is as new as those before it, and so a floor never sinks."""
        self._slots = self._slots or bytearray(FLOORS)
        if self._latest == GENERATION or len(self._tops) == 1:
            self._begin()
        self._latest += 1
        if sequence > self._tops[-1]:
            self._tops[-1] = sequence
        slots, generation = self._slots, len(self._tops) - 1
        first, second, third, fourth = self._of(scope, tag)
        slots[first] = slots[second] = slots[third] = slots[fourth] = generation

    def _begin(self) -> None:
        if len(self._tops) > LAST:
            self._halve()
        self._tops.append(self._tops[-1])
        self._latest = 0

    def _halve(self) -> None:
        """Of 255 generations two each become one, as new as the newer."""
        self._slots = self._slots.translate(bytes((number + 1) // 2 for number in range(256)))
        self._tops = [0, *self._tops[2::2], self._tops[-1]]

    def last(self, scope: str, tag: Tag) -> int:
        """Sequence of the last purge that may have been of this tag in this scope; 0 when there was none."""
        if not self._slots:
            return 0
        slots = self._slots
        first, second, third, fourth = self._of(scope, tag)
        return self._tops[min(slots[first], slots[second], slots[third], slots[fourth])]

    def _of(self, scope: str, tag: Tag) -> tuple[int, int, int, int]:
        keyed = self._keyed.copy()
        keyed.update(f"{scope}\0{tag.kind}\0{tag.value}".encode(errors="surrogatepass"))
        first, second, third, fourth = _places(keyed.digest())
        return first, TABLE + second, 2 * TABLE + third, 3 * TABLE + fourth

    @property
    def used(self) -> int:
        """How many are in use: looks at all of them, about 0.1 ms."""
        return len(self._slots) - self._slots.count(0)

    def frozen(self) -> FrozenFloors:
        return FrozenFloors(bytes(self._slots), tuple(self._tops), self._latest)

    def unpack(self, frozen: FrozenFloors) -> None:
        self._slots, self._tops, self._latest = bytearray(frozen.slots), list(frozen.tops), frozen.latest

    def __repr__(self) -> str:
        return f"<Floors {self.used} of {FLOORS} in use, {len(self._tops) - 1} generations>"
