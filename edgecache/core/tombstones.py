"""When each tag was last purged, in bounded memory."""

from collections.abc import Iterable, Iterator
from itertools import islice

import msgspec

from edgecache.core.floors import Floors, FrozenFloors
from edgecache.core.tags import BROAD, Kind, Tag, apart, within

FOLDED_AT_ONCE = 256
SHARES = 4_096
"""Scopes whose purges are remembered apart."""
BROAD_OF_ALL = 16_384
"""Routes, models and scopes whose last purge is known one by one."""
BROAD_OF_SCOPE = 64
"""As much of one scope, for purges within it."""


class Share(msgspec.Struct, array_like=True):
    """What was purged within one scope, or, of all scopes, as a whole: tag -> sequence, in the order of the last purge.

    `tags` were dropped up to sequence `folded` and are looked for among the floors; `broad` ones up to `floor`, where
    each counts as purged. `newest` is the last purge here.
    """

    tags: dict[Tag, int] = {}
    broad: dict[Tag, int] = {}
    newest: int = 0
    folded: int = 0
    floor: int = 0

    def put(self, tag: Tag, sequence: int, most_broad: int) -> int:
        """By how many `tags` are more now."""
        self.newest = sequence
        if tag.kind not in BROAD:
            known = self.tags.pop(tag, None)  # so that it becomes the last
            self.tags[tag] = sequence
            return known is None
        self.broad.pop(tag, None)
        self.broad[tag] = sequence
        if len(self.broad) > most_broad:
            self.floor = max(self.floor, self.broad.pop(next(iter(self.broad))))
        return 0

    def exact(self, tag: Tag) -> int:
        return (self.broad if tag.kind in BROAD else self.tags).get(tag, 0)

    def copied(self) -> "Share":
        return Share(self.tags.copy(), self.broad.copy(), self.newest, self.folded, self.floor)


class Frozen(msgspec.Struct, frozen=True, array_like=True):
    """All of it, of one moment, for a snapshot."""

    bare: Share = msgspec.field(default_factory=Share)
    shares: dict[str, Share] = {}
    unlisted: Share = msgspec.field(default_factory=Share)
    floors: FrozenFloors = FrozenFloors()
    narrow: FrozenFloors = FrozenFloors()

    def is_sound(self) -> bool:
        return self.floors.is_sound() and self.narrow.is_sound()


