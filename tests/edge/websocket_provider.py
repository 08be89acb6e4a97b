"""A provider of WebSockets that echoes, and clients that dial it through a node."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from edgecache.testing.node import DEADLINE_S, Node

REALTIME = '[[route]]\nname = "live"\npath = "/v1/realtime"\nmode = "off"\n'
KEY = "openai-insecure-api-key."
OWN = {"Authorization": "Bearer sk-own"}
SAMPLE_KEY = "dGhlIHNhbXBsZSBub25jZQ=="
HANDSHAKE = (
    b"GET /v1/realtime HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\n"
)
WITH_KEY = HANDSHAKE + b"Sec-WebSocket-Key: " + SAMPLE_KEY.encode() + b"\r\n"

Handler = Callable[[ServerConnection], Awaitable[None]]


class Provider:
    """A real WebSocket server: what it was asked, how each connection ended, and how many are open."""

    def __init__(self, server: Server) -> None:
        self.asked: list[Request] = []
        self.closed: list[tuple[int, str]] = []
        self.open = 0
        self.idle = asyncio.Event()
        self.port = next(iter(server.sockets)).getsockname()[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


@asynccontextmanager
async def provider(
    handler: Handler = echo,
    refuse: Callable[[ServerConnection], Response | None] = lambda _: None,
    subprotocols: tuple[str, ...] = ("realtime",),
) -> AsyncGenerator[Provider, None]:
    async def handle(connection: ServerConnection) -> None:
        assert connection.request is not None
        found.asked.append(connection.request)
        found.open += 1
        found.idle.clear()
        try:
            await handler(connection)
        except ConnectionClosed:
            pass
        finally:
            await connection.wait_closed()
            found.closed.append((connection.close_code or 0, connection.close_reason or ""))
            found.open -= 1
            found.idle.set()

    async with serve(
        handle,
        "127.0.0.1",
        0,
        process_request=lambda connection, _: refuse(connection),
        select_subprotocol=lambda _, offered: next((name for name in offered if name in subprotocols), None),
        ping_interval=None,
        max_size=None,
    ) as server:
        found = Provider(server)
        yield found


def dial(
    node: Node,
    path: str = "/v1/realtime",
    *,
    headers: dict[str, str] | None = None,
    protocols: tuple[str, ...] = (),
    origin: str | None = None,
) -> connect:
    return connect(
        f"ws://127.0.0.1:{node.port}{path}",
        additional_headers=OWN if headers is None else headers,
        subprotocols=[Subprotocol(name) for name in protocols] or None,
        origin=origin,  # type: ignore[arg-type]
        ping_interval=None,
        max_size=None,
        proxy=None,
    )


async def refused(attempt: connect) -> Response:
    with pytest.raises(InvalidStatus) as caught:
        await attempt
    return caught.value.response


async def all_gone(node: Node, found: Provider) -> None:
    async with asyncio.timeout(DEADLINE_S):
        await found.idle.wait()
        while (await node.statistics())["websockets"]["open"]:
            pass
