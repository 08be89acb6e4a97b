"""Addresses: from a url to redis-py's client for one server, for what Sentinels name, or for a Cluster."""

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import Redis, RedisCluster, Sentinel
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.backoff import NoBackoff

SCHEMES = ("redis", "rediss", "unix", "redis+cluster", "rediss+cluster", "redis+sentinel", "rediss+sentinel")
SOCKET_TIMEOUT = 2.0
"""Seconds for one round trip; a url's `socket_timeout` replaces it."""
CONNECTIONS = 32
"""Calls at a time; the others wait their turn."""

_OPTIONS: Mapping[str, Any] = {
    "socket_timeout": SOCKET_TIMEOUT,
    "socket_connect_timeout": SOCKET_TIMEOUT,
    "protocol": 2,
    "driver_info": None,  # else redis-py reads its own version from the disk for each connection, on the event loop
}


def connect(url: str) -> Redis | RedisCluster:
    """By its scheme. Without redis-py's own retries for one server: what a lost reply leaves open is the caller's to
    decide.
    """
    scheme = urlsplit(url).scheme
    if scheme.endswith("+cluster"):
        return _cluster(url)
    if scheme.endswith("+sentinel"):
        return _sentinel(url)
    return Redis.from_url(url, **_once())


async def disconnect(client: Redis | RedisCluster) -> None:
    await client.aclose()
    if (pool := _asking(client)) is not None:
        await pool.sentinel_manager.aclose()


async def look_again(client: Redis | RedisCluster) -> None:
    """Have the next connection ask the Sentinels, where there are any: this primary takes no writes."""
    if (pool := _asking(client)) is not None:
        await pool.disconnect(inuse_connections=False)


def _asking(client: Redis | RedisCluster) -> SentinelConnectionPool | None:
    pool = getattr(client, "connection_pool", None)
    return pool if isinstance(pool, SentinelConnectionPool) else None


def _once() -> dict[str, Any]:
    return {"retry": Retry(NoBackoff(), 0), "max_connections": 2 * CONNECTIONS, **_OPTIONS}


def _cluster(url: str) -> RedisCluster:
    """`redis+cluster://user:password@host:port,host:port?options`: any of the hosts leads to all nodes.

    Here redis-py follows redirections and failovers by itself; an append whose reply was lost may stand twice.
    """
    plain, _, *others = _hosts(url)
    seeds = [ClusterNode(*other) for other in others]
    return RedisCluster.from_url(plain, startup_nodes=seeds, **_OPTIONS)


def _sentinel(url: str) -> Redis:
    """`redis+sentinel://user:password@host:port,host:port/service/db?options`: each new connection asks the Sentinels
    at these hosts for the primary. Name and password are the servers'; the Sentinels' are the options
    `sentinel_username` and `sentinel_password`.
    """
    plain, *hosts = _hosts(url)
    service, _, database = urlsplit(url).path.lstrip("/").partition("/")
    options = {**_once(), **parse_url(urlsplit(plain)._replace(path=f"/{database}").geturl())}
    for name in ("host", "port"):
        options.pop(name, None)
    secure = options.pop("connection_class", None) is not None
    mine = {name: options.pop(f"sentinel_{name}", None) for name in ("username", "password")}
    theirs = {name: value for name, value in options.items() if name.startswith(("socket_", "ssl_"))}
    sentinels = _Sentinels(hosts, sentinel_kwargs={**_once(), **theirs, **mine, "ssl": secure})
    primary: Redis = sentinels.master_for(service, ssl=secure, **options)
    return primary


class _Sentinels(Sentinel):
    """Asked by one connection at a time. redis-py 8.1 puts the one that answered first; where many look at once, as
    after a failover, it puts it in the place of others, which are never asked or closed again.
    """

    def __init__(self, *hosts: Any, **options: Any) -> None:
        super().__init__(*hosts, **options)  # type: ignore[no-untyped-call]
        self._turn = asyncio.Lock()

    async def discover_master(self, service_name: str) -> tuple[str, int]:
        async with self._turn:
            found: tuple[str, int] = await super().discover_master(service_name)
        return found


def _hosts(url: str) -> tuple[Any, ...]:
    """The url with the first of its hosts alone, in a scheme that redis-py knows; then all hosts, with their ports."""
    parts = urlsplit(url)
    credentials, at, hosts = parts.netloc.rpartition("@")
    first = hosts.partition(",")[0]
    plain = parts._replace(scheme=parts.scheme.partition("+")[0], netloc=credentials + at + first)
    return plain.geturl(), *(_address(host) for host in hosts.split(","))


def _address(host: str) -> tuple[str, int]:
    parts = urlsplit(f"//{host}")
    return parts.hostname or "localhost", parts.port or 6379
