"""One end of an upgraded connection: bytes both ways, with back-pressure. For both of aiohttp's sides."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from aiohttp import StreamReader
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import StreamWriter

PIECE: Final = 8_192
"""Bytes that are given at once, so that no connection keeps the event loop long."""
AHEAD: Final = 65_536
"""Bytes that may wait to be read; twice as many pause the peer."""


class Link:
    """`Link` of the ports, and what aiohttp's protocols feed instead of a parser of theirs once they have switched."""

    def __init__(self, protocol: BaseProtocol, release: Callable[[], None] | None = None) -> None:
        """`release` gives back what else holds the connection. Raises ConnectionResetError where it is lost already."""
        if protocol.transport is None:
            raise ConnectionResetError("the connection was lost")
        loop = asyncio.get_running_loop()
        self._transport = protocol.transport
        self._release = release or self._transport.close
        self._reader = StreamReader(protocol, AHEAD, loop=loop)
        self._writer = StreamWriter(protocol, loop)

    def feed_data(self, content: bytes) -> tuple[bool, bytes]:
        self._reader.feed_data(content)
        return False, b""

    def feed_eof(self) -> None:
        self._reader.feed_eof()

    async def read(self) -> bytes:
        try:
            return await self._reader.read(PIECE)
        except RuntimeError:  # aiohttp's word for a connection that was lost before anybody read
            return b""

    def write(self, content: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(content)

    async def drain(self) -> None:
        with suppress(ConnectionError):  # it has gone, and `read` says so
            await self._writer.drain()

    def close(self) -> None:
        self._release()

    def abort(self) -> None:
        self._transport.abort()
        self._release()

    def __repr__(self) -> str:
        return f"<Link {'closing' if self._transport.is_closing() else 'open'}>"
