"""What is particular to a server: what it must be like, what happens when it dies, and a log that lost records."""

import asyncio
import logging
import re
import shutil
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import trustme
from storage_samples import SCOPE, at_last, entry, purge, scanned, take

from edgecache.core.ports import AuditLine, Heard
from edgecache.errors import InvalidSettings, StoreUnavailable
from edgecache.storage.redis import RedisStorage
from edgecache.testing.redis_groups import RedisReplication, RedisServerCluster
from edgecache.testing.redis_server import RedisServer


@pytest.fixture
async def server(redis_installed: None) -> AsyncIterator[RedisServer]:
    """One of its own for each test, which it may kill."""
    async with RedisServer() as server:
        yield server


@pytest.fixture
async def storage(server: RedisServer) -> AsyncIterator[RedisStorage]:
    storage = RedisStorage(server.url)
    await storage.open()
    yield storage
    await storage.close()


@pytest.mark.parametrize("url", ["http://localhost", "localhost:6379", "", "redis+other://localhost"])
def test_other_schemes_are_refused(url: str) -> None:
    with pytest.raises(InvalidSettings, match=r"redis\+cluster, rediss\+cluster, redis\+sentinel"):
        RedisStorage(url)


@pytest.mark.parametrize("prefix", ["", "a b", "{a}", "a*"])
def test_a_prefix_that_would_mean_something_else_is_refused(prefix: str) -> None:
    with pytest.raises(InvalidSettings, match="prefix"):
        RedisStorage("redis://localhost", prefix)


def test_credentials_are_in_no_representation() -> None:
    storage = RedisStorage("redis://user:secret@localhost:1/0")
    for part in (storage, storage.store, storage.log, storage.registry):
        assert "localhost:1" in repr(part)
        assert "secret" not in repr(part)


async def test_nobody_there() -> None:
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:1"):
        await RedisStorage("redis://127.0.0.1:1/0").open()


async def test_an_address_without_sense() -> None:
    with pytest.raises(StoreUnavailable):
        await RedisStorage("redis://127.0.0.1:port/0").open()


async def test_a_unix_socket_and_a_password(redis_installed: None) -> None:
    options = ["--unixsocket", "redis.sock", "--requirepass", "secret"]
    async with RedisServer(options=options) as server:
        with pytest.raises(StoreUnavailable, match="Authentication"):
            await RedisStorage(f"unix://{server.folder}/redis.sock").open()
        storage = RedisStorage(f"unix://:secret@{server.folder}/redis.sock?db=1")
        await storage.open()
        await storage.store.put(entry())
        assert await storage.store.count() == 1
        await storage.close()


