"""A replica takes the place of its primary, alone or in a Cluster, without what the primary had acknowledged last."""

import asyncio
import contextlib
import itertools
from collections.abc import Callable

import pytest
from fault_load import Load, ends_well
from fault_nodes import CUT_OFF, Bench

from edgecache.storage import redis_scripts as scripts
from edgecache.testing.cluster import Member
from edgecache.testing.link import Link
from edgecache.testing.redis_groups import RedisReplication, RedisSentinels, RedisServerCluster
from edgecache.testing.redis_server import RedisServer, wait_until

LOG = "{edgecache:log}:state"
Making = Callable[[int, str], Member]


@pytest.fixture(params=["inside", pytest.param("process", marks=pytest.mark.slow)])
def make(bench: Bench, request: pytest.FixtureRequest) -> Making:
    """Nodes in this process; and, where there is more time, processes of their own."""
    making: Making = getattr(bench, request.param)
    return making


async def test_a_replica_is_promoted_without_the_last_purges(bench: Bench, make: Making) -> None:
    bench.patience = 2  # a node gives a replica up to a second to confirm a purge
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


@pytest.mark.slow
async def test_sentinels_promote_the_replica(bench: Bench) -> None:
    bench.patience = 2
    async with RedisSentinels() as servers, bench.loaded([bench.inside(n, servers.url) for n in range(3)]) as load:
        async with load:
            await load.more(60)
            load.excused.update(range(3))
            await asyncio.to_thread(servers.fail_over)
            await load.more(60)
        await ends_well(load)


class Partition(Link):
    """When it holds, nothing passes, in neither direction: not even that a connection was closed."""

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, replies: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                await self._open.wait()
                writer.write(data)
                await writer.drain()
            await self._open.wait()
        writer.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("in_time", "allowed_for"), [(True, True), (False, True), (False, False)], ids=["in time", "too soon", "broken"]
)
async def test_one_node_stays_with_a_primary_that_was_replaced(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, in_time: bool, allowed_for: bool
) -> None:
    """It says no more what it has applied, from when this primary takes no writes without its replica. For a replica
    that is promoted sooner than that `wait=all` allows; without that the checker notices.
    """
    if not allowed_for:
        monkeypatch.setattr(scripts, "OPEN", scripts.OPEN.replace(f"lease + {scripts.TOO_SOON}", "lease"))
    async with old_primary() as primary, RedisServer() as replica, Partition(primary.port) as apart:
        await asyncio.to_thread(follow, replica, apart.port, primary)
        async with Link(primary.port) as link:
            members = [bench.inside(n, primary.url if n == CUT_OFF else link.url) for n in range(3)]
            async with bench.loaded(members) as load:
                await load.ask(CUT_OFF, 1)
                apart.hold()
                if in_time:
                    await asyncio.to_thread(wait_until, lambda: not takes_writes(primary), "refusing writes")
                await asyncio.to_thread(replica.cli, "REPLICAOF", "NO", "ONE")
                link.cut()
                link.lead(replica.port)
                link.mend()
                load.excused.update(range(3))
                await purge_at_last(load)
                while not await load.nodes[CUT_OFF].blind():
                    await load.ask(CUT_OFF, 1)
                await load.ask(CUT_OFF, 1)
                assert load.failures == []
                assert (load.stale() == []) is allowed_for, load
            apart.release()


def old_primary() -> RedisServer:
    return RedisServer(options=("--min-replicas-to-write", "1", "--min-replicas-max-lag", "1"))


def follow(replica: RedisServer, port: int, primary: RedisServer) -> None:
    """Returns when the primary takes writes for it. Blocks."""
    replica.cli("REPLICAOF", "127.0.0.1", str(port))
    wait_until(lambda: takes_writes(primary), "taking writes")


def takes_writes(primary: RedisServer) -> bool:
    return "min_slaves_good_slaves:1" in primary.cli("INFO", "replication")


async def purge_at_last(load: Load) -> None:
    reply = None
    while reply is None or reply.status != 200:
        reply = await load.purge(0, "item-1", wait=True)
