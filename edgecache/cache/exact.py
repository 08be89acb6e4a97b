"""Entries by scope and exact key, in memory. What is not here may still be in the store."""

from collections.abc import Iterator

from edgecache.cache.bounded import Bounded, BoundedStatistics
from edgecache.core.entry import Entry, Scope


class ExactCache:
    """Bounded by bytes. Says nothing of whether an entry is alive: the ledger is asked by who serves it."""

    def __init__(self, budget: int) -> None:
        self._entries: Bounded[tuple[Scope, bytes], Entry] = Bounded(budget, Entry.size)

    def get(self, scope: Scope, key: bytes) -> Entry | None:
        return self._entries.get((scope, key))

    def put(self, entry: Entry) -> None:
        self._entries.put((entry.scope, entry.key), entry)

    def discard(self, scope: Scope, key: bytes) -> None:
        self._entries.discard((scope, key))

    def forget(self, entry: Entry) -> None:
        """Discard this very entry; one that has replaced it stays."""
        if self._entries.get((entry.scope, entry.key)) is entry:
            self._entries.discard((entry.scope, entry.key))

    def __iter__(self) -> Iterator[Entry]:
        """All entries, of all scopes: for the reaper."""
        return (entry for _, entry in self._entries)

    def statistics(self) -> BoundedStatistics:
        return self._entries.statistics()

    def __repr__(self) -> str:
        return f"<ExactCache {self._entries!r}>"
