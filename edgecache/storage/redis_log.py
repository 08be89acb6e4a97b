"""The log of purges in Redis: a stream whose ids are the dense sequence, and beside it the name of the log.

Each step is one Lua script on keys of one hash slot, so that nothing can come between looking and doing. A server that
has come back without its data, or with less of it than a reader has seen (a failover, an `appendfsync everysec` and a
power cut), is noticed there, and the log gets a new identity: what was filled under the old one is dead, on all nodes.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence

from edgecache.core.purges import Logged, PurgeRecord
from edgecache.errors import StoreUnavailable
from edgecache.storage.codec import decode_record, encode_record
from edgecache.storage.redis_client import RedisClient
from edgecache.storage.statistics import LogStatistics

FOLLOW_BATCH = 1_000
HEARTBEAT = 250
"""Milliseconds after which a follower that heard nothing looks whether the log is still the one it follows."""
SHORTEST_DELAY, LONGEST_DELAY = 0.05, 2.0
"""Seconds between attempts to reach a server that is away; each is twice the one before."""

_OPEN = """
local identity = redis.call('HGET', KEYS[1], 'identity')
if identity then return identity end
redis.call('DEL', KEYS[2])
redis.call('HSET', KEYS[1], 'identity', ARGV[1], 'sequence', 0)
return ARGV[1]
"""
_APPEND = """
if redis.call('HGET', KEYS[1], 'identity') ~= ARGV[1] then return 0 end
local sequence = string.format('%.0f', redis.call('HINCRBY', KEYS[1], 'sequence', 1))
redis.call('XADD', KEYS[2], sequence .. '-0', 'record', ARGV[2])
return tonumber(sequence)
"""
# Which identity, after what, how many, the record that stood there ('' for unknown), a fresh identity.
_READ = """
if redis.call('HGET', KEYS[1], 'identity') ~= ARGV[1] then return false end
local after = tonumber(ARGV[2])
local newest = tonumber(redis.call('HGET', KEYS[1], 'sequence'))
local next = redis.call('XRANGE', KEYS[2], string.format('%.0f', after + 1) .. '-0', '+', 'COUNT', ARGV[3])
local last = redis.call('XRANGE', KEYS[2], ARGV[2] .. '-0', ARGV[2] .. '-0')
local rewritten = ARGV[4] ~= '' and last[1] and last[1][2][2] ~= ARGV[4]
if newest < after or rewritten or (newest > after and not next[1]) then
    redis.call('HSET', KEYS[1], 'identity', ARGV[5])
    return false
