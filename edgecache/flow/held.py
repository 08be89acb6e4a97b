"""Entries by key, from memory or else from the store."""

import logging

from edgecache.cache.exact import ExactCache
from edgecache.core.entry import Entry, Scope
from edgecache.core.ports import Store
from edgecache.errors import StoreUnavailable
from edgecache.flow.fence import Fence

_log = logging.getLogger("edgecache.flow")


class Held:
    """What is alive in memory needs no look at the store; what is dead there may have been replaced by another node."""

    def __init__(self, exact: ExactCache, store: Store, fence: Fence) -> None:
        self._exact = exact
        self._store = store
        self._fence = fence

    async def get(self, scope: Scope, key: bytes) -> Entry | None:
        """Alive when this returns, or None.

        Raises:
            StoreUnavailable: it is not in memory.
        """
        held = self._alive(scope, key)
        if held is not None:
            return held
        mark = self._exact.mark()
        entry = await self._store.get(scope, key)
        held = self._alive(scope, key)  # what came meanwhile is newer, or has more tags
        if held is not None or entry is None or not self._fence.is_alive(entry):
            return held
        self._exact.load(entry, mark)
        return entry

    def _alive(self, scope: Scope, key: bytes) -> Entry | None:
        entry = self._exact.get(scope, key)
        if entry is not None and not self._fence.is_alive(entry):
            self._exact.forget(entry)
            return None
        return entry

    async def find(self, scope: Scope, key: bytes) -> Entry | None:
        """As `get`; without the store requests are still answered, from upstream."""
        try:
            return await self.get(scope, key)
        except StoreUnavailable as error:
            _log.warning("lookup without the store: %s", error)
            return None

    def __repr__(self) -> str:
        return f"<Held {self._exact!r}>"
