"""May this answer be stored, and with what: the last step of a fill."""

import asyncio
import logging
from collections.abc import Callable
from weakref import WeakValueDictionary

import msgspec

from edgecache.cache.exact import ExactCache
from edgecache.core.entry import MAX_TAGS, Entry, Framing, Horizon, Scope
from edgecache.core.ledger import Ledger
from edgecache.core.ports import Embedder, Index, Store
from edgecache.core.tags import Tag
from edgecache.errors import StoreUnavailable
from edgecache.flow.tiers import Ask, Head
from edgecache.purge.reaper import Reaper
from edgecache.wire.openai_reply import Summary, summarise
from edgecache.wire.openai_request import DIALECT

_log = logging.getLogger("edgecache.admit")

_KEPT = ("content-language", "openai-model", "openai-version")
"""Headers that belong to the answer. All others may belong to one response, one connection or one caller: providers
give ids and limits, set cookies, and some say back what a request said.
"""
_SHARED = ("content-type", "content-encoding", "retry-after")
"""Not kept with an answer as they came, but true for everyone who waits for this very response."""


def kept_headers(headers: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """What others than the one who asked may see of a provider's headers."""
    return tuple((name, value) for name, value in headers if name.lower() in _KEPT)


def shared_headers(headers: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """What others who asked the same at the same time may see."""
    return tuple((name, value) for name, value in headers if name.lower() in (*_KEPT, *_SHARED))


AT_ONCE = 64 << 10
"""Bytes of an answer that are read on the event loop."""


async def _read(framing: Framing, body: bytes) -> Summary:
    return summarise(framing, body) if len(body) <= AT_ONCE else await asyncio.to_thread(summarise, framing, body)


class Admission:
    """Stores what a fill brought, unless a purge overtook it, and the tags that requests add to it later. One write of
    an entry at a time, so that the store ends with the last one whatever it does at once.
    """

    def __init__(
        self,
        ledger: Ledger,
        exact: ExactCache,
        store: Store,
        index: Index,
        embedder: Embedder | None,
        reaper: Reaper,
        *,
        clock: Callable[[], float],
    ) -> None:
        self._ledger = ledger
        self._exact = exact
        self._store = store
        self._index = index
        self._embedder = embedder
        self._reaper = reaper
        self._clock = clock
        self._writing: WeakValueDictionary[tuple[Scope, bytes], asyncio.Lock] = WeakValueDictionary()

    async def admit(
        self, ask: Ask, head: Head, body: bytes | None, tags: tuple[Tag, ...], horizon: Horizon, vector: bytes | None
    ) -> str | None:
        """Why nothing was stored; None when it was, durably."""
        if head.status != 200 or head.framing is None or body is None:
            return "too large" if body is None else f"status {head.status}" if head.status != 200 else "unknown content"
        if head.lifetime.forbidden is not None:
            return head.lifetime.forbidden
        summary = await _read(head.framing, body)
        if summary.why_not_stored is not None:
            return summary.why_not_stored
        entry = self._entry(ask, head, head.framing, body, tags, horizon, None if summary.tool_calls else vector)
        return await self._keep(entry)

    async def claim(self, entry: Entry, tags: tuple[Tag, ...]) -> Entry | None:
        """The entry with these tags too, written: as it is now, whoever else adds some at the same time. None where
        that could not be made durable, it is another one now, or it would have too many tags.
        """
        async with self._lock(entry):
            current = await self._current(entry)
            if current is None or current.stored_at != entry.stored_at:
                return None
            united = tuple(dict.fromkeys((*current.tags, *tags)))
            if len(united) == len(current.tags):
                return current
            if len(united) > MAX_TAGS:
                return None
            claimed = msgspec.structs.replace(current, tags=united)
            self._exact.put(claimed)
            return claimed if await self._write(claimed) else None

    async def _current(self, entry: Entry) -> Entry | None:
        """As memory holds it after the last await, else the store: `entry` itself may be older than others' tags."""
        held = self._exact.get(entry.scope, entry.key)
        if held is not None:
            return held
        try:
            stored = await self._store.get(entry.scope, entry.key)
        except StoreUnavailable as error:
            _log.warning("an entry could not be read again: %s", error)
            return None
        return self._exact.get(entry.scope, entry.key) or stored

    async def _keep(self, entry: Entry) -> str | None:
        """The look at the ledger and the write to memory are one step: no purge can come between."""
        async with self._lock(entry):
            if self._ledger.killer(entry.tags, entry.horizon) is not None:
                return "purged"
            self._exact.put(entry)
            self._reaper.spare(entry.scope, entry.key)
            if not await self._write(entry):
                return "store unavailable"
        if entry.vector is not None:
            await self._index.add(entry.scope, entry.partition, entry.key, entry.vector)
            if self._ledger.killer(entry.tags, entry.horizon) is not None:
                # purged since, and maybe reaped before the vector came: nobody else would take it out
                self._index.discard(entry.scope, entry.partition, entry.key)
        return None

    async def _write(self, entry: Entry) -> bool:
        """Durably; what could not be is not served from memory either."""
        try:
            await self._store.put(entry)
        except StoreUnavailable as error:
            _log.error("an answer or a tag of it could not be stored: %s", error)
            self._exact.forget(entry)
            return False
        return True

    def _lock(self, entry: Entry) -> asyncio.Lock:
        return self._writing.setdefault((entry.scope, entry.key), asyncio.Lock())

    def _entry(
        self,
        ask: Ask,
        head: Head,
        framing: Framing,
        body: bytes,
        tags: tuple[Tag, ...],
        horizon: Horizon,
        vector: bytes | None,
    ) -> Entry:
        assert ask.identity is not None
        return Entry(
            key=ask.identity.key,
            scope=ask.identity.scope,
            partition=ask.identity.partition,
            question=ask.identity.text,
            vector=vector,
            embedder=self._embedder.identity if vector is not None and self._embedder is not None else "",
            tags=tags,
            horizon=horizon,
            stored_at=self._clock(),
            ttl=head.lifetime.ttl,
            source=head.source,
            route=ask.route.name,
            model=head.model,
            dialect=DIALECT,
            framing=framing,
            content_type={n.lower(): v for n, v in head.headers}.get("content-type", "application/json"),
            headers=kept_headers(head.headers),
            body=body,
        )
