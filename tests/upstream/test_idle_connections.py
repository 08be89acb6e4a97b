"""Bytes that come while nothing is asked are nobody's answer: they must not become the next caller's."""

import asyncio

import pytest
from asking import NEVER, call, opened, read, target

from edgecache.errors import UpstreamBroken
from edgecache.testing.raw_upstream import RawUpstream

EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood"


class Late(RawUpstream):
    """The first connection gets `first`, and `late` when the test says so; all others a good answer."""

    def __init__(self, first: bytes, late: bytes) -> None:
        super().__init__()
        self.go = asyncio.Event()
        self.accepted = 0
        self.gone = asyncio.Event()
        self._first = first
        self._late = late

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        first = self.accepted == 1
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(self._first if first else GOOD)
            if first:
                await self.go.wait()
                writer.write(self._late)
            while await reader.read(1_024):
                writer.write(GOOD)
        except ConnectionError:
            pass
        finally:
            if first:
                self.gone.set()
            writer.close()


@pytest.mark.parametrize("late", [EVIL, EVIL[:20], b"\r\n", b"HTTP/1.1 408 Request Timeout\r\n\r\n"])
@pytest.mark.parametrize(
    "first",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 204 No Content\r\nContent-Length: 49\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 49\r\n\r\n",
    ],
)
async def test_what_comes_late_ends_the_connection_and_answers_nobody(first: bytes, late: bytes) -> None:
    async with Late(first, late) as upstream, opened(target(upstream.url, keepalive=NEVER)) as pool:
        await read(await pool.send(call(method="GET", body=b"")))
        upstream.go.set()
        async with asyncio.timeout(20):
            await upstream.gone.wait()
        assert await read(await pool.send(call(method="GET", body=b""))) == b"good"
        assert upstream.accepted == 2
        assert await read(await pool.send(call(method="GET", body=b""))) == b"good"
        assert upstream.accepted == 2, "a connection on which nothing came is kept"


@pytest.mark.parametrize("status", [b"101 Switching Protocols", b"099 Odd"])
async def test_a_status_that_ends_no_request_reaches_no_caller(status: bytes) -> None:
    answer = b"HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n" % status
    async with RawUpstream(answer) as upstream, opened(target(upstream.url)) as pool:
        with pytest.raises(UpstreamBroken, match="ends no request"):
            await pool.send(call())
