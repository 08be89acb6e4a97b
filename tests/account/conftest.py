"""Stores for what is counted."""

import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from accounting import Storage
from blockbuster import blockbuster_ctx

from edgecache.storage.redis import RedisStorage
from edgecache.storage.sqlite import SqliteStorage
from edgecache.testing.redis_server import RedisServer


@pytest.fixture(autouse=True)
def loop_never_blocked() -> Iterator[None]:
    with blockbuster_ctx("edgecache"):
        yield


@pytest.fixture(scope="session")
def redis_server(redis_installed: None) -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
async def shared(redis_server: RedisServer) -> AsyncIterator[RedisStorage]:
    storage = RedisStorage(redis_server.url, f"test-{uuid.uuid4().hex}")
    await storage.open()
    yield storage
    await storage.close()


@pytest.fixture(params=["sqlite", "redis"])
def closed(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "sqlite":
        return SqliteStorage(tmp_path / "edgecache.db")
    return RedisStorage(request.getfixturevalue("redis_server").url, f"test-{uuid.uuid4().hex}")


@pytest.fixture
async def storage(closed: Storage) -> AsyncIterator[Storage]:
    """Open and empty."""
    await closed.open()
    yield closed
    await closed.close()
