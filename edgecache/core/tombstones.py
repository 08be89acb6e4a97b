"""When each tag was last purged, in bounded memory."""

import zlib
from array import array
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice

from edgecache.core.tags import Kind, Tag, within

FLOORS = 65_536
FOLDED_AT_ONCE = 256


class Tombstones:
    """Tag -> sequence of its last purge. Old ones fold into 65,536 floors by hash of the tag (512 KB), which may kill a
    tag's neighbours but never lets one live that is dead.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._purged: dict[Tag, int] = {}
        self._floors = array("Q")
        self._floored = 0
        self._narrow = False

    def __len__(self) -> int:
        return len(self._purged)

    @property
    def floored(self) -> int:
        """How many of the floors are in use."""
        return self._floored

    def put(self, tags: Iterable[Tag], sequence: int) -> None:
        for tag in tags:
            self._purged.pop(tag, None)  # so that the dict stays in the order of the last purge
            self._purged[tag] = sequence
            self._narrow = self._narrow or tag.kind is Kind.WITHIN
        while len(self._purged) > self._most:
            self._fold()

    def _fold(self) -> None:
        """Several at once: finding the oldest means to pass by all that were there before it."""
        self._floors = self._floors or array("Q", bytes(8 * FLOORS))
        over = len(self._purged) - self._most
        for oldest in list(islice(self._purged, max(over, min(FOLDED_AT_ONCE, self._most // 16)))):
            slot = _slot(oldest)
            self._floored += not self._floors[slot]
            self._floors[slot] = max(self._floors[slot], self._purged.pop(oldest))

    def last(self, tag: Tag) -> int:
        """Sequence of the last purge that may have named this tag; 0 when there was none."""
        exact = self._purged.get(tag, 0)
        return max(exact, self._floors[_slot(tag)]) if self._floors else exact

    def newer(self, tags: Iterable[Tag], sequence: int) -> Tag | None:
        """The first of `tags` purged after `sequence`, also within the scope that they name."""
        return next(self.all_newer(tags, sequence), None)

    def all_newer(self, tags: Iterable[Tag], sequence: int) -> Iterator[Tag]:
        if not self._purged and not self._floors:
            return
        named = tuple(tags)
        for tag in chain(named, _narrowed(named)) if self._narrow else named:
            if self.last(tag) > sequence:
                yield tag

    def frozen(self) -> tuple[dict[Tag, int], bytes]:
        """For a snapshot: what is remembered one by one, and the floors, empty where none is in use."""
        return self._purged.copy(), self._floors.tobytes()

    def unpack(self, purged: Mapping[Tag, int], floors: bytes) -> None:
        self._purged = dict(purged)
        self._floors = array("Q", floors)
        self._floored = sum(1 for floor in self._floors if floor)
        # what folded may have been narrow: then it is looked for among the floors too
        self._narrow = bool(floors) or any(tag.kind is Kind.WITHIN for tag in self._purged)

    def __repr__(self) -> str:
        return f"<Tombstones {len(self._purged)} of {self._most} floored={self.floored}>"


def _narrowed(tags: tuple[Tag, ...]) -> Iterator[Tag]:
    scope = next((tag.value for tag in tags if tag.kind is Kind.SCOPE), None)
    if scope is not None:
        yield from (within(scope, tag) for tag in tags if tag.kind not in (Kind.ALL, Kind.SCOPE))


def _slot(tag: Tag) -> int:
    """Stable over restarts and nodes, unlike hash()."""
    return zlib.crc32(f"{tag.kind}\0{tag.value}".encode(errors="surrogatepass")) & (FLOORS - 1)
