"""What an answer was made from: the documents and answers of this cache that a request names as its sources.

An answer that was made from them carries their tags, so that purging a page takes back what was said of it; and
it is no younger than the moment at which they were all found alive.
"""

import logging

import msgspec

from edgecache.core.entry import MAX_TAGS, Entry
from edgecache.core.ports import Store
from edgecache.core.tags import Kind, Tag
from edgecache.errors import BadRequest, StoreUnavailable
from edgecache.flow.fence import Fence
from edgecache.flow.tiers import Ask

HEADER = "X-Edgecache-Sources"
MOST = 32
"""Sources of one request."""
_INHERITED = (Kind.KEY, Kind.ID, Kind.URL, Kind.USER, Kind.ROUTE, Kind.MODEL)

_log = logging.getLogger("edgecache.flow")


def parse_sources(value: str) -> tuple[bytes, ...]:
    """Ids, as `X-Edgecache-Id` gives them, separated by spaces or commas. Raises BadRequest."""
    names = value.replace(",", " ").split()
    if len(names) > MOST:
        raise BadRequest(f"{len(names)} sources named, at most {MOST}.", param=HEADER)
    for name in names:
        if len(name) != 32 or name.strip("0123456789abcdef"):
            raise BadRequest(f"A source is named by its X-Edgecache-Id, 32 hexadecimal digits; not {name[:40]!r}.")
    return tuple(bytes.fromhex(name) for name in dict.fromkeys(names))


class Sources:
    """Looks sources up in the store."""

    def __init__(self, store: Store, fence: Fence) -> None:
        self._store = store
        self._fence = fence

    async def settle(self, ask: Ask) -> Ask | str:
        """The request with its sources' tags, or why what is made for it must not be kept or shared."""
        if not ask.sources:
            return ask
        try:
            found = [await self._store.head(key) for key in ask.sources]
        except StoreUnavailable as error:
            _log.warning("sources could not be looked up: %s", error)
            return "sources unknown"
        entries = [entry for entry in found if entry is not None and entry.scope == ask.scope]
        # from here on no await: all were alive at one moment, which is the horizon
        if len(entries) < len(ask.sources) or not all(map(self._fence.is_current, entries)):
            return "source gone"
        tags = tuple(dict.fromkeys((*ask.tags, *(tag for entry in entries for tag in inherited(entry)))))
        if len(tags) > MAX_TAGS:
            return "too many tags"
        return msgspec.structs.replace(ask, tags=tags, sources=(), since=self._fence.ledger.horizon())


def inherited(entry: Entry) -> tuple[Tag, ...]:
    """What tells an entry from others of its scope: all that somebody could purge it by."""
    return tuple(tag for tag in entry.tags if tag.kind in _INHERITED)
