"""WebSockets go through to an upstream as they came, both ways, whoever ends them and however."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from edgecache.settings import LimitSettings, UpstreamSettings
from edgecache.testing.node import DEADLINE_S, Node, RawConnection, running_node
from edgecache.testing.raw_upstream import RawUpstream
from edgecache.testing.scripted_upstream import Answer, ScriptedUpstream
from edgecache.wire.websocket import accept

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


# --- who may ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["header", "subprotocol"])
async def test_a_token_of_ours_becomes_the_upstreams_key(tmp_path: Path, way: str) -> None:
    async with provider() as found, running_node(tmp_path, upstream=found.url, key="sk-ops", policy=REALTIME) as node:
        token = await node.token("live")
        headers = {"Authorization": f"Bearer {token}"} if way == "header" else {}
        protocols = ("realtime",) if way == "header" else ("realtime", KEY + token)
        async with dial(node, headers=headers, protocols=protocols) as client:
            assert client.subprotocol == "realtime"
        (asked,) = found.asked
        assert asked.headers.get_all("Authorization") == ["Bearer sk-ops"]
        assert asked.headers["Sec-WebSocket-Protocol"] == "realtime"
        assert token not in repr(asked)


@pytest.mark.parametrize("way", ["header", "subprotocol"])
async def test_a_key_of_the_callers_own_goes_on(tmp_path: Path, way: str) -> None:
    """On any path, and never with the operator's."""
    async with provider() as found, running_node(tmp_path, upstream=found.url, key="sk-ops", policy=REALTIME) as node:
        headers = OWN if way == "header" else {}
        protocols = ("realtime",) if way == "header" else ("realtime", f"{KEY}sk-own")
        async with dial(node, "/v1/elsewhere", headers=headers, protocols=protocols):
            pass
        (asked,) = found.asked
        assert "sk-ops" not in repr(asked)
        shown = asked.headers["Authorization"] if way == "header" else asked.headers["Sec-WebSocket-Protocol"]
        assert shown.endswith("sk-own")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/elsewhere", 403),
        ("/v1/x/../realtime", 403),
        ("/v1/realtime/..;/realtime", 403),
        ("/v1/chat/completions", 403),
        ("/v1/realtime", 101),
    ],
)
async def test_a_token_opens_only_what_a_rule_names(tmp_path: Path, path: str, status: int) -> None:
    policy = REALTIME + '[[route]]\nname = "chat"\npath = "/v1/chat/completions"\n'
    async with provider() as found, running_node(tmp_path, upstream=found.url, key="sk-ops", policy=policy) as node:
        token = await node.token("live")
        async with RawConnection(node.port) as raw:
            await raw.send(
                WITH_KEY.replace(b"/v1/realtime", path.encode()) + f"Authorization: Bearer {token}\r\n\r\n".encode()
            )
            assert (await raw.until(b"\r\n")).split()[1] == str(status).encode()
        assert len(found.asked) == (status == 101)


async def test_nobody_uses_the_operators_key_without_a_token(tmp_path: Path) -> None:
    async with provider() as found, running_node(tmp_path, upstream=found.url, key="sk-ops", policy=REALTIME) as node:
        token = await node.token("live")
        assert (await refused(dial(node, headers={}))).status_code == 401
        assert (await refused(dial(node, headers={"Authorization": "Bearer edgecache-x"}))).status_code == 401
        differ = dial(node, headers=OWN, protocols=("realtime", KEY + token))
        assert (await refused(differ)).status_code == 401
        assert found.asked == []


