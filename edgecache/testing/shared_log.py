"""A purge log on a real Redis for nodes that a test starts, as in a cluster that has been running for a while."""

import asyncio
from typing import Final

from edgecache.core.ports import UNKNOWN
from edgecache.core.units import Duration
from edgecache.settings import StoreSettings
from edgecache.storage.redis import RedisStorage
from edgecache.testing.redis_server import RedisServer

LEASE: Final = 60.0
"""Seconds: nodes go on serving however long a busy machine lets them wait."""


async def begin_log(server: RedisServer, prefix: str) -> None:
    """A log that no purge waits in for nodes of a log before it: there was none. Call it before any node opens the log,
    else a first purge with `wait=all` takes a whole lease.
    """
    storage = RedisStorage(server.url, prefix)
    await storage.open()
    await asyncio.to_thread(server.cli, "HDEL", f"{{{prefix}:log}}:nodes", UNKNOWN)
    await storage.close()


async def shared_store(server: RedisServer, prefix: str) -> StoreSettings:
    """For nodes that share it, with a log that has begun."""
    await begin_log(server, prefix)
    return StoreSettings(url=server.url, prefix=prefix, lease=Duration(LEASE))
