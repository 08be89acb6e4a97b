"""Nodes on one real Redis."""

import itertools
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack

import pytest
from blockbuster import blockbuster_ctx
from sharing_nodes import OnRedis

from edgecache.testing.redis_server import RedisServer


@pytest.fixture(autouse=True)
def loop_never_blocked() -> Iterator[None]:
    """Any blocking call that our code makes on the event loop fails the test."""
    with blockbuster_ctx("edgecache"):
        yield


@pytest.fixture(scope="session")
def redis_server(redis_installed: None) -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
async def begin(redis_server: RedisServer) -> AsyncIterator[Callable[[], Awaitable[OnRedis]]]:
    """Start one more node on the same data; all are closed after the test."""
    prefix, names, ids = f"test-{uuid.uuid4().hex}", map("node-{}".format, itertools.count(1)), itertools.count(1)
    async with AsyncExitStack() as stack:

        async def begin() -> OnRedis:
            node = OnRedis(redis_server.url, prefix, next(names), lambda: f"id-{next(ids)}")
            stack.push_async_callback(node.close)
            await node.open()
            return node

        yield begin
