"""Entries and purges to store, and how to wait for a storage."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias, TypeVar

from edgecache.core.entry import Entry, Framing, Horizon, Scope, Source
from edgecache.core.ports import Heard, Store
from edgecache.core.purges import Logged, PurgeRecord
from edgecache.core.tags import EVERYTHING, Kind, Tag
from edgecache.errors import StoreUnavailable
from edgecache.storage.redis import RedisStorage
from edgecache.storage.sqlite import SqliteStorage

Storage: TypeAlias = SqliteStorage | RedisStorage
T = TypeVar("T")

SCOPE = Scope("tenant")


def entry(number: int = 1, **changes: Any) -> Entry:
    fields: dict[str, Any] = {
        "key": number.to_bytes(16, "big"),
        "scope": SCOPE,
        "partition": b"\x00\xff" * 8,
        "question": f"What is {number}?",
        "vector": bytes(range(256)) * 6,
        "embedder": "minilm@abc",
        "tags": (EVERYTHING, Tag(Kind.KEY, "all"), Tag(Kind.ROUTE, "chat")),
        "horizon": Horizon("log", 7),
        "stored_at": float(int(time.time())),
        "ttl": 3_600.0,
        "source": Source.UPSTREAM,
        "route": "chat",
        "model": "gpt",
        "dialect": "openai",
        "framing": Framing.SSE,
        "content_type": "text/event-stream",
        "headers": (("x-a", "1"), ("x-a", "2")),
        "body": b"data: {}\n\n" * 100,
    }
    return Entry(**fields | changes)


def purge(number: int) -> PurgeRecord:
    return PurgeRecord(f"id-{number}", (Tag(Kind.KEY, f"key {number}"),), 1_700_000_000.5 + number)


async def scanned(store: Store) -> dict[bytes, Entry]:
    return {found.key: found async for batch in store.scan() for found in batch}


async def take(follower: AsyncIterator[Heard], count: int = 1) -> list[Logged]:
    """The next `count` records and what came with the last of them."""
    taken: list[Logged] = []
    while len(taken) < count:
        taken += (await anext(follower)).records
    return taken


async def at_last(call: Callable[[], Awaitable[T]]) -> T:
    """What it returns as soon as it works."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await call()
            except StoreUnavailable:
                await asyncio.sleep(0.01)
