"""Everything that is not a chat completion goes to the upstream as it came, and comes back as it came."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from edgecache.settings import LimitSettings
from edgecache.testing.node import JSON, Node, RawConnection, running_node
from edgecache.testing.scripted_upstream import Answer, Received, ScriptedUpstream, Step


@pytest.fixture
async def upstream():
    """Says what it got."""

    def script(request: Received) -> Answer:
        return Answer(headers=(("Content-Type", "text/plain"),), body=f"{request.method} {request.path}".encode())

    async with ScriptedUpstream(script=script) as upstream:
        yield upstream


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY", "M-SEARCH"])
@pytest.mark.parametrize(
    "target",
    ["/v1/files", "/v1/files/a%2Fb%20c?x=%41&y=&&z=a+b%20c&x=2", "/", "/%C3%A4?", "/a//b/../c;d=1", "/v1/evals?q"],
)
async def test_method_target_and_bodies_are_untouched(
    node: Node, upstream: ScriptedUpstream, method: str, target: str
) -> None:
    passed = await node.ask(method, target, b"\x00\xff body")
    (seen,) = upstream.requests
    path, _, query = target.partition("?")
    assert (seen.method, seen.path, seen.query, seen.body) == (method, path, query, b"\x00\xff body")
    assert (passed.status, passed.body) == (200, f"{method} {path}".encode())
    assert passed.headers["Cache-Status"] == "edgecache; fwd=bypass"
    assert passed.headers["X-Served-By"] == "node-under-test"
    assert passed.headers["Content-Type"] == "text/plain"


async def test_a_head_request_has_a_head_and_no_body(node: Node, upstream: ScriptedUpstream) -> None:
    upstream.enqueue(Answer(headers=(("Content-Length", "1234"), ("ETag", '"x"')), body=b""))
    async with RawConnection(node.port) as raw:
        await raw.send(
            b"HEAD /v1/files HTTP/1.1\r\nHost: localhost\r\n\r\nGET /v1/next HTTP/1.1\r\nHost: localhost\r\n\r\n"
        )
        head = await raw.until(b"\r\n\r\n")
        assert b"\r\nContent-Length: 1234\r\n" in head
        assert b'\r\nETag: "x"\r\n' in head
        assert (await raw.until(b"GET /v1/next")).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("status", [204, 304])
async def test_an_answer_without_a_body_has_none(node: Node, upstream: ScriptedUpstream, status: int) -> None:
    upstream.enqueue(Answer(status=status, headers=(("ETag", '"x"'),)))
    async with RawConnection(node.port) as raw:
        await raw.send(
            b"GET /v1/files HTTP/1.1\r\nHost: localhost\r\n\r\nGET /v1/next HTTP/1.1\r\nHost: localhost\r\n\r\n"
        )
        head = await raw.until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 %d" % status)
        assert b"transfer-encoding" not in head.lower()
        assert (await raw.until(b"GET /v1/next")).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("status", [301, 302, 307])
async def test_redirects_are_the_clients_to_follow(node: Node, upstream: ScriptedUpstream, status: int) -> None:
    upstream.enqueue(Answer(status=status, headers=(("Location", "https://elsewhere.example/x"),)))
    passed = await node.ask("GET", "/v1/files")
    assert (passed.status, passed.headers["Location"]) == (status, "https://elsewhere.example/x")
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("status", [400, 404, 429, 500, 503])
async def test_errors_come_back_as_they_came(node: Node, upstream: ScriptedUpstream, status: int) -> None:
    upstream.enqueue(Answer(status=status, headers=(("Retry-After", "9"), ("X-A", "1"), ("X-A", "2")), body=b"no"))
    passed = await node.ask("POST", "/v1/files", b"x")
    assert (passed.status, passed.body, passed.headers["Retry-After"]) == (status, b"no", "9")
    assert passed.headers.getall("X-A") == ["1", "2"]
    assert len(upstream.requests) == 1


async def test_compressed_bodies_stay_compressed_both_ways(node: Node, upstream: ScriptedUpstream) -> None:
    sent, came = gzip.compress(b"sent"), gzip.compress(b"came")
    upstream.enqueue(Answer(headers=(("Content-Encoding", "gzip"),), body=came))
    passed = await node.ask("POST", "/v1/files", sent, headers={"Content-Encoding": "gzip", "Accept-Encoding": "gzip"})
    assert (passed.headers["Content-Encoding"], passed.body) == ("gzip", came)
    assert upstream.requests[0].body == sent
    assert upstream.requests[0].header("Content-Encoding") == "gzip"
    assert upstream.requests[0].header("Accept-Encoding") == "gzip"


async def test_headers_of_one_hop_do_not_travel(node: Node, upstream: ScriptedUpstream) -> None:
    hop = {"Connection": "keep-alive, X-Mine", "X-Mine": "1", "Keep-Alive": "1", "TE": "trailers", "X-End": "to end"}
    back = (("Connection", "X-Theirs"), ("X-Theirs", "1"), ("Keep-Alive", "1"), ("X-End", "to end"))
    upstream.enqueue(Answer(headers=back, body=b"x"))
    passed = await node.ask("GET", "/v1/files", headers=hop)
    seen = {name.lower() for name, _ in upstream.requests[0].headers}
    assert not seen & {"x-mine", "keep-alive", "te"}
    assert upstream.requests[0].header("X-End") == passed.headers["X-End"] == "to end"
    assert not {"X-Theirs", "Keep-Alive"} & set(passed.headers)
    assert upstream.requests[0].header("Host") == URL(upstream.url).authority


async def test_an_upload_is_streamed(tmp_path: Path) -> None:
    """The first chunk reaches the upstream before the last is sent. Larger than what is read whole, too."""
    seen = asyncio.Event()

    async def provider(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"Transfer-Encoding: chunked" in head
        await reader.readuntil(b"first")
        seen.set()
        await reader.readuntil(b"\r\n0\r\n\r\n")
        writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok")
        writer.close()

    async def upload() -> AsyncIterator[bytes]:
        yield b"first"
        await seen.wait()
        for _ in range(64):
            yield b"x" * 65_536

    server = await asyncio.start_server(provider, "127.0.0.1", limit=8 << 20)
    port = server.sockets[0].getsockname()[1]
    async with running_node(tmp_path, upstream=f"http://127.0.0.1:{port}", limits=LimitSettings(body=1 << 20)) as node:
        passed = await node.ask("POST", "/v1/files", upload())
        assert (passed.status, passed.body) == (201, b"ok")
    server.close()


async def test_a_download_is_streamed(node: Node, upstream: ScriptedUpstream) -> None:
    barrier = asyncio.Event()
    upstream.enqueue(Answer(chunks=[b"first", barrier, b"second"]))
    async with node.session.get(f"{node.url}/v1/files/1/content") as response:
        assert await response.content.readexactly(5) == b"first"
        barrier.set()
        assert await response.content.read() == b"second"


async def test_a_download_that_is_cut_is_cut_for_the_client(node: Node, upstream: ScriptedUpstream) -> None:
    upstream.enqueue(Answer(chunks=[b"first", Step.CUT]))
    with pytest.raises(aiohttp.ClientPayloadError):
        await node.ask("GET", "/v1/files/1/content")


async def test_a_client_that_leaves_ends_the_upstream_request(node: Node, upstream: ScriptedUpstream) -> None:
    upstream.enqueue(Answer(chunks=[b"first", asyncio.Event()]))
    async with node.session.get(f"{node.url}/v1/files/1/content") as response:
        assert await response.content.readexactly(5) == b"first"
        response.close()
    await upstream.wait_connections(0)


@pytest.mark.parametrize("path", ["/v1/files", "/v1/chat/completions"])
async def test_who_expects_to_be_told_to_continue_is(node: Node, upstream: ScriptedUpstream, path: str) -> None:
    body = b'{"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}'
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n"
    async with RawConnection(node.port) as raw:
        await raw.send(head.encode())
        assert await raw.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await raw.send(body)
        assert (await raw.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK\r\n")
    assert upstream.requests[0].body == body
    assert upstream.requests[0].header("Expect") is None


async def test_what_is_refused_is_refused_before_the_body_is_sent(tmp_path: Path, upstream: ScriptedUpstream) -> None:
    """Also for a question: who may not ask need not send what."""
    async with running_node(tmp_path, upstream=upstream, key="sk-configured") as node:
        for path in ("/v1/files", "/v1/chat/completions"):
            async with RawConnection(node.port) as raw:
                head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999\r\nExpect: 100-continue\r\n"
                await raw.send(head.encode() + b"Authorization: Bearer edgecache-unknown\r\n\r\n")
                assert (await raw.until(b"\r\n")).startswith(b"HTTP/1.1 401")
    assert upstream.requests == []


async def test_without_an_upstream_other_paths_are_not_found(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        for method, path in (("GET", "/v1/files"), ("POST", "/v1/moderations"), ("GET", "/"), ("HEAD", "/v1/models")):
            refused = await node.ask(method, path)
            assert refused.status == 404
        refused = await node.ask("POST", "/v1/moderations", b"{}", headers=JSON)
        assert "No upstream is configured" in refused.error["message"]
        assert "/v1/chat/completions" in refused.error["message"]
        unknown = await node.chat("Hi")
        assert (unknown.status, unknown.error["code"]) == (404, "model_not_found")


# --- models -------------------------------------------------------------------------------------------------------


async def test_the_providers_list_of_models_keeps_its_own(tmp_path: Path) -> None:
    listed = b'{"object": "list", "x": 1.50, "data": [{"id": "theirs", "extra": {"a": [1]}}]}'
    answer = Answer(headers=(("Content-Type", "application/json"), ("x-request-id", "r1")), body=listed)
    async with ScriptedUpstream(script=lambda _: answer) as upstream, running_node(tmp_path, upstream=upstream) as node:
        models = await node.ask("GET", "/v1/models?limit=1", headers={"Authorization": "Bearer sk-own"})
        assert models.status == 200
        assert models.headers.getall("Content-Type") == ["application/json"]
        assert models.headers["x-request-id"] == "r1"
        assert models.json()["data"] == [{"id": "theirs", "extra": {"a": [1]}}]
        assert b"1.50" in models.body
        assert upstream.requests[0].query == "limit=1"
        assert upstream.requests[0].header("Authorization") == "Bearer sk-own"


@pytest.mark.parametrize(("status", "body"), [(401, b'{"error": {}}'), (200, b"not a list"), (500, b"")])
async def test_what_is_not_a_list_of_models_comes_back_as_it_came(tmp_path: Path, status: int, body: bytes) -> None:
    answer = Answer(status=status, body=body)
    async with ScriptedUpstream(script=lambda _: answer) as upstream, running_node(tmp_path, upstream=upstream) as node:
        models = await node.ask("GET", "/v1/models")
        assert (models.status, models.body) == (status, body)


async def test_another_path_of_models_is_passed_through(node: Node, upstream: ScriptedUpstream) -> None:
    passed = await node.ask("GET", "/v1/models/gpt-4o")
    assert passed.body == b"GET /v1/models/gpt-4o"
