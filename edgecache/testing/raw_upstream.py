"""A provider that sends bytes no HTTP library would send: garbage, broken framing, interim responses.

async with RawUpstream(b"HTTP/1.1 200 OK\\r\\nContent-Length: 10\\r\\n\\r\\nfive!") as upstream:
    ...   # five bytes of ten, then the connection closes
"""

import asyncio
import re
from types import TracebackType
from typing import Final, Self

from edgecache.testing.scripted_upstream import Step, Watched

CONTENT_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class RawUpstream(Watched):
    """Answers every request with the same steps, then closes the connection.

    A step is bytes to send, an event to wait for, or `Step.CUT`, which resets the connection. `requests` holds the
    bytes of each request as they came; a chunked request is read up to its last chunk.
    """

    def __init__(self, *steps: bytes | asyncio.Event | Step) -> None:
        super().__init__()
        self.requests: list[bytes] = []
        self.connections = 0
        self._steps = steps
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._port = 0

    def __repr__(self) -> str:
        return f"<RawUpstream {self.url}: {len(self.requests)} requests, {self.connections} connections>"

    @property
    def url(self) -> str:
        """Without a slash at its end."""
        return f"http://127.0.0.1:{self._port}"

    async def wait_requests(self, count: int) -> None:
        """Until at least `count` requests were read."""
        await self.wait_until(lambda: len(self.requests) >= count)

    async def wait_connections(self, count: int) -> None:
        """Until exactly `count` connections are open."""
        await self.wait_until(lambda: self.connections == count)

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening and drop all connections."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._note()
        try:
            self.requests.append(await _read_request(reader))
            self._note()
            await self._play(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client left first
        finally:
            writer.close()
            self.connections -= 1
            self._note()

    async def _play(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for step in self._steps:
            if isinstance(step, bytes):
                writer.write(step)
                await writer.drain()
            elif isinstance(step, Step):
                writer.transport.abort()
                return
            else:
                await _set_or_left(step, reader)


async def _read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    if b"\r\ntransfer-encoding: chunked" in head.lower():
        return head + await reader.readuntil(b"0\r\n\r\n")
    length = CONTENT_LENGTH.search(head)
    return head + await reader.readexactly(int(length[1]) if length else 0)


async def _set_or_left(barrier: asyncio.Event, reader: asyncio.StreamReader) -> None:
    """Wait for a barrier, but no longer than the client stays."""
    waits = {asyncio.ensure_future(barrier.wait()), asyncio.ensure_future(reader.read())}
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
    if not barrier.is_set():
        raise ConnectionResetError
