"""A real node in front of a scripted provider of embeddings; no test may block its event loop."""

from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import pytest
from blockbuster import BlockBuster, blockbuster_ctx
from embedding_provider import RULE, embed

from edgecache.testing.node import Clock, Node, running_node
from edgecache.testing.scripted_upstream import ScriptedUpstream


@pytest.fixture(autouse=True)
def blockbuster() -> Iterator[BlockBuster]:
    """Fails a test in which the event loop was blocked."""
    with blockbuster_ctx("edgecache") as found:
        yield found


@pytest.fixture
async def upstream() -> AsyncGenerator[ScriptedUpstream, None]:
    async with ScriptedUpstream(script=embed) as upstream:
        yield upstream


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def node(tmp_path: Path, upstream: ScriptedUpstream, clock: Clock) -> AsyncGenerator[Node, None]:
    async with running_node(tmp_path, upstream=upstream, policy=RULE, clock=clock) as node:
        yield node
