"""Nodes on one redis-server that writes each command to the disk, all real processes on loopback; and calls to them."""

import contextlib
import http.client
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import msgspec

from bench.node import CREDENTIAL, ROOT
from edgecache.testing.redis_server import RedisServer

SECRET = "a secret for benchmarks only"


class PurgeNode:
    """One node; a context manager."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._folder = folder
        self._environment = environment

    def __enter__(self) -> Self:
        self._child = subprocess.Popen(
            [sys.executable, "-m", "bench.purge_node"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, **self._environment},
            text=True,
        )
        found = self._line()
        self.port, self.admin = found["port"], found["admin"]
        self.token = (self._folder / "admin-token").read_text().strip()
        self._calls = http.client.HTTPConnection("127.0.0.1", self.admin, timeout=60)
        return self

    def __exit__(self, *_: object) -> None:
        self._calls.close()
        assert self._child.stdin is not None and self._child.stdout is not None
        self._child.stdin.close()
        try:
            self._child.wait(20)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._child.stdout.close()

    def notes(self) -> dict[str, dict[int, float]]:
        """What `bench.purge_node` noted since the last call."""
        assert self._child.stdin is not None
        self._child.stdin.write("\n")
        self._child.stdin.flush()
        return {what: {int(n): at for n, at in times.items()} for what, times in self._line().items()}

    def purge(self, keys: Sequence[str], *, wait: bool = False) -> Any:
        """One key by path, as a Fastly client does; several by header."""
        several = len(keys) > 1
        path = "/service/edgecache/purge" if several else f"/service/edgecache/purge/{quote(keys[0])}"
        headers = {"Fastly-Key": self.token, **({"Surrogate-Key": " ".join(keys)} if several else {})}
        return self.call("POST", path + ("?wait=all" if wait else ""), headers)

    def call(self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes = b"") -> Any:
        """JSON that came back from the admin listener, on one kept connection."""
        given = headers if headers is not None else {"Authorization": f"Bearer {self.token}"}
        self._calls.request(method, path, body=body, headers=given)
        answer = self._calls.getresponse()
        content = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {content[:200]!r}")
        return msgspec.json.decode(content)

    def ask(self, body: bytes, **headers: str) -> tuple[int, http.client.HTTPMessage, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        given = {"Content-Type": "application/json", "Authorization": f"Bearer {CREDENTIAL}", **headers}
        connection.request("POST", "/v1/chat/completions", body=body, headers=given)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, answer.headers, content

    def _line(self) -> Any:
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            raise RuntimeError(f"the node has ended with status {self._child.wait()}")
        return msgspec.json.decode(line)


@contextlib.contextmanager
def nodes(count: int, policy: str, *, upstream: str = "", redis: bool = True) -> Iterator[list[PurgeNode]]:
    """`count` nodes that share a redis-server; without `redis` each has its embedded store."""
    with contextlib.ExitStack() as stack, tempfile.TemporaryDirectory() as made:
        server = stack.enter_context(RedisServer()) if redis else None
        started = []
        for number in range(count):
            folder = Path(made) / f"node-{number}"
            rules = folder / "policies"
            rules.mkdir(parents=True)
            (rules / "bench.toml").write_text(policy)
            started.append(PurgeNode(folder, environment(folder, number, upstream, server.url if server else "")))
        yield [stack.enter_context(node) for node in started]


def environment(folder: Path, number: int, upstream: str, store: str) -> dict[str, str]:
    return {
        "EDGECACHE_NODE": f"node-{number}",
        "EDGECACHE_LISTEN_TRAFFIC": "127.0.0.1:0",
        "EDGECACHE_LISTEN_ADMIN": "127.0.0.1:0",
        "EDGECACHE_DATA_FOLDER": str(folder),
        "EDGECACHE_POLICIES": str(folder / "policies"),
        "EDGECACHE_LOCAL_MODEL": "",
        "EDGECACHE_LOG_LEVEL": "error",
        "EDGECACHE_SECRET": SECRET,
        **({"EDGECACHE_STORE_URL": store} if store else {}),
        **({"EDGECACHE_UPSTREAM": upstream} if upstream else {}),
    }
