"""The one place that talks to redis-py: time limits, errors. The same calls for a server and a Cluster."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import PipelineCommand
from redis.exceptions import RedisClusterException, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from edgecache.errors import InvalidSettings, StoreUnavailable
from edgecache.storage.breaker import Breaker, BreakerStatistics, TimedOut
from edgecache.storage.redis_connect import CONNECTIONS, SCHEMES, connect, disconnect, look_again

CALL_TIMEOUT = 5.0
"""Seconds for one call, with waiting for its turn and following a Cluster's redirections."""
Command = tuple[Any, ...]
_TAKEN_AWAY = (AttributeError, TypeError)
"""What redis-py 8.1 raises where it has closed a connection, because the nodes of a Cluster change or the server went
away, that a command was just about to write to: something of it is None by then (redis/redis-py#4287).
"""


class RedisClient:
    """Commands to one server, or to a Cluster by key. Every method raises StoreUnavailable and no other error."""

    def __init__(self, url: str) -> None:
        """
        Raises:
            InvalidSettings: the url's scheme is none of SCHEMES.
        """
        scheme = urlsplit(url).scheme
        if scheme not in SCHEMES:
            raise InvalidSettings([f"the url of a Redis store begins with one of {', '.join(SCHEMES)}, not {scheme!r}"])
        self._url = url
        self._client: Redis | RedisCluster | None = None
        self._turns = asyncio.Semaphore(CONNECTIONS)
        self._breaker = Breaker(repr(self))

    def __repr__(self) -> str:
        parts = urlsplit(self._url)
        return f"<RedisClient {parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}>"

    def statistics(self) -> BreakerStatistics:
        return self._breaker.statistics()

    async def open(self) -> None:
        if self._client is not None:
            return
        try:
            with _translated(self):
                self._client = connect(self._url)
                async with asyncio.timeout(CALL_TIMEOUT):
                    await self._client.initialize()
            await self.call("PING")
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Waits for the calls that are under way: redis-py would open connections anew for them."""
        client, self._client = self._client, None
        if client is None:
            return
        for _ in range(CONNECTIONS):
            await self._turns.acquire()
        self._turns = asyncio.Semaphore(CONNECTIONS)
        with _translated(self):
            await disconnect(client)

    async def call(self, *command: Any, **where: Any) -> Any:
        """One command. What it did is unknown when this raises. `where` names a node of a Cluster."""
        async with self._turn() as client:
            return await client.execute_command(*command, **where)

    async def run(self, script: str, keys: Sequence[str], *arguments: Any) -> Any:
        """A Lua script; its keys are in one slot."""
        return await self.call(*script_command(script, keys, *arguments))

    async def batch(self, commands: Sequence[Command]) -> list[Any]:
        """Many commands in few round trips, their replies in order. Not a transaction."""
        async with self._turn() as client:
            pipeline = client.pipeline(transaction=False)
            for command in commands:
                pipeline.execute_command(*command)
            return list(await pipeline.execute())

    async def confirmed(self, command: Command, key: str, milliseconds: int) -> tuple[Any, int]:
        """A write to the slot of `key`; its reply, and how many replicas had it after so long at most."""
        both = (command, ("WAIT", 1, milliseconds))
        async with self._turn() as client:
            if isinstance(client, RedisCluster):
                reply, confirmed = await _on_one_connection(client, key, both)
            else:
                pipeline = client.pipeline(transaction=False)
                for each in both:
                    pipeline.execute_command(*each)
                reply, confirmed = await pipeline.execute()
        return reply, int(confirmed)

    async def pages(self, pattern: str, count: int) -> AsyncIterator[list[bytes]]:
        """Names of keys on all primaries; one that is there all the while comes at least once, perhaps twice."""
        for where in self._primaries():
            cursor: int | None = None
            while cursor != 0:
                at, names = await self.call("SCAN", cursor or 0, "MATCH", pattern, "COUNT", count, **where)
                (cursor,) = at.values() if isinstance(at, dict) else (at,)  # in a Cluster {node: cursor}
                yield names

    async def info(self) -> list[Mapping[str, Any]]:
        """What each primary says of itself."""
        return [await self.call("INFO", **where) for where in self._primaries()]

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[Any]:
        """redis-py's client for one call: bounded in number and in time (waiting for a turn counts), its errors
        translated. Who waited finds out here that the server hangs, so that a queue ends with its first timeouts.

        redis-py goes through `asyncio.wait_for`, which before Python 3.12 may swallow a cancellation
        (python/cpython#86296): what the task was told meanwhile is said again here.
        """
        task = asyncio.current_task()
        before = task.cancelling() if task else 0
        deadline = asyncio.get_running_loop().time() + CALL_TIMEOUT
        try:
            async with self._place(deadline):
                with self._breaker.attempt(), _translated(self):
                    async with asyncio.timeout_at(deadline), _written(self._opened()) as client:
                        yield client
        finally:
            if task and task.cancelling() > before:
                raise asyncio.CancelledError

    @asynccontextmanager
    async def _place(self, deadline: float) -> AsyncIterator[None]:
        """One of the turns. That none was free says nothing of the server, so it is no TimedOut."""
        turns = self._turns
        try:
            async with asyncio.timeout_at(deadline):
                await turns.acquire()
        except TimeoutError as error:
            raise StoreUnavailable(f"{self!r} is busy: no turn came in time") from error
        try:
            yield
        finally:
            turns.release()

    def _primaries(self) -> list[dict[str, Any]]:
        client = self._opened()
        if isinstance(client, RedisCluster):
            return [{"target_nodes": node} for node in client.get_primaries()]
        return [{}]

    def _opened(self) -> Redis | RedisCluster:
        if self._client is None:
            raise StoreUnavailable(f"{self!r} is not open")
        return self._client


EVEN_WHEN_FULL = "#!lua flags=allow-oom\n"
"""Begins a script that writes a little even where `maxmemory` is reached: purges are what frees memory."""


def script_command(script: str, keys: Sequence[str], *arguments: Any) -> Command:
    """A script as a command, for `batch`."""
    return ("EVAL", script, len(keys), *keys, *arguments)


@contextmanager
def _translated(client: RedisClient) -> Iterator[None]:
    """redis-py's errors as ours."""
    try:
        yield
    except (TimeoutError, RedisTimeoutError) as error:
        raise TimedOut(f"{client!r} did not answer in time") from error
    except (RedisError, RedisClusterException, OSError, ValueError, *_TAKEN_AWAY) as error:
        raise StoreUnavailable(f"{client!r}: {error or type(error).__name__}") from error


@asynccontextmanager
async def _written(client: Redis | RedisCluster) -> AsyncIterator[Redis | RedisCluster]:
    """A primary that lacks its replicas (`min-replicas-to-write`) may be one that was replaced."""
    try:
        yield client
    except ResponseError as error:
        if "NOREPLICAS" in str(error):
            await look_again(client)
        raise


async def _on_one_connection(client: RedisCluster, key: str, commands: Sequence[Command]) -> list[Any]:
    """To the node that holds the slot of `key`: `WAIT` counts what its own connection wrote. redis-py follows slots and
    failovers for ordinary commands only, so it is asked one before.
    """
    await client.execute_command("EXISTS", key)
    node = client.get_node_from_key(key)
    if node is None:
        raise StoreUnavailable(f"no node of the Cluster holds the slot of {key}")
    sent = [PipelineCommand(position, *command) for position, command in enumerate(commands)]
    await node.execute_pipeline(sent)
    for each in sent:
        if isinstance(each.result, Exception):
            raise each.result
    return [each.result for each in sent]
