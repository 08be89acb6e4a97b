"""Nodes as processes of their own, in front of one scripted upstream."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from node_process import NodeProcess

from edgecache.testing.scripted_upstream import ScriptedUpstream


@pytest.fixture
async def upstream() -> AsyncGenerator[ScriptedUpstream, None]:
    async with ScriptedUpstream() as upstream:
        yield upstream


@pytest.fixture
async def make_node(tmp_path: Path, upstream: ScriptedUpstream) -> AsyncGenerator[Any, None]:
    """Nodes in front of `upstream`, each in a folder of its own unless named; not started."""
    async with AsyncExitStack() as stack:

        def make(name: str = "node", **settings: str) -> NodeProcess:
            folder = tmp_path / name
            folder.mkdir(exist_ok=True)
            node = NodeProcess(folder, {"EDGECACHE_UPSTREAM": upstream.url, **settings})
            stack.push_async_callback(node.close)
            return node

        yield make


@pytest.fixture
async def node(make_node: Any) -> NodeProcess:
    made: NodeProcess = make_node()
    await made.start()
    return made
