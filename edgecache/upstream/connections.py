"""Connections that are kept between requests. What comes on one that nobody has asked anything belongs to no request:
it would be read as the answer to the next one, which is another caller's. Such a connection is ended (RFC 9112 section
9.3 leaves a client nothing else).

aiohttp looks for such bytes when a connection is given back and not when it is taken again. These few private names of
it are all that this room uses, and `tests/upstream/test_idle_connections.py` notices when they change.
"""

import asyncio
from functools import partial
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler


class _Handler(ResponseHandler):
    """Ends its connection when bytes come while it is idle."""

    idle = False

    def data_received(self, data: bytes) -> None:
        if not (self.idle and data):  # aiohttp itself calls this with nothing
            super().data_received(data)
        elif self.transport is not None:
            self.transport.abort()


class Connector(aiohttp.TCPConnector):
    """See above."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._factory = partial(_Handler, loop=asyncio.get_running_loop())  # type: ignore[assignment]

    async def _get(self, key: Any, traces: Any) -> Any:
        connection = await super()._get(key, traces)
        if connection is not None and isinstance(connection.protocol, _Handler):
            connection.protocol.idle = False
        return connection

    def _release(self, key: Any, protocol: ResponseHandler, *, should_close: bool = False) -> None:
        if isinstance(protocol, _Handler):
            protocol.idle = True
        super()._release(key, protocol, should_close=should_close)
