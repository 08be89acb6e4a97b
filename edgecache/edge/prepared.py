"""A response whose bytes are known before the request comes: what an exact hit sends is made once a second."""

from email.utils import formatdate

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter
from multidict import CIMultiDict

LARGEST = 64 << 10
"""Bytes of the largest body that is sent this way: in one write, without waiting for the client."""


class Prepared(web.StreamResponse):
    """Status line, headers and body, written as they are on a connection that stays open."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self._content = content
        self._to: AbstractStreamWriter | None = None

    @property
    def keep_alive(self) -> bool | None:
        return True

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        self._to = request.writer
        return self._to

    async def write_eof(self, data: bytes = b"") -> None:
        assert self._to is not None
        await self._to.write(self._content)


def takes_prepared(request: web.BaseRequest) -> bool:
    """Whether the bytes are right for this connection: HTTP/1.1, and not to be closed (RFC 9112 section 9.3)."""
    return request.version == HttpVersion11 and request.keep_alive


def head(headers: CIMultiDict[str], length: int, now: float) -> bytes | None:
    """The head of a 200 for a body of `length` bytes; None where a header could end its line early."""
    fields = [*headers.items(), ("Content-Length", str(length)), ("Date", formatdate(now, usegmt=True))]
    if any("\r" in part or "\n" in part for pair in fields for part in pair):
        return None
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
    return f"HTTP/1.1 200 OK\r\n{lines}\r\n".encode()