end
return next
"""
_TRIM = """
if redis.call('HGET', KEYS[1], 'identity') ~= ARGV[2] then return false end
local newest = tonumber(redis.call('HGET', KEYS[1], 'sequence'))
local keep = math.min(tonumber(ARGV[1]) + 1, newest)
return redis.call('XTRIM', KEYS[2], 'MINID', string.format('%.0f', keep) .. '-0')
"""


class RedisLog:
    """The port `Log`. As durable as the server is set up to be (`appendonly`, `appendfsync`).

    A log found to be another one raises StoreUnavailable once, wherever it was noticed; `identity` has changed then.
    """

    def __init__(self, client: RedisClient, waiting: RedisClient, prefix: str) -> None:
        """`waiting` is for the reads that block, so that they take no connection from the others."""
        self._client = client
        self._waiting = waiting
        self._keys = (f"{{{prefix}:log}}:state", f"{{{prefix}:log}}:stream")
        self._identity = ""
        self._closed = asyncio.Event()
        self._appended = self._followers = self._reconnects = 0

    def __repr__(self) -> str:
        return f"<RedisLog {self._keys[1]} {self._client!r} {self.statistics()}>"

    def statistics(self) -> LogStatistics:
        return LogStatistics(self._identity, self._appended, self._followers, self._reconnects)

    @property
    def identity(self) -> str:
        return self._identity

    async def open(self) -> None:
        await self._client.open()
        await self._waiting.open()
        await self._identify()
        self._closed = asyncio.Event()

    async def close(self) -> None:
        self._closed.set()
        await self._waiting.close()
        await self._client.close()

    async def append(self, record: PurgeRecord) -> int:
        """After an error the record may be in the log; appended again it may be there twice, which does no harm."""
        sequence = int(await self._client.run(_APPEND, self._keys, self._identity, encode_record(record)))
        if sequence == 0:
            raise await self._lost()
        self._appended += 1
        return sequence

    async def read(self, after: int, limit: int = 1_000) -> Sequence[Logged]:
        """A first sequence above `after` + 1 says that what lay between was trimmed."""
        return _decode(await self._fetch(after, limit, b"")) if limit > 0 else []

    async def follow(self, after: int) -> AsyncIterator[Sequence[Logged]]:
        """A server that is away is waited for, for as long as it takes.

        Raises:
            StoreUnavailable: the log was closed, is another one than when this began, or cannot be read.
        """
        self._followers += 1
        identity, last = self._identity, b""
        try:
            while True:
                fetched = await self._fetch_at_last(identity, after, last)
                if fetched:
                    after, last = fetched[-1]
                    yield _decode(fetched)
                else:
                    await self._wait(after)
        finally:
            self._followers -= 1

    async def trim(self, through: int) -> int:
        """Forget records up to `through`, but never the newest, so that what is missing shows; how many."""
        trimmed = await self._client.run(_TRIM, self._keys, through, self._identity)
        if trimmed is None:
            raise await self._lost()
        return int(trimmed)

    async def _fetch(self, after: int, limit: int, last: bytes) -> list[tuple[int, bytes]]:
        """Sequences and blobs after `after`, where `last` must still stand."""
        arguments = (self._identity, after, limit, last, secrets.token_hex(16))
        reply = await self._client.run(_READ, self._keys, *arguments)
        if reply is None:
            raise await self._lost()
        return [(int(name.partition(b"-")[0]), fields[1]) for name, fields in reply]

    async def _fetch_at_last(self, identity: str, after: int, last: bytes) -> list[tuple[int, bytes]]:
        """As `_fetch`, as soon as the server can be reached."""
        delay = SHORTEST_DELAY
        while not self._closed.is_set():
            if self._identity != identity:
                raise _LogLostError(f"the purge log is now {self._identity}, it was {identity}")
            try:
                return await self._fetch(after, FOLLOW_BATCH, last)
            except _LogLostError:
                raise
            except StoreUnavailable:
                self._reconnects += 1
                await self._pause(delay)
                delay = min(2 * delay, LONGEST_DELAY)
        raise StoreUnavailable("the log is closed")

    async def _wait(self, after: int) -> None:
        """Until something is appended, or for a heartbeat. What came is read elsewhere: this only wakes."""
        try:
            await self._waiting.call("XREAD", "COUNT", 1, "BLOCK", HEARTBEAT, "STREAMS", self._keys[1], f"{after}-0")
        except StoreUnavailable:
            await self._pause(SHORTEST_DELAY)

    async def _pause(self, seconds: float) -> None:
        """Ends early when the log is closed."""
        try:
            async with asyncio.timeout(seconds):
                await self._closed.wait()
        except TimeoutError:
            return

    async def _identify(self) -> None:
        """The log's name; a log that has none yet, or no longer, begins here."""
        identity: bytes = await self._client.run(_OPEN, self._keys, secrets.token_hex(16))
        self._identity = identity.decode()

    async def _lost(self) -> "_LogLostError":
        was = self._identity
        await self._identify()
        return _LogLostError(f"the purge log {was} has lost records; it is {self._identity} now")


class _LogLostError(StoreUnavailable):
    """Not to be waited out."""


def _decode(fetched: list[tuple[int, bytes]]) -> list[Logged]:
    return [Logged(sequence, decode_record(sequence, blob)) for sequence, blob in fetched]
