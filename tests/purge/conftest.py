"""Ledgers over the real carriers of the log."""

import itertools
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from blockbuster import blockbuster_ctx
from purge_sides import Begin, Side

from edgecache.core.ledger import Ledger
from edgecache.purge.log import PurgeLog
from edgecache.storage.redis import RedisStorage
from edgecache.storage.sqlite import SqliteStorage
from edgecache.testing.redis_server import RedisServer


@pytest.fixture(autouse=True)
def loop_never_blocked() -> Iterator[None]:
    """Any blocking call that our code makes on the event loop fails the test."""
    with blockbuster_ctx("edgecache"):
        yield


@pytest.fixture(scope="session")
def redis_server(redis_installed: None) -> Iterator[RedisServer]:
    """Shared; tests that kill start their own."""
    with RedisServer() as server:
        yield server


@pytest.fixture(params=["sqlite", "redis"])
def make_storage(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Any]:
    """Storages on the same data."""
    if request.param == "sqlite":
        return lambda: SqliteStorage(tmp_path / "edgecache.db")
    server, prefix = request.getfixturevalue("redis_server"), f"test-{uuid.uuid4().hex}"
    return lambda: RedisStorage(server.url, prefix)


@pytest.fixture
async def begin() -> AsyncGenerator[Begin, None]:
    """Open a node's side on a storage; all are closed after the test, or by `side.log.close()` before."""
    ids = map(str, itertools.count(1))
    async with AsyncExitStack() as stack:

        async def begin(storage: Any, **options: Any) -> Side:
            await storage.open()
            stack.push_async_callback(storage.close)
            ledger = Ledger("")
            log = PurgeLog(
                storage.log,
                storage.registry,
                ledger,
                clock=lambda: 0.0,
                monotonic=time.monotonic,
                new_id=lambda: next(ids),
                **options,
            )
            stack.push_async_callback(log.close)
            await log.open()
            return Side(storage, ledger, log)

        yield begin
