"""What the parts of a url come to, without a server."""

from typing import Any

import pytest
from redis.asyncio import Redis
from redis.asyncio.sentinel import SentinelConnectionPool

from edgecache.storage.redis_connect import connect


def sentinel(url: str) -> tuple[SentinelConnectionPool, list[dict[str, Any]]]:
    """How the servers are connected to, and how the Sentinels."""
    client = connect(url)
    assert isinstance(client, Redis) and isinstance(client.connection_pool, SentinelConnectionPool)
    pool = client.connection_pool
    return pool, [one.connection_pool.connection_kwargs for one in pool.sentinel_manager.sentinels]


def test_sentinels_the_service_and_the_database() -> None:
    pool, asked = sentinel("redis+sentinel://one:1,two,three:3/main/7?socket_timeout=0.5")
    assert [(each["host"], each["port"]) for each in asked] == [("one", 1), ("two", 6379), ("three", 3)]
    assert {each["socket_timeout"] for each in asked} == {0.5}
    assert (pool.service_name, pool.connection_kwargs["db"], pool.connection_kwargs["socket_timeout"]) == (
        "main",
        7,
        0.5,
    )
    assert "host" not in pool.connection_kwargs


def test_servers_and_sentinels_have_credentials_of_their_own() -> None:
    pool, (asked,) = sentinel("redis+sentinel://me:secret@one:1/main?sentinel_username=you&sentinel_password=other")
    assert (pool.connection_kwargs["username"], pool.connection_kwargs["password"]) == ("me", "secret")
    assert (asked["username"], asked["password"]) == ("you", "other")
    pool, (asked,) = sentinel("redis+sentinel://me:secret@one:1/main")
    assert (asked["username"], asked["password"]) == (None, None)


def test_nobody_is_asked_again_who_did_not_answer() -> None:
    """Another Sentinel is asked, while there is time for it."""
    pool, asked = sentinel("redis+sentinel://one:1,two:2/main")
    assert [each["retry"].get_retries() for each in (pool.connection_kwargs, *asked)] == [0, 0, 0]


@pytest.mark.parametrize("scheme", ["redis", "rediss"])
def test_tls_is_for_servers_and_sentinels(scheme: str) -> None:
    secure = scheme == "rediss"
    pool, _ = sentinel(f"{scheme}+sentinel://one:1/main{'?ssl_ca_certs=/ca.pem' if secure else ''}")
    for one in (pool, pool.sentinel_manager.sentinels[0].connection_pool):
        assert ("SSL" in one.connection_class.__name__) == secure
        assert one.connection_kwargs.get("ssl_ca_certs") == ("/ca.pem" if secure else None)
