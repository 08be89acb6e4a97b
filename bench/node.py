"""A node, an upstream and requests for benchmarks: real processes on free ports, gone when the block ends."""

import contextlib
import http.client
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

ROOT = Path(__file__).parent.parent
CREDENTIAL = "sk-bench"
HEADERS = {"Content-Type": "application/json", "Authorization": f"Bearer {CREDENTIAL}"}


class Node(msgspec.Struct, frozen=True):
    """Where a node listens, and its data folder."""

    port: int
    admin: int
    folder: Path


def free_port() -> int:
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextlib.contextmanager
def process(*command: str, environment: Mapping[str, str] | None = None, given: bytes = b"") -> Iterator[Any]:
    """A child of ours; killed at the end."""
    child = subprocess.Popen(
        [sys.executable, "-m", *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
    )
    try:
        assert child.stdin is not None
        child.stdin.write(given)
        child.stdin.close()
        yield child
    finally:
        child.terminate()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        assert child.stdout is not None
        child.stdout.close()


@contextlib.contextmanager
def node(
    policy: str,
    *,
    upstream: str = "",
    local: str = "",
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Node]:
    """A node that is ready."""
    with tempfile.TemporaryDirectory() as made:
        home = folder or Path(made)
        rules = home / "policies"
        rules.mkdir(exist_ok=True)
        (rules / "bench.toml").write_text(policy)
        found = Node(free_port(), free_port(), home)
        given = {
            "EDGECACHE_LISTEN_TRAFFIC": f"127.0.0.1:{found.port}",
            "EDGECACHE_LISTEN_ADMIN": f"127.0.0.1:{found.admin}",
            "EDGECACHE_DATA_FOLDER": str(home),
            "EDGECACHE_POLICIES": str(rules),
            "EDGECACHE_LOCAL_MODEL": local,
            "EDGECACHE_LOG_LEVEL": "error",
            **({"EDGECACHE_UPSTREAM": upstream} if upstream else {}),
            **(environment or {}),
        }
        with process("edgecache", "serve", environment=given):
            wait_ready(found.admin)
            yield found


def wait_ready(port: int, seconds: float = 300) -> None:
    """Raises TimeoutError; polls, since the node is another process."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with contextlib.suppress(OSError, http.client.HTTPException):
            if get(port, "/readyz")[0] == 200:
                return
        time.sleep(0.005)
    raise TimeoutError(f"no node is ready on port {port}")


def get(port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def chat_body(text: str, *, model: str = "bench", **more: Any) -> bytes:
    return msgspec.json.encode({"model": model, "messages": [{"role": "user", "content": text}], **more})


def raw_request(port: int, body: bytes) -> bytes:
    """As an SDK sends it, on a kept connection."""
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: application/json\r\n"
        f"Content-Type: application/json\r\nUser-Agent: bench\r\nAuthorization: Bearer {CREDENTIAL}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def ask(port: int, body: bytes) -> http.client.HTTPResponse:
    """One request; the answer has been read into `answer.body`."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    connection.request("POST", "/v1/chat/completions", body=body, headers=HEADERS)
    answer = connection.getresponse()
    answer.body = answer.read()  # type: ignore[attr-defined]
    connection.close()
    return answer


def load(port: int, body: bytes, *, connections: int, seconds: float) -> Any:
    """`bench.load` in a process of its own."""
    command = [sys.executable, "-m", "bench.load", "127.0.0.1", str(port), str(connections), str(seconds)]
    done = subprocess.run(command, input=raw_request(port, body), capture_output=True, cwd=ROOT, check=True)
    return msgspec.json.decode(done.stdout)
