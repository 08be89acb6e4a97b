"""May this answer be stored, and with what: the last step of a fill."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from weakref import WeakValueDictionary

import msgspec

from edgecache.cache.exact import ExactCache
from edgecache.core.entry import MAX_TAGS, TOO_MANY_TAGS, Entry, Framing, Horizon, Scope
from edgecache.core.ledger import UNCOMPARED, Ledger
from edgecache.core.ports import Embedder, Index, Store
from edgecache.core.tags import Tag
from edgecache.errors import EmbeddingUnavailable, StoreUnavailable
from edgecache.flow.heads import AT_ONCE, Head
from edgecache.flow.tiers import Ask
from edgecache.wire.dialect import Summary
from edgecache.wire.dialects import BY_NAME

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


PASSING = ("purged", "store unavailable")
"""Why something was not stored that says nothing of the answer: the next one may well be."""
CLAIM_TRIES = 5

Claims = Callable[[Entry, tuple[Tag, ...]], Awaitable[None]]
"""Tells every node, in the order of the log, that an entry carries more tags from now on; None where there is no other
node. Raises StoreUnavailable.
"""


async def read(dialect: str, head: Head, body: bytes | None) -> Summary | None:
    """What a whole answer says of itself; None where there is no answer, or it was not kept whole."""
    if body is None or head.framing is None or head.status != 200:
        return None
    summarise, framing = BY_NAME[dialect].summarise, head.framing
    return summarise(framing, body) if len(body) <= AT_ONCE else await asyncio.to_thread(summarise, framing, body)


class Admission:
    """Stores what a fill brought, unless a purge overtook it, and the tags that requests add to it later. One write of
    an entry at a time, so that the store ends with the last one whatever it does at once. `claims` orders claims,
    `stored` tells other nodes of an entry.
    """

    def __init__(
        self,
        ledger: Ledger,
        exact: ExactCache,
        store: Store,
        index: Index,
        embedder: Embedder | None,
        *,
        claims: Claims | None,
        stored: Callable[[Entry], None],
        clock: Callable[[], float],
    ) -> None:
        self._ledger = ledger
        self._exact = exact
        self._store = store
        self._index = index
        self._embedder = embedder
        self._claims = claims
        self._stored = stored
        self._clock = clock
        self._writing: WeakValueDictionary[tuple[Scope, bytes], asyncio.Lock] = WeakValueDictionary()

    async def admit(
        self,
        ask: Ask,
        head: Head,
        body: bytes | None,
        summary: Summary | None,
        tags: tuple[Tag, ...],
        horizon: Horizon,
        vector: bytes | None,
    ) -> str | None:
        """Why nothing was stored; None when it was, durably. `summary` is what `read` found."""
        if body is None or head.framing is None or summary is None:
            return "too large" if body is None else f"status {head.status}" if head.status != 200 else "unknown content"
        why = head.lifetime.forbidden or summary.why_not_stored
        if why is not None:
            return why
        found = None if summary.tool_calls else vector
        entry = self._entry(ask, head, head.framing, body, tags, horizon, found)
        return await self.keep(msgspec.structs.replace(entry, usage=summary.usage))

    async def claim(self, entry: Entry, tags: tuple[Tag, ...]) -> Entry | None:
        """The entry with these tags too, written: as it is now, whoever else on any node adds some at the same time.
        None where that could not be made durable, it is another one now, or it would have too many tags.
        """
        async with self._lock(entry):
            try:
                for _ in range(CLAIM_TRIES):
                    current = await self._store.get(entry.scope, entry.key)
                    if current is None or current.version != entry.version:
                        return None
                    claimed = await self._claimed(current, tags)
                    if claimed is not None:
                        return claimed
            except StoreUnavailable as error:
                _log.warning("tags could not be added to an entry: %s", error)
        return None

    async def _claimed(self, current: Entry, tags: tuple[Tag, ...]) -> Entry | None:
        """None where another node was quicker, or there would be too many tags. What memory holds lacks them, and so
        may what is being read from the store just now: neither stays.
        """
        united = tuple(dict.fromkeys((*current.tags, *tags)))
        if len(united) > MAX_TAGS:
            return None
        fresh = united[len(current.tags) :]
        pending = () if self._claims is None else tuple(dict.fromkeys((*current.pending, *fresh)))
        claimed = msgspec.structs.replace(current, tags=united, pending=pending)
        if claimed != current and not await self._store.replace(current, claimed):
            return None
        self._exact.discard(claimed.scope, claimed.key)
        return await self._announced(claimed) if pending else claimed

    async def _announced(self, claimed: Entry) -> Entry:
        """The entry with no tag pending: every node hears of them before it hears of a later purge of one. Whoever
        finds some pending, because who added them did not come this far, announces them first.
        """
        assert self._claims is not None
        await self._claims(claimed, claimed.pending)
        settled = msgspec.structs.replace(claimed, pending=())
        await self._store.replace(claimed, settled)  # where it fails they are announced once more
        return settled

    async def keep(self, entry: Entry) -> str | None:
        """Store it; why not, or None. The look at the ledger and the write to memory are one step: no purge can come
        between.
        """
        if len(entry.tags) > MAX_TAGS:
            return TOO_MANY_TAGS
        compared = await self._compared(entry)
        async with self._lock(entry):
            if compared is None or self._ledger.killer_of(compared) is not None:
                return "purged"
            entry = compared
            self._exact.put(entry)
            if not await self._write(entry):
                self._stored(entry)  # it may have been written all the same
                return "store unavailable"
        if entry.vector is not None:
            await self._index.add(entry.scope, entry.partition, entry.key, entry.vector)
            if self._ledger.killer_of(entry) is not None:
                # purged since, and maybe reaped before the vector came: nobody else would take it out
                self._index.discard(entry.scope, entry.partition, entry.key)
        self._stored(entry)
        return None

    async def _compared(self, entry: Entry) -> Entry | None:
        """The entry held against the purges by meaning that came while it was filled; None where one covers it."""
        while self._ledger.meaning_of(entry) is UNCOMPARED:
            through = self._ledger.applied
            vector = await self._vector(entry.question)
            since = max(entry.horizon.sequence, entry.compared_to)
            if vector is None or self._ledger.covered(entry.scope, since, vector) is not None:
                return None
            entry = msgspec.structs.replace(entry, compared_to=through)
        return entry

    async def _vector(self, question: str) -> tuple[bytes, str] | None:
        try:
            vector = await self._embedder.embed(question) if self._embedder is not None else None
        except EmbeddingUnavailable as error:
            _log.warning("an answer could not be compared with a purge by meaning: %s", error)
            return None
        return None if vector is None or self._embedder is None else (vector, self._embedder.identity)

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
            stale_while_revalidate=head.lifetime.stale_while_revalidate,
            stale_if_error=head.lifetime.stale_if_error,
            grace=head.lifetime.grace,
            must_revalidate=head.lifetime.strict,
            source=head.source,
            route=ask.route.name,
            model=head.model,
            bound=ask.request.bound,
            dialect=ask.request.dialect,
            framing=framing,
            content_type={n.lower(): v for n, v in head.headers}.get("content-type", "application/json"),
            headers=kept_headers(head.headers),
            body=body,
        )
