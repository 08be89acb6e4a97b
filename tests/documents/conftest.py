"""A real node with a rule of mode `http` in front of a scripted origin; no test may block its event loop."""

from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import pytest
from blockbuster import BlockBuster, blockbuster_ctx

from edgecache.testing.node import Clock, Node, running_node
from edgecache.testing.scripted_upstream import Answer, ScriptedUpstream

PAGES = """
[[route]]
name = "pages"
path = "/pages/*"
mode = "http"
tags = ["of-the-rule"]
max_answer = "256KiB"

[[route]]
name = "answers"
"""


@pytest.fixture(autouse=True)
def blockbuster() -> Iterator[BlockBuster]:
    """Fails a test in which the event loop was blocked."""
    with blockbuster_ctx("edgecache") as found:
        yield found


@pytest.fixture
async def origin() -> AsyncGenerator[ScriptedUpstream, None]:
    """Answers with what was enqueued; what was not is a 599 nobody asked for."""
    async with ScriptedUpstream(script=lambda _: Answer(status=599, headers=(), body=b"unexpected")) as origin:
        yield origin


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def node(tmp_path: Path, origin: ScriptedUpstream, clock: Clock) -> AsyncGenerator[Node, None]:
    async with running_node(tmp_path, upstream=origin, policy=PAGES, clock=clock) as node:
        yield node
