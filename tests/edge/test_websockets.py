"""WebSockets go through to an upstream as they came, both ways, whoever ends them and however."""

import asyncio
from pathlib import Path

import pytest
from websocket_provider import (
    WITH_KEY,
    all_gone,
    dial,
    provider,
)
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosedError

from edgecache.settings import LimitSettings
from edgecache.testing.node import DEADLINE_S, RawConnection, running_node

# --- what passes ------------------------------------------------------------------------------------------------------


async def test_messages_of_every_kind_go_both_ways(tmp_path: Path) -> None:
    async with provider() as found, running_node(tmp_path, upstream=found.url) as node:
        async with dial(node, "/v1/realtime?model=gpt%2Drealtime&x=1") as client:
            await client.send("text ü")
            assert await client.recv() == "text ü"
            await client.send(b"\x00\xff")
            assert await client.recv() == b"\x00\xff"
            await client.send(["in ", "three ", "pieces"])
            assert await client.recv() == "in three pieces"
            await client.send("")
            assert await client.recv() == ""
            await asyncio.wait_for(await client.ping(b"are you there"), DEADLINE_S)
            assert (await node.statistics())["websockets"]["open"] == 1
            metrics = await node.ask("GET", "/metrics", admin=True)
            assert b"edgecache_websockets 1.0" in metrics.body
        (asked,) = found.asked
        assert asked.path == "/v1/realtime?model=gpt%2Drealtime&x=1"
        assert asked.headers["Authorization"] == "Bearer sk-own"
        assert client.response is not None and client.response.headers["X-Served-By"] == "node-under-test"
        await all_gone(node, found)


async def test_pings_of_the_upstream_reach_the_client(tmp_path: Path) -> None:
    async def ping(connection: ServerConnection) -> None:
        await (await connection.ping(b"yes?"))
        await connection.send("it answered")

    async with provider(ping) as found, running_node(tmp_path, upstream=found.url) as node, dial(node) as client:
        assert await client.recv() == "it answered"


@pytest.mark.parametrize("size", [125, 126, 65_535, 65_536, 20_000_000])
async def test_messages_of_every_size_are_whole(tmp_path: Path, size: int) -> None:
    message = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    async with provider() as found, running_node(tmp_path, upstream=found.url) as node, dial(node) as client:
        await client.send(message)
        assert await client.recv() == message


async def test_a_subprotocol_is_the_upstreams_choice(tmp_path: Path) -> None:
    async with provider(subprotocols=("b",)) as found, running_node(tmp_path, upstream=found.url) as node:
        async with dial(node, protocols=("a", "b")) as client:
            assert client.subprotocol == "b"
        assert found.asked[0].headers["Sec-WebSocket-Protocol"].replace(" ", "") == "a,b"


# --- how it ends ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1000, "done ü"), (1011, "x" * 123), (4_321, "theirs")])
async def test_the_upstream_says_goodbye(tmp_path: Path, code: int, reason: str) -> None:
    async def leave(connection: ServerConnection) -> None:
        await connection.send("last words")
        await connection.close(code, reason)

    async with provider(leave) as found, running_node(tmp_path, upstream=found.url) as node:
        async with dial(node) as client:
            assert await client.recv() == "last words"
            await client.wait_closed()
            assert (client.close_code, client.close_reason) == (code, reason)
        await all_gone(node, found)
        assert found.closed == [(code, reason)]


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (3_000, "enough ü")])
async def test_the_client_says_goodbye(tmp_path: Path, code: int, reason: str) -> None:
    async with provider() as found, running_node(tmp_path, upstream=found.url) as node:
        client = await dial(node)
        await client.close(code, reason)
        await all_gone(node, found)
        assert found.closed == [(code, reason)]
        assert (client.close_code, client.close_reason) == (code, reason)


async def test_a_client_that_vanishes_is_seen_to_have_vanished(tmp_path: Path) -> None:
    """After what it sent before."""
    heard: list[str | bytes] = []

    async def listen(connection: ServerConnection) -> None:
        async for message in connection:
            heard.append(message)

    async with provider(listen) as found, running_node(tmp_path, upstream=found.url) as node:
        client = await dial(node)
        for number in range(100):
            await client.send(f"{number}" * 1_000)
        client.transport.close()
        await client.wait_closed()
        await all_gone(node, found)
        assert found.closed == [(1006, "")]
        assert len(heard) == 100


