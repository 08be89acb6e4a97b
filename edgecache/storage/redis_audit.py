"""Who purged what, in Redis: a list of ids, the newest first, and by id the lines and what they hit."""

from collections.abc import Mapping, Sequence

from edgecache.core.ports import AuditLine
from edgecache.storage.codec import decode_line, encode_line
from edgecache.storage.redis_client import EVEN_WHEN_FULL, RedisClient

KEPT = 100_000
"""Lines; older ones go."""

# KEYS: ids, lines, hits. An id, its line, how many to keep.
_WRITE = f"""{EVEN_WHEN_FULL}
if redis.call('HSET', KEYS[2], ARGV[1], ARGV[2]) == 0 then return end
redis.call('LPUSH', KEYS[1], ARGV[1])
while redis.call('LLEN', KEYS[1]) > tonumber(ARGV[3]) do
    local oldest = redis.call('RPOP', KEYS[1])
    redis.call('HDEL', KEYS[2], oldest)
    redis.call('HDEL', KEYS[3], oldest)
end
"""
# How many lines are kept; ids and counts, alternating. A line may be written after it has hit, but what belongs to none
# must not pile up.
_HIT = f"""{EVEN_WHEN_FULL}
for at = 2, #ARGV, 2 do
    if redis.call('HEXISTS', KEYS[2], ARGV[at]) == 1 or redis.call('HLEN', KEYS[3]) < 2 * tonumber(ARGV[1]) then
        redis.call('HINCRBY', KEYS[3], ARGV[at], ARGV[at + 1])
    end
end
"""
# How many. Lines and hits, alternating.
_LINES = """
local found = {}
for _, id in ipairs(redis.call('LRANGE', KEYS[1], 0, tonumber(ARGV[1]) - 1)) do
    table.insert(found, redis.call('HGET', KEYS[2], id))
    table.insert(found, redis.call('HGET', KEYS[3], id) or '0')
end
return found
"""
_LINE = """
local line = redis.call('HGET', KEYS[2], ARGV[1])
return line and {line, redis.call('HGET', KEYS[3], ARGV[1]) or '0'} or {}
"""


class RedisAudit:
    """The port `Audit`."""

    def __init__(self, client: RedisClient, prefix: str, kept: int = KEPT) -> None:
        self._client = client
        self._keys = tuple(f"{{{prefix}:audit}}:{part}" for part in ("ids", "lines", "hits"))
        self._kept = kept

    def __repr__(self) -> str:
        return f"<RedisAudit {self._keys[1]} {self._client!r}>"

    async def write(self, line: AuditLine) -> None:
        """A line with the same id is replaced, and keeps its place and its count."""
        await self._client.run(_WRITE, self._keys, line.id, encode_line(line), self._kept)

    async def hit(self, counts: Mapping[str, int]) -> None:
        """Of lines that are yet to be written, too."""
        pairs = [word for pair in counts.items() for word in pair]
        await self._client.run(_HIT, self._keys, self._kept, *pairs)

    async def lines(self, limit: int = 100) -> Sequence[AuditLine]:
        found = await self._client.run(_LINES, self._keys, limit) if limit > 0 else []
        pairs = zip(found[::2], found[1::2], strict=True)
        return [line for blob, hit in pairs if (line := decode_line(blob, int(hit))) is not None]

    async def line(self, name: str) -> AuditLine | None:
        found = await self._client.run(_LINE, self._keys, name)
        return decode_line(found[0], int(found[1])) if found else None
