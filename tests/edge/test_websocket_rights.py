"""Who may open a WebSocket, and handshakes that are refused."""

import json
from pathlib import Path

import pytest
from websocket_provider import HANDSHAKE, KEY, OWN, REALTIME, SAMPLE_KEY, WITH_KEY, all_gone, dial, provider, refused
from websockets.asyncio.server import ServerConnection
from websockets.http11 import Response

from edgecache.settings import LimitSettings, UpstreamSettings
from edgecache.testing.node import RawConnection, running_node
from edgecache.testing.raw_upstream import RawUpstream
from edgecache.testing.scripted_upstream import Answer, ScriptedUpstream
from edgecache.wire.websocket import accept

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
