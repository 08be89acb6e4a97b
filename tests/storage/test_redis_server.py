"""The helper itself: what it starts, what a restart keeps, what it leaves behind."""

import os
from pathlib import Path

import pytest

from edgecache.testing.redis_server import RedisServer, why_no_redis


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
