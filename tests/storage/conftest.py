"""Every storage there is: a fresh, empty one for each test."""

import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from blockbuster import blockbuster_ctx
from storage_samples import Storage

from edgecache.storage.redis import RedisStorage
from edgecache.storage.sqlite import SqliteStorage
from edgecache.testing.redis_groups import RedisServerCluster
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


@pytest.fixture(scope="session")
def redis_cluster(redis_installed: None) -> Iterator[RedisServerCluster]:
    with RedisServerCluster() as cluster:
        yield cluster


@pytest.fixture(params=["sqlite", "redis", "cluster"])
def make_storage(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Storage]:
    """Storages on the same data, closed and empty at first."""
    if request.param == "sqlite":
        return lambda: SqliteStorage(tmp_path / "edgecache.db")
    servers = request.getfixturevalue("redis_server" if request.param == "redis" else "redis_cluster")
    prefix = f"test-{uuid.uuid4().hex}"
    return lambda: RedisStorage(servers.url, prefix)


@pytest.fixture(params=["redis", "cluster"])
def make_node(request: pytest.FixtureRequest) -> Callable[..., RedisStorage]:
    """Nodes that share a server: by name, and with a lease."""
    servers = request.getfixturevalue("redis_server" if request.param == "redis" else "redis_cluster")
    prefix = f"test-{uuid.uuid4().hex}"
    return lambda node, lease=0.0: RedisStorage(servers.url, prefix, node, lease)


@pytest.fixture
async def storage(make_storage: Callable[[], Storage]) -> AsyncIterator[Storage]:
    storage = make_storage()
    await storage.open()
    yield storage
    await storage.close()
