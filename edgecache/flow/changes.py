"""What requests change is invalidated (RFC 9111 section 4.4): few orders, however many requests.

While an order is under way, and for a moment after it, what else is to be invalidated is collected for the next one.
Each request waits for an order that began after its own answer came, so that nothing is served from before it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence

from edgecache.core.entry import Scope
from edgecache.core.policy import Invalidate, Mode
from edgecache.core.tags import MAX_KEYS_PER_PURGE, Tag, within
from edgecache.errors import StoreUnavailable
from edgecache.policy_book import PolicyBook
from edgecache.purge.orders import document_tag

_log = logging.getLogger("edgecache.documents")

PAUSE = 0.02
"""Seconds from the end of an order to the next one: a caller who changes things all the time does not fill the log."""

Order = Callable[[Sequence[Tag]], Awaitable[object]]
"""In force on this node when it returns. Raises StoreUnavailable."""


class Changes:
    """One per node. `hosts` are the names under which the origins may speak of themselves."""

    def __init__(self, book: PolicyBook, order: Order, *, hosts: frozenset[str] = frozenset()) -> None:
        self._book = book
        self._order = order
        self.hosts = hosts
        self._pending: dict[Tag, None] = {}
        self._next: asyncio.Task[bool] | None = None
        self._one = asyncio.Lock()
        self._not_before = 0.0
        self._tasks: set[asyncio.Task[bool]] = set()

    def tags(self, scope: Scope, paths: Iterable[str]) -> tuple[Tag, ...]:
        """What is to be ordered when a caller of `scope` changed these paths: each as the rule for it says."""
        found = (self._tag(scope, path) for path in paths)
        return tuple(dict.fromkeys(tag for tag in found if tag is not None))

    def _tag(self, scope: Scope, path: str) -> Tag | None:
        rule = self._book.policy.choose(path, "", scope)
        if rule is None or rule.mode is not Mode.HTTP or rule.invalidate is Invalidate.OFF:
            return None
        tag = document_tag(path)
        return tag if rule.invalidate is Invalidate.ALL else within(scope, tag)

    async def invalidate(self, tags: Sequence[Tag]) -> bool:
        """False where that is not known to be in the log. It goes on when who waits for it leaves."""
        self._pending.update(dict.fromkeys(tags))
        if self._next is None:
            self._next = asyncio.create_task(self._flush())
            self._tasks.add(self._next)
            self._next.add_done_callback(self._tasks.discard)
        return await asyncio.shield(self._next)

    async def _flush(self) -> bool:
        """Who comes after this one has taken what is pending waits for the next one."""
        clock = asyncio.get_running_loop().time
        async with self._one:
            await asyncio.sleep(max(0.0, self._not_before - clock()))
            tags, self._pending, self._next = tuple(self._pending), {}, None
            try:
                for first in range(0, len(tags), MAX_KEYS_PER_PURGE):
                    await self._order(tags[first : first + MAX_KEYS_PER_PURGE])
            except StoreUnavailable as error:
                _log.error("what requests changed could not be purged, %d tags: %s", len(tags), error)
                return False
            finally:
                self._not_before = clock() + PAUSE
        return True

    async def close(self) -> None:
        """Waits until what was changed is in the log."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def __repr__(self) -> str:
        return f"<Changes pending={len(self._pending)}>"
