"""A store, a feed and an audit log in memory, shared by the nodes of one test."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence

import msgspec

from edgecache.core.entry import Entry, Scope
from edgecache.core.ports import AuditLine, News
from edgecache.errors import StoreUnavailable

PAGE = 100


class SharedStore:
    """The port `Store`. `hold(name)` stops calls of that name, before they do anything or after it (`"delete done"`),
    until `go(name)`; `reached(name)` waits for one. `fail(name)` lets the next such call raise, or one `after` others.
    """

    def __init__(self, *entries: Entry) -> None:
        self.entries = {entry.key: entry for entry in entries}
        self.calls: Counter[str] = Counter()
        self._held: dict[str, asyncio.Event] = {}
        self._reached: dict[str, asyncio.Event] = {}
        self._failing: dict[str, tuple[int, Exception]] = {}

    def hold(self, name: str) -> None:
        self._held[name], self._reached[name] = asyncio.Event(), asyncio.Event()

    def go(self, name: str) -> None:
        self._held.pop(name).set()

    def let_others(self, name: str) -> asyncio.Event:
        """Calls that come from now on go on; those that were held when the event is set."""
        return self._held.pop(name)

    async def reached(self, name: str) -> None:
        await self._reached[name].wait()

    def fail(self, name: str, error: Exception | None = None, *, after: int = 0) -> None:
        self._failing[name] = (self.calls[name] + after + 1, error or StoreUnavailable("away"))

    async def _at(self, name: str) -> None:
        self.calls[name] += 1
        if name in self._held:
            held = self._held[name]
            self._reached[name].set()
            await held.wait()
        number, error = self._failing.get(name, (0, None))
        if error is not None and self.calls[name] == number:
            raise error

    async def open(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """What is in it stays."""

    async def get(self, scope: Scope, key: bytes) -> Entry | None:
        entry = await self.find(key)
        return entry if entry is not None and entry.scope == scope else None

    async def find(self, key: bytes) -> Entry | None:
        await self._at("find")
        entry = self.entries.get(key)
        await self._at("find done")
        return entry

    async def head(self, key: bytes) -> Entry | None:
        await self._at("head")
        entry = self.entries.get(key)
        await self._at("head done")
        return entry and _head(entry)

    async def put(self, entry: Entry) -> None:
        await self._at("put")
        self.entries[entry.key] = entry

    async def replace(self, old: Entry, new: Entry) -> bool:
        await self._at("replace")
        there = self.entries.get(old.key)
        same = there is not None and there.version == old.version and there.tags == old.tags
        if same:
            self.entries[new.key] = new
        return same

    async def compared(self, entries: Sequence[Entry], through: int) -> None:
        await self._at("compared")
        for there in filter(None, map(self._this_version, entries)):
            self.entries[there.key] = msgspec.structs.replace(there, compared_to=max(there.compared_to, through))

    async def delete(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        await self._at("delete")
        gone = [entry for entry in entries if self._this_version(entry) is not None]
        for entry in gone:
            del self.entries[entry.key]
        await self._at("delete done")
        return gone

    async def scan(self) -> AsyncIterator[Sequence[Entry]]:
        keys = list(self.entries)
        for start in range(0, len(keys), PAGE):
            await self._at("scan")
            page = [_head(self.entries[key]) for key in keys[start : start + PAGE] if key in self.entries]
            await self._at("scan done")
            yield page

    async def count(self) -> int:
        await self._at("count")
        return len(self.entries)

    def _this_version(self, entry: Entry) -> Entry | None:
        there = self.entries.get(entry.key)
        return there if there is not None and there.version == entry.version else None

    def __repr__(self) -> str:
        return f"<SharedStore {len(self.entries)} entries>"


class SharedFeed:
    """One node's port `Feed`; `others` are those of the other nodes. News arrives at once."""

    def __init__(self) -> None:
        self.others: list[SharedFeed] = []
        self.told: list[News] = []
        self.is_open = False
        self._coming: asyncio.Queue[Sequence[News] | None] = asyncio.Queue()

    async def open(self) -> None:
        self.is_open = True

    async def close(self) -> None:
        self.is_open = False

    def tell(self, news: Sequence[News]) -> None:
        self.told += news
        for other in self.others:
            other.bring(news)

    def bring(self, news: Sequence[News] | None) -> None:
        """Heard here, if this node has begun to listen; None: some was missed."""
        if self.is_open:
            self._coming.put_nowait(news)

    def lose(self) -> None:
        """What was not heard yet never will be."""
        while not self._coming.empty():
            self._coming.get_nowait()
        self.bring(None)

    async def follow(self) -> AsyncIterator[Sequence[News] | None]:
        while True:
            yield await self._coming.get()

    @property
    def waiting(self) -> bool:
        """Whether there is news that was not heard yet."""
        return not self._coming.empty()

    def __repr__(self) -> str:
        return f"<SharedFeed told={len(self.told)} coming={self._coming.qsize()}>"


class SharedAudit:
    """The port `Audit`. While `away` nothing can be written."""

    def __init__(self) -> None:
        self.hits: Counter[str] = Counter()
        self.written: list[AuditLine] = []
        self.away = False

    async def write(self, line: AuditLine) -> None:
        self.written.insert(0, line)

    async def hit(self, counts: Mapping[str, int]) -> None:
        if self.away:
            raise StoreUnavailable("away")
        self.hits.update(counts)

    async def lines(self, limit: int = 100) -> Sequence[AuditLine]:
        return self.written[:limit]

    async def line(self, name: str) -> AuditLine | None:
        return next((line for line in self.written if line.id == name), None)


def _head(entry: Entry) -> Entry:
    return msgspec.structs.replace(entry, body=b"")
