"""Entries in Redis: one hash for each. Fields: `s` scope, `h` head, `b` body, `v` version, `t` a mark of the tags, `c`
the purge by meaning up to which it was compared.
"""

from collections.abc import AsyncIterator, Sequence

from edgecache.core.entry import Entry, Scope
from edgecache.storage.codec import Blobs, Codec, mark, off_loop
from edgecache.storage.redis_client import Command, RedisClient, script_command
from edgecache.storage.statistics import StoreStatistics

SCAN_BATCH = 500
_FARTHEST = 2**53
"""Milliseconds: later ends, infinity too, mean this."""

SPARE = 3_600_000
"""Milliseconds for which the server keeps an entry that is of no use any more: the nodes delete it and tell each other.
Only where none of them runs does the server do it."""

_WRITE = """
redis.call('HSET', KEYS[1], 's', ARGV[1], 'h', ARGV[2], 'b', ARGV[3], 'v', ARGV[4], 't', ARGV[5], 'c', ARGV[6])
redis.call('PEXPIREAT', KEYS[1], ARGV[7])
return 1
"""
_REPLACE = f"""
local old = redis.call('HMGET', KEYS[1], 's', 'v', 't')
if old[1] ~= ARGV[8] or old[2] ~= ARGV[9] or old[3] ~= ARGV[10] then return 0 end
{_WRITE}
"""
# Scope and version; with another one there nothing is done.
_SAME = """
local there = redis.call('HMGET', KEYS[1], 's', 'v', 'c')
if there[1] ~= ARGV[1] or there[2] ~= ARGV[2] then return 0 end
"""
_COMPARED = f"""
{_SAME}
if tonumber(there[3]) < tonumber(ARGV[3]) then redis.call('HSET', KEYS[1], 'c', ARGV[3]) end
return 1
"""
_DELETE = f"""
{_SAME}
return redis.call('UNLINK', KEYS[1])
"""


class RedisStore:
    """The port `Store`. The server itself drops an entry an hour after its `kept_until`."""

    def __init__(self, client: RedisClient, prefix: str) -> None:
        self._client = client
        self._prefix = prefix
        self._codec = Codec()
        self._gets = self._hits = self._puts = self._deleted = 0

    def __repr__(self) -> str:
        return f"<RedisStore {self._prefix} {self._client!r} {self.statistics()}>"

    def statistics(self) -> StoreStatistics:
        return StoreStatistics(self._gets, self._hits, self._puts, self._deleted, self._codec.unreadable)

    async def open(self) -> None:
        await self._client.open()

    async def close(self) -> None:
        await self._client.close()

    async def get(self, scope: Scope, key: bytes) -> Entry | None:
        entry = await self.find(key)
        return entry if entry is not None and entry.scope == scope else None

    async def find(self, key: bytes) -> Entry | None:
        head, body, compared = await self._client.call("HMGET", self._name(key), "h", "b", "c")
        entry = None
        if head is not None and body is not None:  # a body may be many times its compressed length
            size = len(head) + 8 * len(body)
            entry = await off_loop(size, self._codec.decode, Blobs(head, body), int(compared or 0))
        self._gets += 1
        self._hits += entry is not None
        return entry

    async def head(self, key: bytes) -> Entry | None:
        return self._decode_head(await self._client.call("HMGET", self._name(key), "h", "c"))

    async def put(self, entry: Entry) -> None:
        """As durable as the server is set up to be (`appendonly`, `appendfsync`)."""
        await self._client.run(_WRITE, [self._name(entry.key)], *await self._fields(entry))
        self._puts += 1

    async def replace(self, old: Entry, new: Entry) -> bool:
        fields = await self._fields(new)
        where = (old.scope, old.version, mark(old))
        done = bool(await self._client.run(_REPLACE, [self._name(old.key)], *fields, *where))
        self._puts += done
        return done

    async def compared(self, entries: Sequence[Entry], through: int) -> None:
        if entries:
            await self._client.batch([self._on(entry, _COMPARED, through) for entry in entries])

    async def delete(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        if not entries:
            return ()
        replies = await self._client.batch([self._on(entry, _DELETE) for entry in entries])
        deleted = [entry for entry, reply in zip(entries, replies, strict=True) if reply]
        self._deleted += len(deleted)
        return deleted

    async def scan(self) -> AsyncIterator[Sequence[Entry]]:
        """What is there all the while comes at least once; perhaps twice, while the server moves its table.

        Raises:
            StoreUnavailable: also when a Cluster changes meanwhile; what came until then is right but not all.
        """
        async for names in self._pages():
            if batch := await self._heads(names):
                yield batch

    async def count(self) -> int:
        """Walks over all keys of the server: some 100,000 a second."""
        return len({name async for names in self._pages() for name in names})

    async def _heads(self, names: list[bytes]) -> list[Entry]:
        if not names:
            return []
        rows = await self._client.batch([("HMGET", name, "h", "c") for name in names])
        return await off_loop(sum(len(head or b"") for head, _ in rows), self._decode_heads, rows)

    def _decode_heads(self, rows: list[tuple[bytes | None, bytes | None]]) -> list[Entry]:
        return [entry for row in rows if (entry := self._decode_head(row)) is not None]

    def _decode_head(self, row: tuple[bytes | None, bytes | None]) -> Entry | None:
        head, compared = row
        return self._codec.decode_head(head, int(compared or 0)) if head is not None else None

    async def _fields(self, entry: Entry) -> tuple[str | bytes | int, ...]:
        """The arguments of _WRITE."""
        blobs = await off_loop(len(entry.body), self._codec.encode, entry)
        gone = int(min(entry.kept_until * 1_000 + SPARE, _FARTHEST))
        return entry.scope, blobs.head, blobs.body, entry.version, mark(entry), entry.compared_to, gone

    def _on(self, entry: Entry, script: str, *arguments: int) -> Command:
        """A script on this very version."""
        return script_command(script, [self._name(entry.key)], entry.scope, entry.version, *arguments)

    def _pages(self) -> AsyncIterator[list[bytes]]:
        return self._client.pages(f"{self._prefix}:e:*", count=SCAN_BATCH)

    def _name(self, key: bytes) -> str:
        return f"{self._prefix}:e:{key.hex()}"
