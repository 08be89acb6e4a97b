"""A client that costs as little as it can: raw requests on kept connections, each sent when the last is answered.

`python -m bench.load HOST PORT CONNECTIONS SECONDS < request` prints one JSON object. It runs in a process of its own,
so that what is measured is the server.
"""

import asyncio
import sys
import time
from typing import cast

import msgspec
import uvloop


class Load(msgspec.Struct, frozen=True):
    """`seconds` are the times of single requests, in the order of their ends."""

    per_second: float
    requests: int
    seconds: list[float]


class _Connection(asyncio.Protocol):
    """One request at a time; an answer ends after as many bytes as the first one had."""

    def __init__(self, request: bytes, until: float, seconds: list[float], done: asyncio.Event) -> None:
        self._request = request
        self._until = until
        self._seconds = seconds
        self._done = done
        self._head = b""
        self._missing = 0
        self._sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one, but not by inheritance
        self._send()

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if self._missing == 0:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return
            self._missing = _length(self._head[:end]) - (len(self._head) - end - 4)
            self._head = b""
        else:
            self._missing -= len(data)
        if self._missing == 0:
            self._answered()

    def _answered(self) -> None:
        now = time.perf_counter()
        self._seconds.append(now - self._sent)
        if now < self._until:
            self._send()
        else:
            self._done.set()
            self._transport.close()


def _length(head: bytes) -> int:
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(head.decode(errors="replace"))
    at = head.lower().index(b"content-length:") + 15
    return int(head[at : head.find(b"\r", at) if head.find(b"\r", at) > 0 else len(head)])


def _stay_awake(loop: asyncio.AbstractEventLoop) -> None:
    """Never sleep: waking this process would cost the server's write, on a virtual machine as much as the request, and
    only where the server is the slower of the two.
    """
    loop.call_soon(_stay_awake, loop)


async def drive(host: str, port: int, request: bytes, connections: int, seconds: float) -> Load:
    """All connections for so many seconds."""
    loop = asyncio.get_running_loop()
    if connections > 1:  # a single one is there to measure a latency, on a machine that is otherwise idle
        loop.call_soon(_stay_awake, loop)
    times: list[float] = []
    begun = time.perf_counter()
    events = [asyncio.Event() for _ in range(connections)]
    for done in events:
        await loop.create_connection(lambda d=done: _Connection(request, begun + seconds, times, d), host, port)
    for done in events:
        await done.wait()
    return Load(len(times) / (time.perf_counter() - begun), len(times), times)


def main() -> None:
    host, port, connections, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    request = sys.stdin.buffer.read()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        load = runner.run(drive(host, port, request, connections, seconds))
    sys.stdout.buffer.write(msgspec.json.encode(load))


if __name__ == "__main__":
    main()
