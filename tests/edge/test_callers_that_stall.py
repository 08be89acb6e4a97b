"""Callers that begin and do not go on: each is ended in bounded time, and holds nothing of a provider's."""

import asyncio
import json
from pathlib import Path

import pytest
import trustme
from aiohttp import web
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from edgecache.edge.server import Listener, Patience, tls_context
from edgecache.errors import InvalidSettings
from edgecache.settings import LimitSettings
from edgecache.testing.node import DEADLINE_S, RawConnection, chat_body, running_node
from edgecache.testing.scripted_upstream import SSE_HEADERS, Answer, Received, ScriptedUpstream, Step

CHAT = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
FILES = b"POST /v1/files HTTP/1.1\r\nHost: localhost\r\n"
SOON = 0.1
LONG = 3_600


def limits(*, head: float = LONG, body_idle: float = LONG, write_idle: float = LONG) -> LimitSettings:
    return LimitSettings(head=head, body_idle=body_idle, write_idle=write_idle)


def timed_out(answer: bytes) -> str:
    """The message of a 408 in the provider's shape, which is the only response."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.") and head.split()[1] == b"408", answer[:200]
    assert b"\r\nconnection: close" in head.lower() or head.startswith(b"HTTP/1.0")
    error = json.loads(body)["error"]
    assert error["code"] == "request_timeout"
    return str(error["message"])


@pytest.mark.parametrize("admin", [False, True])
@pytest.mark.parametrize("sent", [b"P", CHAT, b"GET /healthz HTTP/1.1\r\nX: " + b"x" * 1_000])
async def test_a_head_that_does_not_end_is_refused(tmp_path: Path, sent: bytes, admin: bool) -> None:
    async with (
        running_node(tmp_path, limits=limits(head=SOON)) as node,
        RawConnection(node.admin_port if admin else node.port) as raw,
    ):
        await raw.send(sent)
        assert "head" in timed_out(await raw.rest())


async def test_a_second_head_that_does_not_end_is_refused(tmp_path: Path) -> None:
    async with running_node(tmp_path, limits=limits(head=SOON)) as node, RawConnection(node.admin_port) as raw:
        await raw.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await raw.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        await raw.send(b"GET /healthz HTTP/1.1\r\n")
        assert b"HTTP/1.0 408" in await raw.rest()


async def test_an_idle_connection_waits_for_another_limit(tmp_path: Path) -> None:
    """One that has sent nothing has begun no head."""
    async with (
        running_node(tmp_path, limits=limits(head=SOON)) as node,
        RawConnection(node.admin_port) as idle,
        RawConnection(node.admin_port) as begun,
    ):
        await begun.send(b"GET")
        await begun.rest()
        await idle.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await idle.until(b"\r\n")).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("head", [CHAT, FILES], ids=["chat", "passed through"])
@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: 1000\r\n\r\n",
        b"Content-Length: 1000\r\n\r\n{",
        b"Content-Length: 1000000\r\n\r\n{",
        b"Transfer-Encoding: chunked\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\n{",
    ],
)
async def test_a_body_that_does_not_go_on_is_refused(
    tmp_path: Path, upstream: ScriptedUpstream, head: bytes, framing: bytes
) -> None:
    async with running_node(tmp_path, upstream=upstream, limits=limits(body_idle=SOON)) as node:
        async with RawConnection(node.port) as raw:
            await raw.send(head + framing)
            assert "body" in timed_out(await raw.rest())
        await upstream.wait_connections(0)
        assert upstream.requests == []
        assert (await node.chat("Hi")).status == 200


async def test_a_long_answer_is_no_pause_in_the_body(tmp_path: Path, upstream: ScriptedUpstream) -> None:
    upstream.enqueue(Answer(body=b"late", delay_ms=4_000 * SOON))
    async with (
        running_node(tmp_path, upstream=upstream, limits=limits(body_idle=SOON, head=SOON)) as node,
        RawConnection(node.port) as raw,
    ):
        await raw.send(FILES + b"Content-Length: 2\r\nConnection: close\r\n\r\nok")
        assert (await raw.rest()).endswith(b"late")


class Deaf(RawConnection):
    """Sends and never reads."""

    async def __aenter__(self) -> "Deaf":
        await super().__aenter__()
        self._writer.transport.pause_reading()  # type: ignore[attr-defined]
        return self


@pytest.mark.parametrize("path", ["/v1/files", "/v1/chat/completions"])
async def test_a_client_that_does_not_read_gives_the_upstream_back(tmp_path: Path, path: str) -> None:
    """Larger than what all buffers between them take."""
    cut = asyncio.Event()

    def endless(_: Received) -> Answer:
        return Answer(headers=SSE_HEADERS, chunks=[*(b"data: {}\n\n" * 100_000 for _ in range(40)), cut, Step.CUT])

    async with ScriptedUpstream(script=endless) as upstream:
        async with running_node(tmp_path, upstream=upstream, limits=limits(write_idle=SOON)) as node:
            body = chat_body("Hi", stream=True)
            async with Deaf(node.port) as raw:
                await raw.send(
                    f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
                )
                await upstream.wait_requests(1)
                await upstream.wait_connections(0)
        cut.set()


async def test_an_answer_nobody_takes_does_not_keep_its_connection(tmp_path: Path) -> None:
    """One that is written and done with: the connection only waits to be closed."""
    written: asyncio.Future[asyncio.Transport] = asyncio.get_running_loop().create_future()

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.set_write_buffer_limits(1 << 30)
        response = web.Response(body=b"x" * (32 << 20))
        response.force_close()
        await response.prepare(request)
        await response.write_eof()
        written.set_result(request.transport)
        return response

    listener = Listener("127.0.0.1", 0, handle, None, drain=0.1, patience=Patience(LONG, LONG, SOON))
    await listener.open()
    try:
        async with Deaf(listener.port) as raw:
            await raw.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            async with asyncio.timeout(DEADLINE_S):
                transport = await written
                while transport.get_write_buffer_size():
                    await asyncio.sleep(0)
    finally:
        await listener.close()


async def test_an_encrypted_key_asks_nobody(tmp_path: Path) -> None:
    certificate = trustme.CA().issue_cert("127.0.0.1")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    certificate.cert_chain_pems[0].write_to_path(str(chain))
    plain = load_pem_private_key(certificate.private_key_pem.bytes(), None)
    key.write_bytes(plain.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"phrase")))
    with pytest.raises(InvalidSettings, match="the key is encrypted: give one without a pass phrase"):
        tls_context(str(chain), str(key))