async def test_tls(redis_installed: None, tmp_path: Path) -> None:
    ca = trustme.CA()
    certificate = ca.issue_cert("127.0.0.1")
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    files = [f"--tls-{name}-file {tmp_path}/{name}.pem" for name in ("cert", "key")]
    options = f"--tls-port {port} --tls-auth-clients no --tls-ca-cert-file {tmp_path}/ca.pem {' '.join(files)}".split()
    async with RedisServer(options=options):
        with pytest.raises(StoreUnavailable, match="certificate"):
            await RedisStorage(f"rediss://127.0.0.1:{port}/0").open()
        storage = RedisStorage(f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={tmp_path}/ca.pem")
        await storage.open()
        await storage.store.put(entry())
        assert await storage.store.count() == 1
        await storage.close()


async def test_a_server_that_may_evict_the_log_is_refused(redis_installed: None) -> None:
    async with RedisServer(options=["--maxmemory-policy", "allkeys-lru"]) as server:
        with pytest.raises(StoreUnavailable, match="maxmemory-policy is allkeys-lru"):
            await RedisStorage(server.url).open()


async def test_a_server_that_forgets_is_warned_of(redis_installed: None, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        async with RedisServer(append_only=False) as server:
            storage = RedisStorage(server.url)
            await storage.open()
            await storage.close()
    assert "append-only" in caplog.text


async def test_a_server_that_keeps_everything_is_not(storage: RedisStorage, caplog: pytest.LogCaptureFixture) -> None:
    assert "append-only" not in caplog.text


@pytest.mark.parametrize(("min_replicas", "warned"), [(0, True), (1, False)])
async def test_a_primary_that_writes_without_its_replicas_is_warned_of(
    redis_installed: None, min_replicas: int, warned: bool
) -> None:
    async with RedisReplication(min_replicas=min_replicas) as pair:
        storage = RedisStorage(pair.url)
        await storage.open()
        await storage.close()
    assert [w for w in storage.warnings if "min-replicas-to-write 1" in w] == list(storage.warnings)
    assert bool(storage.warnings) is warned


async def test_a_full_server_takes_purges_and_nothing_else(storage: RedisStorage, server: RedisServer) -> None:
    """Purging is what makes room; and nodes that could not say that they are there would serve nothing."""
    await storage.store.put(stored := entry(1))
    await asyncio.to_thread(server.cli, "CONFIG", "SET", "maxmemory", "1")
    for call in (storage.store.put(entry(2)), storage.registry.set("a", "b", b"")):
        with pytest.raises(StoreUnavailable, match="maxmemory"):
            await call
    assert await storage.log.append(purge(1)) == 1
    assert [one.record for one in await storage.log.read(0)] == [purge(1)]
    await storage.audit.write(line := AuditLine(id="a", at=1.0, who="b", what=(), of=0, effect="purge"))
    await storage.audit.hit({"a": 1})
    assert await storage.audit.line("a") == msgspec.structs.replace(line, entries=1)
    assert await storage.store.delete([stored]) == [stored]
    fresh = RedisStorage(server.url)
    await fresh.open()
    assert await fresh.log.append(purge(2)) == 2
    await fresh.close()


async def test_entries_go_when_they_expire_and_the_log_stays(storage: RedisStorage, server: RedisServer) -> None:
    await storage.store.put(entry(1, ttl=3_600))
    await storage.store.put(entry(2, stored_at=1.0, ttl=3_600))
    await storage.log.append(purge(1))
    assert set(await scanned(storage.store)) == {entry(1).key}
    ages = await asyncio.to_thread(server.cli, "PTTL", f"edgecache:e:{entry(1).id}")
    assert 7_190_000 < int(ages) <= 7_200_000
    assert await asyncio.to_thread(server.cli, "TTL", "{edgecache:log}:stream") == "-1\n"


async def test_a_damaged_entry_is_absent(storage: RedisStorage, server: RedisServer) -> None:
    for number, field in ((1, "h"), (2, "b")):
        await storage.store.put(entry(number))
        await asyncio.to_thread(server.cli, "HSET", f"edgecache:e:{entry(number).id}", field, "garbage")
    await asyncio.to_thread(server.cli, "HDEL", f"edgecache:e:{entry(2).id}", "h")
    assert await storage.store.get(SCOPE, entry(1).key) is None
    assert await storage.store.get(SCOPE, entry(2).key) is None
    assert await scanned(storage.store) == {}
    assert storage.store.statistics().unreadable == 2


async def test_prefixes_do_not_mix(storage: RedisStorage, server: RedisServer) -> None:
    other = RedisStorage(server.url, "edgecache:other")
    await other.open()
    await other.store.put(entry(1))
    await other.log.append(purge(1))
    assert await storage.store.count() == 0
    assert await storage.log.read(0) == []
    await other.close()


async def test_nodes_follow_each_other(storage: RedisStorage, server: RedisServer) -> None:
    other = RedisStorage(server.url)
    await other.open()
    assert other.log.identity == storage.log.identity
    follower = asyncio.create_task(take(storage.log.follow(0), 100))
    await asyncio.gather(*((storage, other)[number % 2].log.append(purge(number)) for number in range(100)))
    async with asyncio.timeout(60):
        assert [one.sequence for one in await follower] == list(range(1, 101))
    await other.close()


async def test_a_follower_can_be_cancelled_at_any_moment(storage: RedisStorage) -> None:
    """`asyncio.wait_for` inside redis-py swallows some cancellations (python/cpython#86296); they must not get lost."""
    await storage.log.append(purge(1))
    for steps in range(60):
        follower = asyncio.create_task(take(storage.log.follow(0), 99))
        for _ in range(steps):
            await asyncio.sleep(0)
        follower.cancel()
        await asyncio.wait([follower], timeout=60)
        assert follower.cancelled(), f"after {steps} steps"


async def test_a_follower_waits_for_a_server_that_is_away_and_finds_another_log(
    storage: RedisStorage, server: RedisServer
) -> None:
    """What it was told last may be lost although it says nothing of it: another run is another log."""
    await storage.log.append(purge(1))
    before = storage.log.identity
    follower = storage.log.follow(0)
    async with asyncio.timeout(60):
        assert [one.sequence for one in await take(follower)] == [1]
        await asyncio.to_thread(server.kill)
        waiting = asyncio.ensure_future(take(follower))
        while storage.log.statistics().reconnects == 0:
            await asyncio.sleep(0.01)
        with pytest.raises(StoreUnavailable):
            await storage.log.append(purge(2))
        await asyncio.to_thread(server.start)
        with pytest.raises(StoreUnavailable, match="the purge log"):
            await waiting
    assert storage.log.identity != before


async def test_closing_ends_a_follower_that_waits_for_its_server(storage: RedisStorage, server: RedisServer) -> None:
    await asyncio.to_thread(server.kill)
    follower = asyncio.create_task(take(storage.log.follow(0), 1))
    while storage.log.statistics().reconnects == 0:
        await asyncio.sleep(0.01)
    async with asyncio.timeout(60):
        await storage.close()
        with pytest.raises(StoreUnavailable, match="closed"):
            await follower


async def test_a_server_that_does_not_answer_is_given_up(server: RedisServer) -> None:
    """SIGSTOP: connections are accepted, nothing comes."""
    storage = RedisStorage(f"{server.url}?socket_timeout=0.2")
    await at_last(storage.open)
    await asyncio.to_thread(server.pause)
    async with asyncio.timeout(60):
        with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1"):
            await storage.store.get(SCOPE, entry().key)
    await asyncio.to_thread(server.resume)
    assert await at_last(lambda: storage.store.get(SCOPE, entry().key)) is None
    await storage.close()


async def test_a_log_that_lost_everything_is_another_one(storage: RedisStorage, server: RedisServer) -> None:
    await storage.log.append(purge(1))
    before = storage.log.identity
    follower = storage.log.follow(0)
    await take(follower)
    await asyncio.to_thread(lambda: server.restart(keep_data=False))
    await _is_told(follower)
    assert storage.log.identity != before
    assert await storage.log.append(purge(2)) == 1


async def test_an_append_to_a_log_that_was_lost_is_refused_once(storage: RedisStorage, server: RedisServer) -> None:
    """The caller must first learn that the log is another one."""
    before = storage.log.identity
    await asyncio.to_thread(server.cli, "FLUSHALL")
    for call in (storage.log.append(purge(1)), storage.log.read(0)):
        await asyncio.to_thread(server.cli, "FLUSHALL")
        with pytest.raises(StoreUnavailable, match="lost records"):
            await call
    assert storage.log.identity != before
    assert await storage.log.append(purge(1)) == 1


async def test_a_log_that_went_back_is_another_one(storage: RedisStorage, server: RedisServer, tmp_path: Path) -> None:
    """A server restored from an older copy: its newest record is below what the follower has seen."""
    before = storage.log.identity
    follower = await _seen_three_then_two(storage, server, tmp_path / "copy")
    await _is_told(follower)
    assert storage.log.identity != before
    assert await storage.log.append(purge(33)) == 1


async def test_a_log_that_went_back_and_on_is_another_one(
    storage: RedisStorage, server: RedisServer, tmp_path: Path
) -> None:
    """The same, but others have already appended past it: another record stands where the last one seen stood."""
    follower = await _seen_three_then_two(storage, server, tmp_path / "copy")
    other = RedisStorage(server.url)
    await other.open()
    for number in (33, 44):
        await other.log.append(purge(number))
    await _is_told(follower)
    with pytest.raises(StoreUnavailable, match="lost records"):
        await other.log.append(purge(55))
    assert other.log.identity == storage.log.identity
    await other.close()


async def test_a_stream_that_was_deleted_is_noticed(storage: RedisStorage, server: RedisServer) -> None:
    await storage.log.append(purge(1))
    await asyncio.to_thread(server.cli, "DEL", "{edgecache:log}:stream")
    with pytest.raises(StoreUnavailable, match="lost records"):
        await storage.log.read(0)


async def test_a_cluster_spreads_entries_over_its_nodes(redis_cluster: RedisServerCluster) -> None:
    storage = RedisStorage(redis_cluster.url, "spread")
    await storage.open()
    stored = [entry(number) for number in range(300)]  # made once: they hold the time
    await asyncio.gather(*map(storage.store.put, stored))
    sizes = [int(await asyncio.to_thread(server.cli, "DBSIZE")) for server in redis_cluster.servers]
    assert min(sizes) > 30
    assert await storage.store.count() == 300
    assert await storage.store.delete(stored)
    await storage.close()


async def test_an_address_of_one_server_is_no_cluster(server: RedisServer) -> None:
    with pytest.raises(StoreUnavailable):
        await RedisStorage(server.url.replace("redis:", "redis+cluster:").removesuffix("/0")).open()


async def _is_told(follower: AsyncIterator[Heard]) -> None:
    with pytest.raises(StoreUnavailable, match="lost records"):
        async with asyncio.timeout(60):
            await take(follower)


async def _seen_three_then_two(storage: RedisStorage, server: RedisServer, copy: Path) -> AsyncIterator[Heard]:
    """A follower that has seen three records of a log that has two again."""
    for number in (1, 2):
        await storage.log.append(purge(number))
    await asyncio.to_thread(_copy, server, server.folder, copy)
    await storage.log.append(purge(3))
    follower = storage.log.follow(2)
    assert [one.sequence for one in await take(follower)] == [3]
    await asyncio.to_thread(_copy, server, copy, server.folder)
    return follower


def _in_the_same_run(server: RedisServer) -> None:
    """Only what the log says of itself is left to notice it by."""
    run = re.search(r"run_id:(\w+)", server.cli("INFO", "server"))
    assert run
    server.cli("HSET", "{edgecache:log}:state", "run", run[1])


def _copy(server: RedisServer, source: Path, target: Path) -> None:
    """While the server is down. Another run would say so itself: that is taken away."""
    server.kill()
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    server.start()
    _in_the_same_run(server)
