"""Entries in Redis: one hash for each, with the scope, the head and the body as fields."""

from collections.abc import AsyncIterator, Sequence

from edgecache.core.entry import Entry, Scope
from edgecache.storage.codec import Blobs, Codec, off_loop
from edgecache.storage.redis_client import RedisClient, script_command
from edgecache.storage.statistics import StoreStatistics

SCAN_BATCH = 500
_FARTHEST = 2**53
"""Milliseconds: later ends, infinity too, mean this."""

_PUT = """
redis.call('HSET', KEYS[1], 's', ARGV[1], 'h', ARGV[2], 'b', ARGV[3])
return redis.call('PEXPIREAT', KEYS[1], ARGV[4])
"""
_DELETE = """
if redis.call('HGET', KEYS[1], 's') ~= ARGV[1] then return 0 end
return redis.call('UNLINK', KEYS[1])
"""


class RedisStore:
    """The port `Store`. The server itself drops an entry at its `expires_at`."""

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
        head, body = await self._client.call("HMGET", self._name(key), "h", "b")
        entry = await self._decode(head, body) if head is not None and body is not None else None
        self._gets += 1
        self._hits += entry is not None
        return entry

    async def put(self, entry: Entry) -> None:
        """As durable as the server is set up to be (`appendonly`, `appendfsync`)."""
        blobs = await off_loop(len(entry.body), self._codec.encode, entry)
        expires = int(min(entry.expires_at * 1_000, _FARTHEST))
        await self._client.run(_PUT, [self._name(entry.key)], entry.scope, blobs.head, blobs.body, expires)
        self._puts += 1

    async def delete(self, entries: Sequence[tuple[Scope, bytes]]) -> int:
        if not entries:
            return 0
        commands = [script_command(_DELETE, [self._name(key)], scope) for scope, key in entries]
        count = sum(map(int, await self._client.batch(commands)))
        self._deleted += count
        return count

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
        heads = await self._client.batch([("HGET", name, "h") for name in names])
        return await off_loop(sum(len(head or b"") for head in heads), self._decode_heads, heads)

    def _decode_heads(self, heads: list[bytes | None]) -> list[Entry]:
        entries = (self._codec.decode_head(head) for head in heads if head is not None)
        return [entry for entry in entries if entry is not None]

    async def _decode(self, head: bytes, body: bytes) -> Entry | None:
        # A body may be many times its compressed length.
        return await off_loop(len(head) + 8 * len(body), self._codec.decode, Blobs(head, body))

    def _pages(self) -> AsyncIterator[list[bytes]]:
        return self._client.pages(f"{self._prefix}:e:*", count=SCAN_BATCH)

    def _name(self, key: bytes) -> str:
        return f"{self._prefix}:e:{key.hex()}"
