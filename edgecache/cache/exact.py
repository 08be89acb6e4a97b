"""Entries by scope and exact key, in memory. What is not here may still be in the store."""

from collections.abc import Iterator

import msgspec

from edgecache.cache.bounded import Bounded, BoundedStatistics
from edgecache.cache.changes import Changes
from edgecache.core.entry import Entry, Scope


class ExactCache:
    """Bounded by bytes. Says nothing of whether an entry is alive: the ledger is asked by who serves it."""

    def __init__(self, budget: int) -> None:
        self._entries: Bounded[tuple[Scope, bytes], Entry] = Bounded(budget, Entry.size)
        self._changes: Changes[tuple[Scope, bytes]] = Changes()

    def get(self, scope: Scope, key: bytes) -> Entry | None:
        return self._entries.get((scope, key))

    def peek(self, scope: Scope, key: bytes) -> Entry | None:
        """As `get`, for who does not serve it."""
        return self._entries.peek((scope, key))

    def put(self, entry: Entry) -> None:
        self._changes.note((entry.scope, entry.key))
        self._entries.put((entry.scope, entry.key), entry)

    def mark(self) -> int:
        """To be taken before an entry is read from the store, for `load`."""
        return self._changes.mark()

    def load(self, entry: Entry, mark: int) -> None:
        """Keep what was read from the store since `mark`. Not where one is here, nor where one was put or discarded
        meanwhile: what was read may be an older version, or lack a tag.
        """
        name = (entry.scope, entry.key)
        if self._entries.peek(name) is None and not self._changes.since(name, mark):
            self._entries.put(name, entry)

    def advance(self, entry: Entry, through: int) -> None:
        """This version, if it is here, was held against all purges by meaning up to sequence `through`."""
        name = (entry.scope, entry.key)
        held = self._entries.peek(name)
        if held is not None and held.version == entry.version and held.compared_to < through:
            self._entries.swap(name, msgspec.structs.replace(held, compared_to=through))

    def discard(self, scope: Scope, key: bytes) -> None:
        """Nor is it kept from a `load` that has already read it."""
        self._changes.note((scope, key))
        self._entries.discard((scope, key))

    def note(self, scope: Scope, key: bytes) -> None:
        """What is here is right; what is being read from the store may not be."""
        self._changes.note((scope, key))

    def forget(self, entry: Entry) -> None:
        """Discard this version; one that has replaced it stays."""
        name = (entry.scope, entry.key)
        held = self._entries.peek(name)
        if held is not None and held.version == entry.version:
            self._entries.discard(name)

    def clear(self) -> None:
        self._changes.note_all()
        self._entries.clear()

    def __iter__(self) -> Iterator[Entry]:
        """All entries, of all scopes: for the reaper."""
        return (entry for _, entry in self._entries)

    def statistics(self) -> BoundedStatistics:
        return self._entries.statistics()

    def __repr__(self) -> str:
        return f"<ExactCache {self._entries!r}>"
