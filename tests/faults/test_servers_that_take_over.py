"""A replica takes the place of its primary, alone or in a Cluster, without what the primary had acknowledged last."""

import asyncio
import itertools
from collections.abc import Callable

import pytest
from fault_load import ends_well
from fault_nodes import Bench

from edgecache.testing.cluster import Member
from edgecache.testing.redis_groups import RedisReplication, RedisServerCluster
from edgecache.testing.redis_server import RedisServer

LOG = "{edgecache:log}:state"
Making = Callable[[int, str], Member]


@pytest.fixture(params=["inside", pytest.param("process", marks=pytest.mark.slow)])
def make(bench: Bench, request: pytest.FixtureRequest) -> Making:
    """Nodes in this process; and, where there is more time, processes of their own."""
    making: Making = getattr(bench, request.param)
    return making


async def test_a_replica_is_promoted_without_the_last_purges(bench: Bench, make: Making) -> None:
    async with RedisReplication() as pair, bench.loaded([make(n, pair.url) for n in range(3)]) as load:
        async with load:
            await load.more(90)
            await asyncio.to_thread(pair.cut)
            last = [await load.purge(node, f"item-{node}", wait=True) for node in range(3)]
            assert [reply is not None and reply.status for reply in last] == [200] * 3
            await load.more(30)
            load.excused.update(range(3))
            await asyncio.to_thread(pair.promote)
            await load.more(60)
        await ends_well(load)


@pytest.mark.parametrize("holds_the_log", [True, pytest.param(False, marks=pytest.mark.slow)])
async def test_one_primary_of_a_cluster_is_killed(bench: Bench, make: Making, holds_the_log: bool) -> None:
    async with RedisServerCluster(replicas=1) as servers:
        members = [make(n, servers.url) for n in range(3)]
        async with bench.loaded(members) as load:
            async with load:
                await load.more(90)
                load.excused.update(range(3) if holds_the_log else ())
                await asyncio.to_thread(servers.fail_over, victim(servers, holds_the_log))
                await load.more(60)
            await ends_well(load)


def victim(servers: RedisServerCluster, holds_the_log: bool) -> RedisServer:
    """A primary that has the log, or one that has entries only. Blocks."""
    log = servers.holder(LOG)
    keys = map("edgecache:e:{}".format, itertools.count())
    return log if holds_the_log else next(found for key in keys if (found := servers.holder(key)) is not log)
