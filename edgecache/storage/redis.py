"""The shared storage: plain Redis 7 or Valkey, one server or a Cluster, no module needed."""

import logging
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from edgecache.errors import InvalidSettings, StoreUnavailable
from edgecache.storage.breaker import BreakerStatistics
from edgecache.storage.redis_audit import RedisAudit
from edgecache.storage.redis_client import RedisClient
from edgecache.storage.redis_feed import RedisFeed
from edgecache.storage.redis_log import RedisLog
from edgecache.storage.redis_meters import RedisMeters
from edgecache.storage.redis_registry import RedisRegistry
from edgecache.storage.redis_store import RedisStore
from edgecache.storage.statistics import FeedStatistics, LogStatistics, StoreStatistics

_PREFIX = re.compile(r"[A-Za-z0-9._:-]+")
"""No braces (they choose the slot in a Cluster) and nothing that a pattern would read as a wildcard."""

logger = logging.getLogger(__name__)


class RedisStatistics(msgspec.Struct, frozen=True):
    """What the parts counted, and how often the server was taken to hang."""

    store: StoreStatistics
    log: LogStatistics
    feed: FeedStatistics
    breaker: BreakerStatistics


class RedisStorage:
    """Entries and logs under keys that begin with `prefix`; any number of nodes may share them.

    `url` is redis://, rediss:// or unix:// for one server, redis+cluster:// or rediss+cluster:// for a Cluster (there
    may be several hosts, separated by commas). What follows `?` goes to redis-py: `socket_timeout`, `ssl_ca_certs`.
    `node` is the name under which the others know this one, by chance where it is empty; `lease` is how long (seconds)
    it serves by what it has read of the log, 0 for 2 s, or 5 s where the server has replicas. `warnings` say after
    `open` what the server may lose.
    """

    def __init__(
        self,
        url: str,
        prefix: str = "edgecache",
        node: str = "",
        lease: float = 0.0,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Raises:
            InvalidSettings: another scheme, or a prefix with other characters than letters, digits and `._:-`.
        """
        if not _PREFIX.fullmatch(prefix):
            raise InvalidSettings([f"the prefix of a Redis store is made of letters, digits and ._:- ({prefix!r})"])
        name = node or secrets.token_hex(8)
        self._client, waiting = RedisClient(url), RedisClient(url)
        self.store = RedisStore(self._client, prefix)
        self.log = RedisLog(self._client, waiting, prefix, node=name, lease=lease, monotonic=monotonic)
        self.registry = RedisRegistry(self._client, prefix)
        self.feed = RedisFeed(self._client, waiting, prefix, name)
        self.audit = RedisAudit(self._client, prefix)
        self.meters = RedisMeters(self._client, prefix)
        self.warnings: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<RedisStorage {self._client!r}>"

    def statistics(self) -> RedisStatistics:
        breaker = self._client.statistics()
        return RedisStatistics(self.store.statistics(), self.log.statistics(), self.feed.statistics(), breaker)

    async def open(self) -> None:
        """
        Raises:
            StoreUnavailable: no answer, wrong credentials, or a server that may evict the purge log.
        """
        await self._client.open()
        try:
            servers = await self._client.info()
            _check(servers)
            self.warnings = tuple(_warnings(servers))
            for warning in self.warnings:
                logger.warning(warning)
            await self.log.open()
            await self.feed.open()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        await self.feed.close()
        await self.log.close()


def _check(servers: Sequence[Mapping[str, Any]]) -> None:
    policies = {str(server.get("maxmemory_policy", "")) for server in servers}
    if evicting := sorted(policy for policy in policies if policy.startswith("allkeys-")):
        raise StoreUnavailable(
            f"the server's maxmemory-policy is {evicting[0]}: it could evict the log of purges, and then purged answers"
            " come back. Set it to noeviction or volatile-lru (entries carry an expiry, the log does not)"
        )


def _warnings(servers: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What an operator should know of how well these servers keep what they acknowledged."""
    if not all(server.get("aof_enabled") for server in servers):
        yield (
            "The Redis server keeps no append-only file: what it was told last, purges too, is lost when it is killed."
            " Set appendonly yes (and appendfsync always, where a purge must survive a power cut)."
        )
    if any(server.get("connected_slaves") and "min_slaves_good_slaves" not in server for server in servers):
        yield (
            "The Redis server has replicas and takes writes without them: a primary that was replaced and does not know"
            " it keeps the nodes that still reach it serving. Set min-replicas-to-write 1 and min-replicas-max-lag 2."
        )