async def test_a_token_anywhere_else_is_refused(tmp_path: Path) -> None:
    """It would go on to the provider."""
    async with provider() as found, running_node(tmp_path, upstream=found.url, policy=REALTIME) as node:
        token = await node.token("live")
        ours = {"Authorization": f"Bearer {token}"}
        assert (await refused(dial(node, f"/v1/realtime?key={token}"))).status_code == 401
        assert (await refused(dial(node, f"/v1/realtime?key={token.replace('-', '%2D')}"))).status_code == 401
        assert (await refused(dial(node, headers={**ours, "X-Other": token}))).status_code == 401
        assert (await refused(dial(node, headers=ours, protocols=("realtime", token)))).status_code == 401
        assert (await refused(dial(node, protocols=(f"x.{token}",)))).status_code == 401
        assert found.asked == []


async def test_a_page_of_another_site_opens_none_without_a_key(tmp_path: Path) -> None:
    async with provider() as found, running_node(tmp_path, upstream=found.url) as node:
        for headers in ({}, {"Cookie": "session=1"}):
            attempt = dial(node, headers=headers, origin="https://elsewhere.example")
            assert (await refused(attempt)).status_code == 403
        assert found.asked == []
        async with dial(node, headers={}, origin=f"http://127.0.0.1:{node.port}"):
            pass
        async with dial(node, origin="https://elsewhere.example"):
            pass


@pytest.mark.parametrize("change", ["token", "policy"])
async def test_who_may_no_more_is_closed(tmp_path: Path, change: str) -> None:
    """Nothing that is sent after a token was revoked, or its rule was taken away, reaches the upstream."""
    heard: list[str | bytes] = []

    async def listen(connection: ServerConnection) -> None:
        async for message in connection:
            heard.append(message)
            await connection.send(message)

    async with (
        provider(listen) as found,
        running_node(tmp_path, upstream=found.url, key="sk-ops", policy=REALTIME) as node,
    ):
        token = await node.token("live")
        await node.token("another")
        async with dial(node, headers={"Authorization": f"Bearer {token}"}) as client:
            await client.send("before")
            assert await client.recv() == "before"
            if change == "token":
                assert (await node.manage("DELETE", "/admin/tokens/another")).status < 300
                await client.send("still")
                assert await client.recv() == "still"
                assert (await node.manage("DELETE", "/admin/tokens/live")).status < 300
            else:
                (tmp_path / "policies" / "policy.toml").write_text(REALTIME.replace("realtime", "other"))
                assert (await node.manage("POST", "/admin/policy/reload")).status < 300
            await client.send("after")
            await client.wait_closed()
            assert client.close_code == 1008
        await all_gone(node, found)
        assert "after" not in heard
        assert found.closed == [(1001, "")]


# --- handshakes -------------------------------------------------------------------------------------------------------


async def test_an_upstream_that_refuses_is_quoted(tmp_path: Path) -> None:
    def refuse(connection: ServerConnection) -> Response:
        response = connection.respond(429, '{"error": "theirs"}\n')
        response.headers["Retry-After"] = "9"
        return response

    async with provider(refuse=refuse) as found, running_node(tmp_path, upstream=found.url) as node:
        response = await refused(dial(node))
        assert (response.status_code, response.body) == (429, b'{"error": "theirs"}\n')
        assert response.headers["Retry-After"] == "9"
        assert found.asked == []
        assert (await node.statistics())["websockets"] == {"open": 0, "opened": 0, "refused": 1}


async def test_a_connection_goes_on_after_a_refusal(tmp_path: Path, upstream: ScriptedUpstream) -> None:
    """What came behind the handshake is the next request, if it is one."""
    async with running_node(tmp_path, upstream=upstream) as node, RawConnection(node.port) as raw:
        upstream.enqueue(Answer(status=404, body=b"no"), Answer(body=b"second"))
        await raw.send(WITH_KEY + b"\r\nGET /v1/next HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await raw.until(b"\r\n\r\nno")).startswith(b"HTTP/1.1 404")
        assert (await raw.until(b"second")).startswith(b"HTTP/1.1 200")
        assert [request.path for request in upstream.requests] == ["/v1/realtime", "/v1/next"]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: other\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept(SAMPLE_KEY).encode() + b"\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"",
    ],
)
async def test_what_proves_no_handshake_is_none(tmp_path: Path, answer: bytes) -> None:
    async with (
        RawUpstream(answer) as upstream,
        running_node(tmp_path, upstream=upstream.url) as node,
        RawConnection(node.port) as raw,
    ):
        await raw.send(WITH_KEY + b"\r\n")
        assert (await raw.until(b"\r\n")).startswith(b"HTTP/1.1 502")
        await upstream.wait_connections(0)


