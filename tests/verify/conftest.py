"""Real nodes on one Redis, none of which has an upstream: whatever is answered is from cache."""

import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from edgecache.settings import StoreSettings
from edgecache.testing.node import SEMANTIC, Node, running_node
from edgecache.testing.redis_server import RedisServer


@pytest.fixture(scope="session")
def redis_server(redis_installed: None) -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture(autouse=True)
def tokens_are_soon_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each run makes some, and begins when every node knows them."""
    monkeypatch.setattr("edgecache.app.REFRESH", 0.05)


@pytest.fixture
async def node(tmp_path: Path) -> AsyncGenerator[Node, None]:
    async with running_node(tmp_path, policy=SEMANTIC) as node:
        yield node


@pytest.fixture
async def cluster(
    tmp_path: Path, redis_server: RedisServer, shared_store: Callable[[RedisServer, str], Awaitable[StoreSettings]]
) -> AsyncGenerator[list[Node], None]:
    """Three nodes."""
    store = await shared_store(redis_server, f"test-{uuid.uuid4().hex}")
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(running_node(tmp_path / name, policy=SEMANTIC, store=store, node=name))
            for name in ("one", "two", "three")
        ]
