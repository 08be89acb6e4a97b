"""Servers that take over from each other: what they may have lost is never served from."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest
from storage_samples import at_last, entry, purge, take

from edgecache.core.ports import UNKNOWN, Heard, Member
from edgecache.errors import StoreUnavailable
from edgecache.storage import redis_log
from edgecache.storage.redis import RedisStorage
from edgecache.storage.redis_log import LEASE_WITH_REPLICAS
from edgecache.testing.redis_groups import RedisReplication, RedisSentinels, RedisServerCluster
from edgecache.testing.redis_server import RedisServer

STATE = "{edgecache:log}:state"


@pytest.fixture
def pair(redis_installed: None) -> Iterator[RedisReplication]:
    with RedisReplication() as pair:
        yield pair


@pytest.fixture
async def storage(pair: RedisReplication) -> AsyncIterator[RedisStorage]:
    storage = RedisStorage(pair.url)
    await storage.open()
    yield storage
    await storage.close()


@pytest.fixture(scope="module")
def sentinels(redis_installed: None) -> Iterator[RedisSentinels]:
    """For tests that leave them as they are."""
    with RedisSentinels() as servers:
        yield servers


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """To be called where no replica will confirm any more; until then there is as much time as a busy machine takes."""
    monkeypatch.setattr(redis_log, "CONFIRM", 30_000)
    return lambda: monkeypatch.setattr(redis_log, "CONFIRM", 100)


async def is_told(follower: AsyncIterator[Heard]) -> None:
    with pytest.raises(StoreUnavailable, match="the purge log"):
        async with asyncio.timeout(60):
            await take(follower, 99)


# --- replicas -------------------------------------------------------------------------------------------------------


async def test_a_purge_is_confirmed_by_a_replica(storage: RedisStorage, pair: RedisReplication) -> None:
    assert storage.log.lease == LEASE_WITH_REPLICAS
    assert storage.log.statistics().replicas == 1
    assert await storage.log.append(purge(1)) == 1
    assert await asyncio.to_thread(pair.replica.cli, "HGET", STATE, "sequence") == "1\n"


async def test_a_purge_that_no_replica_has_confirmed_is_an_error(
    storage: RedisStorage, pair: RedisReplication, hurry: Callable[[], None]
) -> None:
    await asyncio.to_thread(pair.replica.pause)
    hurry()
    with pytest.raises(StoreUnavailable, match="no replica has confirmed it: purge again"):
        await storage.log.append(purge(1))
    await asyncio.to_thread(pair.replica.resume)
    assert await at_last(lambda: storage.log.append(purge(1))) >= 2
    assert [one.record for one in await storage.log.read(0)][:2] == [purge(1), purge(1)]


async def test_a_replica_that_comes_later_is_asked(redis_installed: None, hurry: Callable[[], None]) -> None:
    """The purge that finds it there was written before anyone knew."""
    async with RedisServer() as server:
        storage = RedisStorage(server.url)
        await storage.open()
        assert await storage.log.append(purge(1)) == 1
        async with RedisServer(replica_of=server) as replica:
            with pytest.raises(StoreUnavailable, match="purge again"):
                await storage.log.append(purge(2))
            assert await storage.log.append(purge(3)) == 3
            assert await asyncio.to_thread(replica.cli, "HGET", STATE, "sequence") == "3\n"
        hurry()
        await at_last(lambda: storage.log.append(purge(4)))
        assert storage.log.statistics().replicas == 0
        await storage.close()


async def test_a_primary_that_must_have_a_replica_and_has_none_proves_nothing(
    redis_installed: None, hurry: Callable[[], None]
) -> None:
    """Reading writes who reads: so a primary that was replaced without knowing cannot say that there is nothing new."""
    async with RedisReplication(min_replicas=1) as pair:
        storage = RedisStorage(pair.url)
        await storage.open()
        await at_last(lambda: storage.log.append(purge(1)))  # not while the replica was not heard of for two seconds
        follower = storage.log.follow(0)
        await take(follower)
        await asyncio.to_thread(pair.cut)
        hurry()
        for call in (storage.log.append(purge(2)), storage.log.read(1)):
            with pytest.raises(StoreUnavailable, match="NOREPLICAS"):
                await call
        waiting = asyncio.ensure_future(anext(follower))
        while storage.log.statistics().reconnects == 0:
            await asyncio.sleep(0.01)
        assert not waiting.done()
        await storage.close()
        with pytest.raises(StoreUnavailable, match="closed"):
            await waiting


# --- another run is another log -------------------------------------------------------------------------------------


async def test_a_replica_promoted_without_the_last_purge_is_another_log_for_everyone(
    storage: RedisStorage, pair: RedisReplication, hurry: Callable[[], None]
) -> None:
    """Also for a node that was never there before, and though the new primary has all that anybody has seen."""
    before = storage.log.identity
    await storage.log.append(purge(1))
    follower = storage.log.follow(0)
    await take(follower)
    await asyncio.to_thread(pair.cut)
    hurry()
    assert await storage.log.append(purge(2)) == 2
    await asyncio.to_thread(pair.promote)
    fresh = RedisStorage(pair.url)
    await fresh.open()
    assert fresh.log.identity != before
    await is_told(follower)
    assert storage.log.identity == fresh.log.identity
    assert await fresh.log.append(purge(3)) == 1
    assert [one.record for one in await storage.log.read(0)] == [purge(3)]
    await fresh.close()


@pytest.mark.parametrize("call", ["append", "read", "roll", "trim"])
async def test_whoever_asks_first_after_a_restart_finds_another_log(
    storage: RedisStorage, pair: RedisReplication, hurry: Callable[[], None], call: str
) -> None:
    """With all its data: that nothing is missing is not known."""
    before = storage.log.identity
    await storage.log.append(purge(1))
    await asyncio.to_thread(pair.primary.restart)
    hurry()
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "append": lambda: storage.log.append(purge(2)),
        "read": lambda: storage.log.read(1),
        "roll": storage.log.roll,
        "trim": lambda: storage.log.trim(1),
    }
    with pytest.raises(StoreUnavailable, match="the purge log"):
        await calls[call]()
    assert storage.log.identity != before
    assert await storage.log.read(0) == []


async def test_store_and_log_rolled_back_together(redis_installed: None) -> None:
    """The purge and what it killed: gone, and back."""
    async with RedisServer() as server:
        storage = RedisStorage(server.url)
        await storage.open()
        before = storage.log.identity
        await storage.store.put(stored := entry(1))
        await asyncio.to_thread(server.save_aside)
        await storage.log.append(purge(1))
        await storage.store.delete([stored])
        await asyncio.to_thread(server.put_back)
        assert await storage.store.find(stored.key) == stored
        fresh = RedisStorage(server.url)
        await fresh.open()
        assert fresh.log.identity != before
        await fresh.close()
        await storage.close()


async def test_a_new_log_stands_for_the_nodes_of_the_one_before(redis_installed: None) -> None:
    """They may serve for a lease from what is dead, and the longest lease counts: `wait=all` waits for it."""
    async with RedisServer() as server:
        nodes = [RedisStorage(server.url, node=name, lease=lease) for name, lease in (("slow", 7.5), ("quick", 0.25))]
        for node in nodes:
            await node.open()
            await node.log.append(purge(1))
            await node.log.read(1)
        await asyncio.to_thread(server.restart)
        with pytest.raises(StoreUnavailable, match="the purge log"):
            await nodes[1].log.roll()
        assert await nodes[1].log.roll() == {UNKNOWN: Member(0, 7.5)}
        await asyncio.to_thread(server.wipe)
        with pytest.raises(StoreUnavailable, match="the purge log"):
            await nodes[1].log.roll()
        assert await nodes[1].log.roll() == {UNKNOWN: Member(0, 0.25)}
        for node in nodes:
            await node.close()


# --- Sentinel -------------------------------------------------------------------------------------------------------


async def test_sentinels_name_another_primary(redis_installed: None) -> None:
    async with RedisSentinels() as servers:
        storage = RedisStorage(servers.url)
        await storage.open()
        before = storage.log.identity
        await storage.store.put(stored := entry(1))
        assert await storage.log.append(purge(1)) == 1
        follower = storage.log.follow(0)
        await take(follower)
        await asyncio.to_thread(servers.fail_over)
        await is_told(follower)
        assert storage.log.identity != before
        assert await at_last(lambda: storage.store.find(stored.key)) == stored
        assert await at_last(lambda: storage.log.append(purge(2))) == 1
        assert await asyncio.to_thread(servers.replica.cli, "HGET", STATE, "sequence") == "1\n"
        await storage.close()


async def test_a_primary_without_its_replicas_has_the_sentinels_asked_again(sentinels: RedisSentinels) -> None:
    """It may have been replaced, and a connection that stands would never tell."""
    primary = sentinels.primary
    storage = RedisStorage(sentinels.url)
    await storage.open()
    await storage.log.append(purge(1))
    await asyncio.to_thread(primary.cli, "CONFIG", "SET", "min-replicas-to-write", "2")
    before = await asyncio.to_thread(_connections, primary)
    with pytest.raises(StoreUnavailable, match="NOREPLICAS"):
        await storage.log.read(0)
    await asyncio.to_thread(primary.cli, "CONFIG", "SET", "min-replicas-to-write", "0")
    await storage.log.read(0)
    assert await asyncio.to_thread(_connections, primary) >= before + 3  # two by redis-cli here
    await storage.close()


async def test_a_sentinel_that_is_away_is_passed_over(sentinels: RedisSentinels) -> None:
    storage = RedisStorage(sentinels.url.replace("://", "://127.0.0.1:1,"))
    await storage.open()
    await storage.log.append(purge(1))
    await storage.close()


async def test_sentinels_that_know_of_no_such_service(sentinels: RedisSentinels) -> None:
    storage = RedisStorage(sentinels.url.replace("/edgecache", "/other"))
    with pytest.raises(StoreUnavailable, match="No master found for 'other'"):
        await storage.open()


def _connections(server: RedisServer) -> int:
    lines = server.cli("INFO", "stats").splitlines()
    return int(next(line for line in lines if line.startswith("total_connections_received")).partition(":")[2])


# --- Cluster --------------------------------------------------------------------------------------------------------


async def test_a_cluster_of_six_loses_the_primary_that_has_the_log(redis_installed: None) -> None:
    async with RedisServerCluster(replicas=1) as cluster:
        storage = RedisStorage(cluster.url)
        await storage.open()
        before = storage.log.identity
        assert storage.log.lease == LEASE_WITH_REPLICAS
        assert await storage.log.append(purge(1)) == 1
        follower = storage.log.follow(0)
        await take(follower)
        holder = await asyncio.to_thread(cluster.holder, STATE)
        await asyncio.to_thread(cluster.fail_over, holder)
        await is_told(follower)
        assert storage.log.identity != before
        fresh = RedisStorage(cluster.url)
        await fresh.open()
        assert fresh.log.identity == storage.log.identity
        assert await at_last(lambda: fresh.log.append(purge(2))) == 1
        assert [one.record for one in await storage.log.read(0)] == [purge(2)]
        for node in (storage, fresh):
            await node.close()


async def test_a_purge_that_no_replica_of_the_cluster_has_confirmed_is_an_error(
    redis_installed: None, hurry: Callable[[], None]
) -> None:
    async with RedisServerCluster(replicas=1) as cluster:
        storage = RedisStorage(cluster.url)
        await storage.open()
        assert await storage.log.append(purge(1)) == 1
        replicas = [server for server in cluster.servers if "role:slave" in await asyncio.to_thread(server.cli, "INFO")]
        for replica in replicas:
            await asyncio.to_thread(replica.pause)
        hurry()
        with pytest.raises(StoreUnavailable, match="no replica has confirmed it: purge again"):
            await storage.log.append(purge(2))
        for replica in replicas:
            await asyncio.to_thread(replica.resume)
        assert await at_last(lambda: storage.log.append(purge(3))) >= 3
        await storage.close()
