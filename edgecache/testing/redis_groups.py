"""Several real redis-servers for tests that belong together: a primary with its replica, with Sentinels, a Cluster."""

import asyncio
import contextlib
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from edgecache.testing.redis_server import RedisServer, free_port, wait_until

SERVICE = "edgecache"
"""The name under which Sentinels know the primary."""


class _Group:
    """Servers that start and go together, with a context, sync or async."""

    def __init__(self) -> None:
        self._started = contextlib.ExitStack()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {[server.port for server in self._members()]}>"

    def _members(self) -> Sequence[RedisServer]:
        raise NotImplementedError

    def _begin(self) -> None:
        """When all of them run."""

    def __enter__(self) -> Self:
        try:
            for server in self._members():
                self._started.callback(server.remove)
                server.start()
            self._begin()
        except BaseException:
            self._started.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._started.close()

    async def __aenter__(self) -> Self:
        return await asyncio.to_thread(self.__enter__)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self._started.close)


class RedisReplication(_Group):
    """A primary and its replica. `url` is where the primary is, also after `promote`.

    With `min_replicas` = 1 a primary whose replica has not been heard of for two seconds takes no writes.
    """

    def __init__(self, *, min_replicas: int = 0, append_only: bool = True) -> None:
        super().__init__()
        self._min_replicas = min_replicas
        wanted = ("--min-replicas-to-write", str(min_replicas), "--min-replicas-max-lag", "2") if min_replicas else ()
        self.primary = RedisServer(append_only=append_only, options=wanted)
        self.replica = RedisServer(append_only=append_only, replica_of=self.primary)

    @property
    def url(self) -> str:
        return self.primary.url

    def cut(self) -> None:
        """From now on the replica gets nothing: it knows of no primary any more. The primary notices at once, unlike
        with `replica.pause()`, after which it waits for a replica that does not answer. Blocks.
        """
        self.replica.cli("REPLICAOF", "NO", "ONE")
        wait_until(lambda: "state=online" not in self.primary.cli("INFO"), f"{self!r} cut")

    def promote(self) -> None:
        """Kill the primary; the replica takes its place and its address, with what it got of the writes. Blocks."""
        self.cut()
        port = self.primary.port
        self.primary.kill()
        self.replica.move(port)

    def _begin(self) -> None:
        """The first acknowledgement of a replica comes after a second at most."""
        if self._min_replicas:
            good = f"min_slaves_good_slaves:{self._min_replicas}"
            wait_until(lambda: good in self.primary.cli("INFO", "replication"), f"{self!r} taking writes")

    def _members(self) -> Sequence[RedisServer]:
        return (self.primary, self.replica)


class RedisSentinels(_Group):
    """A primary and its replica, and three Sentinels that promote the replica soon after the primary is gone."""

    def __init__(self) -> None:
        super().__init__()
        self.primary = RedisServer()
        self.replica = RedisServer(replica_of=self.primary)
        self.sentinels = tuple(_Sentinel(self.primary) for _ in range(3))

    @property
    def url(self) -> str:
        return f"redis+sentinel://{','.join(f'127.0.0.1:{one.port}' for one in self.sentinels)}/{SERVICE}"

    def fail_over(self) -> None:
        """Kill the primary, and wait until every Sentinel names the replica. Blocks."""
        self.primary.kill()
        self._agree(self.replica.port)
        wait_until(lambda: "role:master" in self.replica.cli("INFO"), f"{self!r} promoted")

    def _begin(self) -> None:
        """A Sentinel must have heard of the replica and of the two others before it can promote anything."""
        self._agree(self.primary.port)
        known = ("num-other-sentinels 2", "num-slaves 1")
        wait_until(lambda: all(_knows(one, known) for one in self.sentinels), f"{self!r} known to each other")

    def _agree(self, port: int) -> None:
        ask = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
        wait_until(lambda: all(str(port) in one.cli(*ask).split() for one in self.sentinels), f"{self!r} agreed")

    def _members(self) -> Sequence[RedisServer]:
        return (self.primary, self.replica, *self.sentinels)


