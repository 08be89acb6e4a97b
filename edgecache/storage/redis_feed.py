"""What nodes tell each other of entries, in Redis: a stream of batches whose ids are dense: what is missing shows."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple

import msgspec

from edgecache.core.ports import News
from edgecache.errors import StoreUnavailable
from edgecache.storage.redis_client import RedisClient
from edgecache.storage.statistics import FeedStatistics

WAITING = 100_000
"""News that wait here to be sent; more are dropped."""
BATCH = 100
"""News in one message."""
KEPT = 20_000
"""Messages that the stream keeps, about: some MB, and under a storm of full messages some 130."""
HEARTBEAT = 250
"""Milliseconds after which a follower that heard nothing looks whether the stream is still the one it follows."""
SHORTEST_DELAY, LONGEST_DELAY = 0.05, 2.0
"""Seconds between attempts to reach a server that is away; each is twice the one before."""

_NEWEST = """
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
local newest = last[1] and tonumber(string.match(last[1][1], '^%d+')) or 0
"""
# How many messages to keep, the sender, its news.
_TELL = f"""
{_NEWEST}
local id = string.format('%.0f', newest + 1) .. '-0'
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], id, 'node', ARGV[2], 'news', ARGV[3])
"""
# After which message, how many. The server's run, the newest message, those that follow.
_HEAR = f"""
{_NEWEST}
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
local next = redis.call('XRANGE', KEYS[1], string.format('%.0f', tonumber(ARGV[1]) + 1) .. '-0', '+', 'COUNT', ARGV[2])
return {{run, newest, next}}
"""


class _Place(NamedTuple):
    """The last message heard, and the run of the server that it was heard from."""

    run: bytes
    number: int


class RedisFeed:
    """The port `Feed`. News wait in memory while the server is away; the newest that do not fit are dropped, and the
    others told that something is missing.
    """

    def __init__(self, client: RedisClient, waiting: RedisClient, prefix: str, node: str) -> None:
        """`waiting` is for the reads that block."""
        self._client = client
        self._waiting = waiting
        self._key = f"{{{prefix}:feed}}:stream"
        self._node = node
        self._queue: deque[News] = deque()
        self._gap = False
        self._queued = asyncio.Event()
        self._closed = asyncio.Event()
        self._place = _Place(b"", 0)
        self._sender: asyncio.Task[None] | None = None
        self._sent = self._heard = self._dropped = self._missed = 0

    def __repr__(self) -> str:
        return f"<RedisFeed {self._key} {self._client!r} {self.statistics()}>"

    def statistics(self) -> FeedStatistics:
        return FeedStatistics(self._sent, self._heard, self._dropped, self._missed)

    async def open(self) -> None:
        if self._sender is not None:
            return
        await self._client.open()
        await self._waiting.open()
        self._closed = asyncio.Event()
        run, newest, _ = await self._hear(0, 1)
        self._place = _Place(run, newest)
        self._sender = asyncio.create_task(self._send())

    async def close(self) -> None:
        """What was not sent yet is dropped."""
        self._closed.set()
        sender, self._sender = self._sender, None
        if sender is not None:
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)

    # --- tell -----------------------------------------------------------------------------------------------------

    def tell(self, news: Sequence[News]) -> None:
        fitting = news[: WAITING - len(self._queue)]
        self._queue.extend(fitting)
        self._drop(len(news) - len(fitting))
        self._queued.set()

    def _drop(self, count: int) -> None:
        self._dropped += count
        self._gap = self._gap or count > 0

    async def _send(self) -> None:
        while True:
            await self._queued.wait()
            if self._gap:
                self._gap = False
                await self._send_at_last(b"")
            batch = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
            if not batch:
                self._queued.clear()
                continue
            try:
                await self._send_at_last(msgspec.msgpack.encode(batch))
                self._sent += len(batch)
            except UnicodeEncodeError:  # a scope with a lone surrogate: no store has such an entry
                self._drop(len(batch))

    async def _send_at_last(self, blob: bytes) -> None:
        """As soon as the server can be reached. It may come twice; no news b"" say that some are missing."""
        delay = SHORTEST_DELAY
        while True:
            try:
                await self._client.run(_TELL, [self._key], KEPT, self._node, blob)
                return
            except StoreUnavailable:
                await self._pause(delay)
                delay = min(2 * delay, LONGEST_DELAY)

    # --- hear -----------------------------------------------------------------------------------------------------

    async def follow(self) -> AsyncIterator[Sequence[News] | None]:
        """A server that is away is waited for, for as long as it takes.

        Raises:
            StoreUnavailable: the feed was closed.
        """
        place, delay = self._place, SHORTEST_DELAY
        while not self._closed.is_set():
            try:
                run, newest, messages = await self._hear(place.number, BATCH)
            except StoreUnavailable:
                await self._pause(delay)
                delay = min(2 * delay, LONGEST_DELAY)
                continue
            delay = SHORTEST_DELAY
            if run != place.run or newest < place.number or (messages and _number(messages[0]) != place.number + 1):
                place, news = _Place(run, newest), None
            else:
                place = _Place(run, _number(messages[-1]) if messages else place.number)
                news = self._read(messages)
            self._heard += len(news or ())
            self._missed += news is None
            if news or news is None:
                yield news
            if not messages:
                await self._wait(place.number)
        raise StoreUnavailable("the feed is closed")

    async def _hear(self, after: int, limit: int) -> tuple[bytes, int, list[Any]]:
        run, newest, messages = await self._client.run(_HEAR, [self._key], after, limit)
        return run, newest, messages

    def _read(self, messages: list[Any]) -> list[News] | None:
        """What the others tell; None where they say that something is missing, or what they say cannot be read."""
        blobs = [fields[3] for _, fields in messages if fields[1] != self._node.encode()]
        try:
            return [news for blob in blobs for news in msgspec.msgpack.decode(blob, type=list[News])]
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None

    async def _wait(self, after: int) -> None:
        """Until something is told, or for a heartbeat. What came is read elsewhere: this only wakes."""
        try:
            await self._waiting.call("XREAD", "COUNT", 1, "BLOCK", HEARTBEAT, "STREAMS", self._key, f"{after}-0")
        except StoreUnavailable:
            await self._pause(SHORTEST_DELAY)

    async def _pause(self, seconds: float) -> None:
        """Ends early when the feed is closed."""
        try:
            async with asyncio.timeout(seconds):
                await self._closed.wait()
        except TimeoutError:
            return


def _number(message: Any) -> int:
    return int(message[0].partition(b"-")[0])
