"""The purges by meaning that entries are held against, in bounded memory, apart for each scope."""

from collections.abc import Iterator
from itertools import takewhile

import msgspec

from edgecache.core.meaning import Meaning

MEANT = 32
"""Purges by meaning of one scope, and of all scopes, that entries are compared with; about 15 µs each. The reaper moves
entries on past older ones.
"""
MEANT_IN_ALL = 1_024
SCOPES = 4_096
"""Scopes that are told apart."""


class Meant(msgspec.Struct, frozen=True, array_like=True):
    """A purge by meaning at its place in the log."""

    sequence: int
    id: str
    meaning: Meaning


class Held(msgspec.Struct, frozen=True, array_like=True):
    """Of one scope: the oldest first. What was not compared with those up to sequence `floor` is dead."""

    meant: tuple[Meant, ...] = ()
    floor: int = 0
    newest: int = 0

    def since(self, sequence: int) -> Iterator[Meant]:
        """The newest first."""
        return takewhile(lambda meant: meant.sequence > sequence, reversed(self.meant))

    def put(self, meant: Meant) -> "Held":
        return Held((*self.meant, meant), self.floor, meant.sequence)

    def short(self) -> "Held":
        """Without the oldest."""
        return Held(self.meant[1:], self.meant[0].sequence, self.newest)


class FrozenMeanings(msgspec.Struct, frozen=True, array_like=True):
    """All of it, for a snapshot."""

    held: dict[str, Held] = {}
    unlisted: Held = Held()


class Meanings:
    """What is too many is dropped in the scope that has most, so that purges of one cost no other's entries. The empty
    scope stands for those of every scope.
    """

    def __init__(self) -> None:
        self._held: dict[str, Held] = {}
        self._unlisted = Held()  # of scopes that had to be forgotten
        self._size = 0
        self._newest = 0

    def __len__(self) -> int:
        return self._size

    def put(self, meant: Meant) -> None:
        scope = meant.meaning.scope
        held = self._held.pop(scope, self._unlisted if scope else Held())  # so that it becomes the last
        self._held[scope] = held.put(meant)
        self._newest = meant.sequence
        self._size += 1
        if len(self._held[scope].meant) > MEANT:
            self._shorten(scope)
        elif self._size > MEANT_IN_ALL:
            self._shorten(max(self._held, key=lambda scope: len(self._held[scope].meant)))
        if len(self._held) > SCOPES:
            self._unlist(next(scope for scope in self._held if scope))

    def _shorten(self, scope: str) -> None:
        self._held[scope] = self._held[scope].short()
        self._size -= 1

    def _unlist(self, scope: str) -> None:
        held = self._held.pop(scope)
        newest = max(self._unlisted.newest, held.newest)
        self._unlisted = Held((), newest, newest)
        self._size -= len(held.meant)

    def newest(self, scope: str) -> int:
        """Sequence of the newest that concerns this scope; 0 when there was none."""
        return max(held.newest for held in self._of(scope))

    def floor(self, scope: str) -> int:
        """What is of this scope and was not compared up to this sequence is dead."""
        return max(held.floor for held in self._of(scope))

    def since(self, scope: str, sequence: int) -> Iterator[Meant]:
        """Those after `sequence` that concern this scope: its own first, the newest first."""
        if sequence < self._newest:
            for held in self._of(scope):
                yield from held.since(sequence)

    def _of(self, scope: str) -> tuple[Held, Held]:
        return self._held.get(scope, self._unlisted), self._held.get("", Held())

    def frozen(self) -> FrozenMeanings:
        return FrozenMeanings(self._held.copy(), self._unlisted)

    def unpack(self, frozen: FrozenMeanings) -> None:
        self._held, self._unlisted = frozen.held.copy(), frozen.unlisted
        self._size = sum(len(held.meant) for held in self._held.values())
        self._newest = max((held.newest for held in (self._unlisted, *self._held.values())), default=0)

    def __repr__(self) -> str:
        return f"<Meanings {self._size} in {len(self._held)} scopes>"
