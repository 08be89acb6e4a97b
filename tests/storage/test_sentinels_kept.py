"""Many connections ask the Sentinels at once, as after a failover. redis-py 8.1 then puts one of them in the place of
others, and never asks those again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import redis.asyncio
from redis.exceptions import ConnectionError

from edgecache.storage.redis_connect import connect, disconnect

SERVICE = "edgecache"
STATE = {"is_master": True, "is_sdown": False, "is_odown": False, "num-other-sentinels": 2, "ip": "::1", "port": 7}
URL = f"redis+sentinel://127.0.0.1:1,127.0.0.1:2,127.0.0.1:3/{SERVICE}"


def answering(works: bool) -> Callable[[], Awaitable[Mapping[str, Any]]]:
    async def sentinel_masters() -> Mapping[str, Any]:
        await asyncio.sleep(0)
        if not works:
            raise ConnectionError("gone")
        return {SERVICE: STATE}

    return sentinel_masters


async def test_no_sentinel_is_forgotten_when_many_ask_at_once() -> None:
    client = connect(URL)
    assert isinstance(client, redis.asyncio.Redis)
    asking = client.connection_pool.sentinel_manager
    known = set(asking.sentinels)
    assert len(known) == 3
    for number, sentinel in enumerate(asking.sentinels):
        sentinel.sentinel_masters = answering(number == 1)
    found = await asyncio.gather(*(asking.discover_master(SERVICE) for _ in range(5)))
    assert found == [("::1", 7)] * 5
    assert set(asking.sentinels) == known
    await disconnect(client)