class _Sentinel(RedisServer):
    """It keeps its configuration in a file that it writes itself."""

    def __init__(self, primary: RedisServer) -> None:
        super().__init__(append_only=False)
        self._monitored = primary

    def _command(self, port: int) -> list[str]:
        lines = (
            f"port {port}",
            "bind 127.0.0.1",
            f"dir {self.folder}",
            f"sentinel monitor {SERVICE} 127.0.0.1 {self._monitored.port} 2",
            f"sentinel down-after-milliseconds {SERVICE} 500",
            f"sentinel failover-timeout {SERVICE} 2000",
        )
        file = self.folder / "sentinel.conf"
        if not file.exists():
            file.write_text("\n".join(lines) + "\n")
        return ["redis-server", str(file), "--sentinel"]


def _knows(sentinel: RedisServer, words: Sequence[str]) -> bool:
    said = " ".join(sentinel.cli("SENTINEL", "MASTER", SERVICE).split())
    return all(word in said for word in words)


class RedisServerCluster(_Group):
    """Three primaries, each with so many `replicas`."""

    def __init__(self, replicas: int = 0) -> None:
        super().__init__()
        self._replicas = replicas
        self.servers = tuple(
            RedisServer(append_only=False, options=_cluster_options()) for _ in range(3 + 3 * replicas)
        )

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{server.port}" for server in self.servers)

    def holder(self, key: str) -> RedisServer:
        """The primary that has the slot of this key. Blocks."""
        slot = int(self._alive()[0].cli("CLUSTER", "KEYSLOT", key))
        port = next(port for port, first, last in self._slots(self._alive()[0]) if first <= slot <= last)
        return next(server for server in self.servers if server.port == port)

    def fail_over(self, primary: RedisServer) -> None:
        """Kill a primary, and wait until every other node says that one of its replicas has its place. Blocks."""
        primary.kill()
        wait_until(lambda: all(self._without(primary.port, one) for one in self._alive()), f"{self!r} failed over")

    def _begin(self) -> None:
        """`redis-cli --cluster create` returns when its own node agrees; the others may need a moment more."""
        nodes = [f"127.0.0.1:{server.port}" for server in self.servers]
        self.servers[0].cli("--cluster", "create", *nodes, "--cluster-replicas", str(self._replicas), "--cluster-yes")
        wait_until(lambda: all(self._agrees(server) for server in self.servers), f"{self!r} agreed")
        for server in self.servers:
            if "role:master" in server.cli("INFO", "replication"):
                server.confirm("FLUSHALL")
            if not self._replicas:  # nobody can take over: none is given up because a busy machine stood still
                server.cli("CONFIG", "SET", "cluster-node-timeout", "15000")

    def _agrees(self, server: RedisServer) -> bool:
        states = server.cli("INFO", "replication")
        ready = "role:master" in states or "master_link_status:up" in states
        replicas = server.cli("CLUSTER", "NODES").count("slave ")
        return ready and replicas == 3 * self._replicas and self._is_whole(server)

    def _without(self, port: int, server: RedisServer) -> bool:
        return self._is_whole(server) and all(port != holder for holder, _, _ in self._slots(server))

    def _is_whole(self, server: RedisServer) -> bool:
        return "cluster_state:ok" in server.cli("CLUSTER", "INFO")

    def _slots(self, server: RedisServer) -> list[tuple[int, int, int]]:
        """Ports of primaries, with the first and the last of the slots they have."""
        found = []
        for line in server.cli("CLUSTER", "NODES").splitlines():
            _, address, _, _, _, _, _, _, *ranges = line.split()
            port = int(address.partition("@")[0].rpartition(":")[2])
            for first, _, last in (one.partition("-") for one in ranges if not one.startswith("[")):
                found.append((port, int(first), int(last or first)))
        return found

    def _alive(self) -> list[RedisServer]:
        return [server for server in self.servers if server.running]

    def _members(self) -> Sequence[RedisServer]:
        return self.servers


def _cluster_options() -> tuple[str, ...]:
    return ("--cluster-enabled", "yes", "--cluster-port", str(free_port()), "--cluster-node-timeout", "1000")