class Tombstones:
    """Tag -> sequence of its last purge, of `most` tags one by one. What is too many folds into floors, which may say
    that a tag was purged later than it was, and never earlier: 256 KB for purges of all scopes, 256 KB for those within
    one. Who purges most within their scope fold first, so that it is their own entries that pay.

    `log` names the log, so that all who follow it agree.
    """

    def __init__(self, most: int, log: str = "") -> None:
        self._most = most
        self._newest = 0
        self._size = 0
        self._bare = Share()
        self._shares: dict[str, Share] = {}
        self._unlisted = Share()  # never has tags of its own
        self._floors = Floors(log)
        self._narrow = Floors(log)

    def __len__(self) -> int:
        """Tags remembered one by one, but for routes, models and scopes, which are few."""
        return self._size

    @property
    def floored(self) -> int:
        """How many of the floors are in use."""
        return self._floors.used + self._narrow.used

    # --- put ------------------------------------------------------------------------------------------------------

    def put(self, tags: Iterable[Tag], sequence: int) -> None:
        """Sequences never sink."""
        self._newest = sequence
        for tag in tags:
            narrow = apart(tag)
            if narrow is None:
                self._size += self._bare.put(tag, sequence, BROAD_OF_ALL)
            else:
                self._size += self._share(narrow[0]).put(narrow[1], sequence, BROAD_OF_SCOPE)
        while self._size > self._most:
            self._fold()

    def _share(self, scope: str) -> Share:
        share = self._shares.get(scope)
        if share is None:
            if len(self._shares) >= SHARES:
                self._unlist(min(self._shares, key=lambda scope: len(self._shares[scope].tags)))
            unlisted = self._unlisted
            share = Share(newest=unlisted.newest, folded=unlisted.folded, floor=unlisted.floor)
            self._shares[scope] = share
        return share

    def _unlist(self, scope: str) -> None:
        """The smallest: few tags to fold. From now on all that are not listed have one share."""
        share, unlisted = self._shares[scope], self._unlisted
        self._drop(scope, share, len(share.tags))
        unlisted.newest = max(unlisted.newest, share.newest)
        unlisted.folded = max(unlisted.folded, share.folded)
        unlisted.floor = max(unlisted.floor, share.floor, *share.broad.values())
        del self._shares[scope]

    def _fold(self) -> None:
        """Several at once: finding the oldest means to pass by all that were there before it. Purges of all scopes keep
        half of the room at least, and so do those within scopes.
        """
        over = self._size - self._most
        count = max(over, min(FOLDED_AT_ONCE, self._most // 16))
        if len(self._bare.tags) > self._most // 2:
            self._drop(None, self._bare, count)
        else:
            scope = max(self._shares, key=lambda scope: len(self._shares[scope].tags))
            share = self._shares[scope]
            self._drop(scope, share, min(count, -(-len(share.tags) // 2)))

    def _drop(self, scope: str | None, share: Share, count: int) -> None:
        floors = self._floors if scope is None else self._narrow
        for oldest in list(islice(share.tags, count)):
            sequence = share.tags.pop(oldest)
            floors.put(scope or "", oldest, sequence)
            if sequence > share.folded:
                share.folded = sequence
            self._size -= 1

    # --- ask ------------------------------------------------------------------------------------------------------

    def exact(self, tag: Tag) -> int:
        """Sequence of the last purge that named this tag; 0 where there was none, or it is not known any more."""
        narrow = apart(tag)
        return self._bare.exact(tag) if narrow is None else self._listed(narrow[0]).exact(narrow[1])

    def newer(self, tags: Iterable[Tag], sequence: int) -> Tag | None:
        """The first of `tags` purged after `sequence`, also within the scope that they name."""
        return next(self.all_newer(tags, sequence), None)

    def all_newer(self, tags: Iterable[Tag], sequence: int) -> Iterator[Tag]:
        if sequence >= self._newest:
            return
        named = tuple(tags)
        if sequence < self._bare.newest:
            yield from _newer(self._bare, self._floors, "", named, sequence)
        if self._shares:
            scope = next((tag.value for tag in named if tag.kind is Kind.SCOPE), None)
            share = self._listed(scope) if scope is not None else None
            if scope is not None and share is not None and sequence < share.newest:
                yield from (within(scope, tag) for tag in _newer(share, self._narrow, scope, named, sequence))

    def _listed(self, scope: str) -> Share:
        return self._shares.get(scope, self._unlisted)

    # --- keep -----------------------------------------------------------------------------------------------------

    def frozen(self) -> Frozen:
        shares = {scope: share.copied() for scope, share in self._shares.items()}
        floors, narrow = self._floors.frozen(), self._narrow.frozen()
        return Frozen(self._bare.copied(), shares, self._unlisted.copied(), floors, narrow)

    def unpack(self, frozen: Frozen) -> None:
        """Takes over what is in it."""
        self._bare, self._shares, self._unlisted = frozen.bare, frozen.shares, frozen.unlisted
        self._floors.unpack(frozen.floors)
        self._narrow.unpack(frozen.narrow)
        every = (self._bare, self._unlisted, *self._shares.values())
        self._size = sum(len(share.tags) for share in every)
        self._newest = max(share.newest for share in every)

    def __repr__(self) -> str:
        return f"<Tombstones {self._size} of {self._most} floored={self.floored}>"


def _newer(share: Share, floors: Floors, scope: str, tags: tuple[Tag, ...], sequence: int) -> Iterator[Tag]:
    """Most entries are newer than what was folded: for these nothing is looked for among the floors."""
    folded, floored = sequence < share.folded, sequence < share.floor
    for tag in tags:
        if tag.kind in BROAD:
            if floored or share.broad.get(tag, 0) > sequence:
                yield tag
        elif share.tags.get(tag, 0) > sequence or (folded and floors.last(scope, tag) > sequence):
            yield tag