async def test_an_upstream_that_vanishes_is_seen_to_have_vanished(tmp_path: Path) -> None:
    async def vanish(connection: ServerConnection) -> None:
        await connection.recv()
        connection.transport.abort()

    async with provider(vanish) as found, running_node(tmp_path, upstream=found.url) as node:
        async with dial(node) as client:
            await client.send("x")
            with pytest.raises(ConnectionClosedError):
                await client.recv()
            assert client.close_code == 1006
        await all_gone(node, found)


async def test_who_stops_sending_has_gone(tmp_path: Path) -> None:
    """There is no half of a WebSocket: an end of file without a close frame ends it."""
    async with provider() as found, running_node(tmp_path, upstream=found.url) as node:
        async with RawConnection(node.port) as raw:
            await raw.send(WITH_KEY + b"Authorization: Bearer sk-own\r\n\r\n")
            assert (await raw.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
            raw.finish()
            assert await raw.rest() == b""
        await all_gone(node, found)
        assert found.closed == [(1006, "")]


async def test_a_node_that_stops_says_so_to_both(tmp_path: Path) -> None:
    """And opens no other one."""
    async with provider() as found, running_node(tmp_path, upstream=found.url, drain=20) as node:
        async with dial(node) as client:
            await node.app.close()
            await client.wait_closed()
            assert (client.close_code, client.close_reason) == (1001, "this edgecache stops")
        assert found.closed == [(1001, "")]
        assert len(found.asked) == 1


async def test_a_node_that_stops_waits_for_nobody_for_ever(tmp_path: Path) -> None:
    """A client that does not say goodbye is cut off when the drain time has passed."""
    async with provider() as found, running_node(tmp_path, upstream=found.url, drain=0.05) as node:
        async with RawConnection(node.port) as raw:
            await raw.send(WITH_KEY + b"Authorization: Bearer sk-own\r\n\r\n")
            await raw.until(b"\r\n\r\n")
            await node.app.close()
            assert await raw.rest() == b"\x88\x16\x03\xe9this edgecache stops"
        assert found.closed == [(1001, "")]


async def test_one_that_is_idle_is_closed(tmp_path: Path) -> None:
    limits = LimitSettings(websocket_idle=0.1)
    async with provider() as found, running_node(tmp_path, upstream=found.url, limits=limits) as node:
        async with dial(node) as client:
            await client.wait_closed()
            assert (client.close_code, client.close_reason) == (1001, "nothing came for 0.1 s")
        await all_gone(node, found)


@pytest.mark.parametrize("fragments", [["x" * 1_001], ["x" * 600, "x" * 600]])
async def test_a_message_that_is_too_large_ends_it(tmp_path: Path, fragments: list[str]) -> None:
    limits = LimitSettings(websocket_message=1_000)
    async with provider() as found, running_node(tmp_path, upstream=found.url, limits=limits) as node:
        async with connect(f"ws://127.0.0.1:{node.port}/v1/realtime", compression=None, proxy=None) as client:
            await client.send("x" * 1_000)
            assert await client.recv() == "x" * 1_000
            await client.send(fragments)
            await client.wait_closed()
            assert (client.close_code, client.close_reason) == (1009, "a message is over 1,000 bytes")
        await all_gone(node, found)
        assert found.closed == [(1001, "")]


async def test_a_message_of_the_upstream_that_is_too_large_ends_it(tmp_path: Path) -> None:
    async def flood(connection: ServerConnection) -> None:
        await connection.send("x" * 1_001)
        await connection.wait_closed()

    limits = LimitSettings(websocket_message=1_000)
    async with provider(flood) as found, running_node(tmp_path, upstream=found.url, limits=limits) as node:
        async with connect(f"ws://127.0.0.1:{node.port}/v1/realtime", compression=None, proxy=None) as client:
            await client.wait_closed()
            assert client.close_code == 1014
            assert client.close_reason == "the upstream: a message is over 1,000 bytes"
        await all_gone(node, found)
        assert found.closed == [(1009, "a message is over 1,000 bytes")]


@pytest.mark.parametrize("frame", [b"\x81\x01x", b"\x83\x80abcd", b"\x89\xfe\x00\x7eabcd", b"\x80\x80abcd"])
async def test_what_is_no_frame_reaches_nobody(tmp_path: Path, frame: bytes) -> None:
    async with provider() as found, running_node(tmp_path, upstream=found.url) as node:
        async with RawConnection(node.port) as raw:
            await raw.send(WITH_KEY + b"Authorization: Bearer sk-own\r\n\r\n")
            await raw.until(b"\r\n\r\n")
            await raw.send(frame)
            assert (await raw.exactly(4))[2:] == b"\x03\xea"
            await raw.send(b"\x88\x80abcd")
        await all_gone(node, found)
        assert found.closed == [(1001, "")]
