"""The helper itself: what it starts, what a restart keeps, what it leaves behind."""

import asyncio
import os
from pathlib import Path

import pytest

from edgecache.testing import redis_server
from edgecache.testing.redis_groups import RedisReplication
from edgecache.testing.redis_server import RedisServer, wait_until, why_no_redis


def test_a_restart_keeps_what_an_append_only_server_knows(redis_installed: None) -> None:
    with RedisServer() as server:
        server.cli("SET", "a", "1")
        port = server.port
        server.restart()
        assert (server.cli("GET", "a"), server.port) == ("1\n", port)
        server.stop()
        server.stop()
        server.start()
        assert server.cli("GET", "a") == "1\n"
        server.restart(keep_data=False)
        assert server.cli("GET", "a") == "\n"
        folder = server.folder
    assert not folder.exists()
    assert "stopped" in repr(server)


@pytest.mark.parametrize("append_only", [True, False])
def test_data_put_aside_comes_back(redis_installed: None, append_only: bool) -> None:
    with RedisServer(append_only=append_only) as server:
        with pytest.raises(RuntimeError, match="saved aside"):
            server.put_back()
        server.cli("SET", "a", "1")
        server.save_aside()
        for value in ("2", "3"):
            server.cli("SET", "a", value)
            server.put_back()
            assert server.cli("GET", "a") == "1\n"
        server.wipe()
        assert server.cli("GET", "a") == "\n"


async def test_a_promoted_replica_is_where_the_primary_was_without_what_it_did_not_get(redis_installed: None) -> None:
    async with RedisReplication() as pair:
        port, servers = pair.primary.port, (pair.primary, pair.replica)
        assert repr(pair) == f"<RedisReplication [{port}, {pair.replica.port}]>"
        await asyncio.to_thread(pair.primary.cli, "SET", "a", "1")
        await asyncio.to_thread(pair.primary.confirm, "PUBLISH a b")
        await asyncio.to_thread(pair.cut)
        await asyncio.to_thread(pair.primary.cli, "SET", "a", "2")
        await asyncio.to_thread(pair.promote)
        assert (pair.replica.port, pair.primary.running) == (port, False)
        assert await asyncio.to_thread(pair.replica.cli, "GET", "a") == "1\n"
    assert not any(server.running for server in servers)


def test_replicas_that_do_not_follow_are_said(redis_installed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with RedisReplication() as pair:
        pair.replica.pause()
        monkeypatch.setattr(redis_server, "STARTING", 0.1)
        with pytest.raises(RuntimeError, match="did not follow"):
            pair.primary.confirm("SET a 1")
        with pytest.raises(RuntimeError, match="never: not within"):
            wait_until(lambda: False, "never")
        pair.replica.resume()


async def test_a_server_without_a_file_forgets(redis_installed: None) -> None:
    async with RedisServer(append_only=False) as server:
        assert "pid" in repr(server)


def test_one_that_does_not_start_says_why(redis_installed: None) -> None:
    with pytest.raises(RuntimeError, match="appendfsync"), RedisServer(options=["--appendfsync", "perhaps"]):
        pass


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, redis_installed: None) -> None:
    assert why_no_redis() is None
    monkeypatch.setenv("PATH", str(tmp_path) + os.pathsep)
    assert "redis-server and redis-cli not found" in str(why_no_redis())