@pytest.mark.parametrize(
    "head",
    [
        HANDSHAKE,
        HANDSHAKE + b"Sec-WebSocket-Key: short\r\n",
        WITH_KEY + b"Sec-WebSocket-Key: " + SAMPLE_KEY.encode() + b"\r\n",
        WITH_KEY + b"Upgrade: websocket\r\n",
        WITH_KEY + b"Content-Length: 5\r\n",
        WITH_KEY + b"Transfer-Encoding: chunked\r\n",
        WITH_KEY.replace(b"HTTP/1.1", b"HTTP/1.0"),
    ],
)
async def test_what_begins_no_websocket_is_refused(tmp_path: Path, upstream: ScriptedUpstream, head: bytes) -> None:
    async with running_node(tmp_path, upstream=upstream) as node, RawConnection(node.port) as raw:
        await raw.send(head + b"\r\n")
        assert (await raw.until(b"\r\n")).split()[1] == b"400"
    assert upstream.requests == []


async def test_other_upgrades_are_plain_requests(tmp_path: Path, upstream: ScriptedUpstream) -> None:
    for upgrade in ({"Upgrade": "h2c", "Connection": "Upgrade"}, {"Upgrade": "websocket"}):
        async with running_node(tmp_path, upstream=upstream) as node:
            assert (await node.ask("GET", "/v1/models", headers=upgrade)).status == 200
    async with running_node(tmp_path, upstream=upstream) as node:
        upgrade = {"Upgrade": "websocket", "Connection": "Upgrade"}
        assert (await node.chat("Hi", headers=upgrade)).status == 200
    assert all(request.header("Upgrade") is None for request in upstream.requests)


async def test_without_an_upstream_there_is_none(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        response = await refused(dial(node))
        assert response.status_code == 404
        assert "No upstream" in json.loads(response.body)["error"]["message"]


async def test_an_upstream_that_cannot_be_reached_is_an_error(tmp_path: Path) -> None:
    async with running_node(tmp_path, upstream="http://127.0.0.1:1") as node:
        assert (await refused(dial(node))).status_code == 502


@pytest.mark.parametrize("way", ["header", "subprotocol"])
async def test_a_callers_key_is_shown_to_one_provider_only(tmp_path: Path, way: str) -> None:
    """Another is asked where the first is down, but never with the caller's own key."""
    async with provider() as found:
        upstreams = (
            UpstreamSettings(name="down", url="http://127.0.0.1:1", key="sk-a"),
            UpstreamSettings(name="up", url=found.url, key="sk-b", order=1),
        )
        async with running_node(tmp_path, upstreams=upstreams, policy=REALTIME) as node:
            own = dial(node) if way == "header" else dial(node, headers={}, protocols=("realtime", f"{KEY}sk-own"))
            assert (await refused(own)).status_code == 502
            assert found.asked == []
            async with dial(node, headers={"Authorization": f"Bearer {await node.token('live')}"}):
                pass
            assert found.asked[0].headers["Authorization"] == "Bearer sk-b"


async def test_so_many_are_open_and_no_more(tmp_path: Path) -> None:
    limits = LimitSettings(websockets=2)
    async with provider() as found, running_node(tmp_path, upstream=found.url, limits=limits) as node:
        async with dial(node), dial(node):
            response = await refused(dial(node))
            assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
        await all_gone(node, found)
        async with dial(node):
            pass
