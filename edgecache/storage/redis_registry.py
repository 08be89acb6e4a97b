"""Small settled facts in Redis: a hash for each kind."""

from collections.abc import Mapping

from edgecache.storage.redis_client import RedisClient

_SET_DEFAULT = """
redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2])
return redis.call('HGET', KEYS[1], ARGV[1])
"""


class RedisRegistry:
    """The port `Registry`."""

    def __init__(self, client: RedisClient, prefix: str) -> None:
        self._client = client
        self._prefix = prefix

    def __repr__(self) -> str:
        return f"<RedisRegistry {self._prefix} {self._client!r}>"

    async def values(self, kind: str) -> Mapping[str, bytes]:
        facts = await self._client.call("HGETALL", self._name(kind))
        return {name.decode(): value for name, value in facts.items()}

    async def set(self, kind: str, name: str, value: bytes) -> None:
        await self._client.call("HSET", self._name(kind), name, value)

    async def set_default(self, kind: str, name: str, value: bytes) -> bytes:
        settled: bytes = await self._client.run(_SET_DEFAULT, [self._name(kind)], name, value)
        return settled

    async def remove(self, kind: str, name: str) -> bool:
        return bool(await self._client.call("HDEL", self._name(kind), name))

    def _name(self, kind: str) -> str:
        return f"{self._prefix}:r:{kind}"
