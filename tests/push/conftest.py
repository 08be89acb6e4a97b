"""A node, or two on one Redis, whose upstream must not be asked for what was pushed."""

import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from edgecache.settings import StoreSettings
from edgecache.testing.node import SEMANTIC, Node, running_node
from edgecache.testing.redis_server import RedisServer
from edgecache.testing.scripted_upstream import ScriptedUpstream


@pytest.fixture
async def upstream() -> AsyncGenerator[ScriptedUpstream, None]:
    async with ScriptedUpstream() as upstream:
        yield upstream


@pytest.fixture
async def node(tmp_path: Path, upstream: ScriptedUpstream) -> AsyncGenerator[Node, None]:
    async with running_node(tmp_path, upstream=upstream, policy=SEMANTIC) as node:
        yield node


@pytest.fixture(scope="session")
def redis_server(redis_installed: None) -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
async def two(
    tmp_path: Path,
    upstream: ScriptedUpstream,
    redis_server: RedisServer,
    shared_store: Callable[[RedisServer, str], Awaitable[StoreSettings]],
) -> AsyncGenerator[list[Node], None]:
    """Two nodes on one store."""
    store = await shared_store(redis_server, f"test-{uuid.uuid4().hex}")
    async with AsyncExitStack() as stack:
        nodes = [
            await stack.enter_async_context(
                running_node(tmp_path / name, upstream=upstream, policy=SEMANTIC, store=store, node=name)
            )
            for name in ("one", "two")
        ]
        yield nodes
