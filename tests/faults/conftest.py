"""Three nodes as processes of their own, on a real Redis, in front of one scripted upstream.

They are started once for all tests of a file that leave them as they were; where one fails, the next has others.
"""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from fault_load import Load
from fault_nodes import Bench, Standing

from edgecache.testing.cluster import Cluster
from edgecache.testing.link import Link
from edgecache.testing.redis_server import RedisServer


@pytest.fixture(scope="module")
def standing(redis_installed: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    standing = Standing(tmp_path_factory.mktemp("standing"))
    try:
        yield standing
    finally:
        standing.end()


@pytest.fixture
async def load(standing: Standing) -> AsyncIterator[Load]:
    """On the three nodes of `standing`, which are up to date."""
    async with standing.upstream:
        standing.begin()
        async with standing.link:
            standing.join()
            async with Cluster(standing.members, keep=True) as nodes:
                standing.script.load = load = Load(nodes)
                said = {member.name: len(member.log) for member in standing.members}
                await load.settled()
                yield load
                for member in standing.members:
                    assert "Traceback" not in member.log[said[member.name] :], member.log
                standing.well = load.ended_well


@pytest.fixture
def redis(standing: Standing) -> RedisServer:
    return standing.redis


@pytest.fixture
def link(standing: Standing) -> Link:
    return standing.link


@pytest.fixture
async def bench(redis_installed: None, tmp_path: Path) -> AsyncIterator[Bench]:
    """For tests that start nodes of their own."""
    bench = Bench(tmp_path)
    async with bench.upstream:
        yield bench
