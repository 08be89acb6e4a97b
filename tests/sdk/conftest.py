"""A real node in front of providers' look-alikes, and the official SDKs with its address; nothing else is set."""

from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import anthropic
import openai
import pytest
from blockbuster import BlockBuster, blockbuster_ctx
from providers import provider

from edgecache.testing.node import Node, running_node
from edgecache.testing.scripted_upstream import ScriptedUpstream

EVERY_PATH = '[[route]]\nname = "all"\npath = "/*"'
KEY = "sk-own"


@pytest.fixture(autouse=True)
def blockbuster() -> Iterator[BlockBuster]:
    """Fails a test in which the event loop was blocked."""
    with blockbuster_ctx("edgecache") as found:
        yield found


@pytest.fixture
async def upstream() -> AsyncGenerator[ScriptedUpstream, None]:
    async with ScriptedUpstream(script=provider) as upstream:
        yield upstream


@pytest.fixture
async def node(tmp_path: Path, upstream: ScriptedUpstream) -> AsyncGenerator[Node, None]:
    async with running_node(tmp_path, upstream=upstream, policy=EVERY_PATH) as node:
        yield node


@pytest.fixture
async def gpt(node: Node) -> AsyncGenerator[openai.AsyncOpenAI, None]:
    http = openai.DefaultAsyncHttpxClient(verify=False, trust_env=False)  # reading certificates would block the loop
    options = {"base_url": f"{node.url}/v1", "api_key": KEY, "max_retries": 0, "http_client": http}
    async with openai.AsyncOpenAI(**options) as client:
        yield client


@pytest.fixture
async def claude(node: Node) -> AsyncGenerator[anthropic.AsyncAnthropic, None]:
    http = anthropic.DefaultAsyncHttpxClient(verify=False, trust_env=False)
    async with anthropic.AsyncAnthropic(base_url=node.url, api_key=KEY, max_retries=0, http_client=http) as client:
        yield client
