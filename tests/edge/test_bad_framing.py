"""Bytes that are not HTTP, or that two servers could read differently: an error or a closed connection in bounded
time, nothing upstream that was not asked for, and a node that goes on.
"""

import json
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from shared_documents import smuggling_lines

from edgecache.settings import LimitSettings
from edgecache.testing.node import Node, RawConnection, running_node
from edgecache.testing.scripted_upstream import ScriptedUpstream

QUESTION = "How do I enable dark mode in the settings?"
CHAT = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
FILES = b"POST /v1/files HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture
async def node(tmp_path: Path, upstream: ScriptedUpstream) -> AsyncGenerator[Node, None]:
    """Unharmed at the end of each test, and with nothing stored but the one good question."""
    async with running_node(tmp_path, upstream=upstream, limits=LimitSettings(body=1 << 20)) as node:
        yield node
        seen = len(upstream.requests)
        assert await node.stored() == 0
        assert (await node.chat(QUESTION)).headers["X-Cache"] == "MISS"
        assert len(upstream.requests) == seen + 1


async def exchange(node: Node, *sent: bytes) -> bytes:
    """All that comes back for these bytes until the node closes the connection."""
    async with RawConnection(node.port) as raw:
        for part in sent:
            await raw.send(part)
        return await raw.rest()


def refusal(answer: bytes, status: int = 400) -> str:
    """The message of an error in the provider's shape, which is the only response."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith((b"HTTP/1.1 %d " % status, b"HTTP/1.0 %d " % status)), answer[:200]
    assert b"\r\ncontent-type: application/json" in head.lower()
    error = json.loads(body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert "Traceback" not in error["message"]
    return str(error["message"])


def chunked(*chunks: bytes) -> bytes:
    return b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(chunks)


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(64)) + b"\r\n\r\n",
        b"hello\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nNo colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nA\x00B: c\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n folded: c\r\n\r\n",
        CHAT + b"Content-Length: 5x\r\n\r\nhello",
        CHAT + b"Content-Length: -5\r\n\r\nhello",
        CHAT + b"Content-Length: +5\r\n\r\nhello",
        CHAT + b"Content-Length: 5, 6\r\n\r\nhello",
        CHAT + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        CHAT + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        CHAT + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        CHAT + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        CHAT + b"Transfer-Encoding: gzip\r\n\r\nhello",
        CHAT + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        CHAT + chunked(b"zz\r\nhello\r\n0\r\n\r\n"),
        CHAT + chunked(b"-1\r\nhello\r\n0\r\n\r\n"),
        CHAT + chunked(b"ffffffffffffffffff\r\nhello"),
    ],
)
async def test_what_is_not_http_is_refused(node: Node, upstream: ScriptedUpstream, sent: bytes) -> None:
    assert refusal(await exchange(node, sent)).startswith("The request is not well-formed HTTP")
    assert upstream.requests == []


@pytest.mark.parametrize("head", [CHAT, FILES], ids=["chat", "passed through"])
@pytest.mark.parametrize(
    "rest",
    [b"zz\r\nhello\r\n", b"5\r\nhelloXX0\r\n\r\n", b"\r\n\r\n", b"5;\x00\r\nhello\r\n", b"5 5\r\nhello\r\n0\r\n\r\n"],
)
async def test_framing_that_breaks_in_mid_body_ends_the_request(
    node: Node, upstream: ScriptedUpstream, head: bytes, rest: bytes
) -> None:
    """Once the body is being read. aiohttp 3.14 answers such an error after the request that is waiting for its body,
    for ever.
    """
    async with RawConnection(node.port) as raw:
        await raw.send(head + chunked(b"5\r\n{    \r\n"))
        for _ in range(5):
            await node.statistics()
        await raw.send(rest)
        answer = await raw.rest()
    assert answer == b"" or "not well-formed HTTP" in refusal(answer)
    assert not [request for request in upstream.requests if request.body]


@pytest.mark.parametrize("head", [CHAT, FILES], ids=["chat", "passed through"])
@pytest.mark.parametrize("framing", [b"Content-Length: 1000\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\n5\r\n{"])
async def test_a_client_that_hangs_up_in_mid_body_leaves_nothing(
    node: Node, upstream: ScriptedUpstream, head: bytes, framing: bytes
) -> None:
    async with RawConnection(node.port) as raw:
        await raw.send(head + framing)
        for _ in range(5):
            await node.statistics()
    await upstream.wait_connections(0)
    assert upstream.requests == []


@pytest.mark.parametrize(
    "target", [b"http://x/v1/chat/completions", b"*", b"v1/files", b"//", b"/\x7f", b"/\xff", b"/a b", b"/#x"]
)
async def test_odd_targets_are_answered(node: Node, upstream: ScriptedUpstream, target: bytes) -> None:
    async with RawConnection(node.port) as raw:
        await raw.send(
            b"POST " + target + b" HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
        answer = await raw.rest()
    assert answer.split()[1] in (b"400", b"404")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["message"]
    assert all(request.path.startswith("/") for request in upstream.requests)


async def test_a_header_that_is_too_long_is_refused(node: Node, upstream: ScriptedUpstream) -> None:
    long = b"X-Long: " + b"x" * 100_000 + b"\r\n\r\n"
    refusal(await exchange(node, CHAT + long))
    refusal(await exchange(node, b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n"))
    assert upstream.requests == []


@pytest.mark.parametrize(
    "sent",
    [
        b"Authorization: Bearer sk-SECRET" + b"x" * 40_000 + b"\r\n\r\n",
        b"Authorization: Bearer sk-SECRET\x00\r\n\r\n",
        b"Authorization: Bearer sk-SECRET\r\nAuthorization sk-SECRET\r\n\r\n",
        b"X-sk-SECRET" + b"x" * 40_000 + b": 1\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nsk-SECRET\r\n",
    ],
)
@pytest.mark.parametrize("first", [CHAT, b"GET http://[sk-SECRET HTTP/1.1\r\n", b"sk-SECRET / HTTP/1.1\r\n"])
async def test_what_was_sent_is_not_said_again(
    node: Node, caplog: pytest.LogCaptureFixture, first: bytes, sent: bytes
) -> None:
    caplog.set_level("DEBUG")
    assert "SECRET" not in refusal(await exchange(node, first + sent))
    assert "SECRET" not in caplog.text


async def test_a_header_as_long_as_it_may_be_is_read(node: Node, upstream: ScriptedUpstream) -> None:
    await node.ask("GET", "/v1/files", headers={"Surrogate-Key": "x" * 30_000})
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("head", [CHAT, FILES], ids=["chat", "passed through"])
async def test_what_follows_a_refused_request_is_not_another_request(
    node: Node, upstream: ScriptedUpstream, head: bytes
) -> None:
    """Whoever put it there does not get it answered."""
    smuggled = b"GET /v1/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for framing in (b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n", b"Transfer-Encoding: xchunked\r\n\r\n"):
        answer = await exchange(node, head + framing + b"0\r\n\r\n" + smuggled)
        assert answer.count(b"HTTP/1.") == 1
    assert upstream.requests == []


async def test_lines_that_smuggle_reach_nobody(node: Node, upstream: ScriptedUpstream) -> None:
    """With a length too: a server that does not see the Transfer-Encoding reads the length, one that does the chunks.
    Either it is refused, or it is one request whose body the upstream gets with one clear length.
    """
    body = b"0\r\n\r\nGET /v1/smuggled HTTP/1.1\r\nHost: localhost\r\nX: "
    for line in smuggling_lines():
        head = b"POST /v1/files HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n" % len(body)
        before = len(upstream.requests)
        answer = await exchange(node, head + line + b"\r\n\r\n" + body)
        assert answer.count(b"HTTP/1.") <= 1, line
        seen = upstream.requests[before:]
        assert [(request.path, request.body) for request in seen] in ([], [("/v1/files", body)]), line
        for request in seen:
            assert request.header("Transfer-Encoding") is None, line
            assert request.header("Content-Length") == str(len(body)), line


# --- too large ----------------------------------------------------------------------------------------------------

LIMIT = 1 << 20


async def test_a_body_over_the_limit_is_refused_as_soon_as_it_is_announced(
    node: Node, upstream: ScriptedUpstream
) -> None:
    async with RawConnection(node.port) as raw:
        await raw.send(CHAT + b"Content-Length: %d\r\n\r\n" % (LIMIT + 1))
        head = await raw.until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 413")
        assert b"limits.body" in await raw.until(b"}}")
    assert upstream.requests == []


async def test_a_body_over_the_limit_is_refused_as_soon_as_it_is_seen(node: Node, upstream: ScriptedUpstream) -> None:
    async with RawConnection(node.port) as raw:
        await raw.send(CHAT + b"Transfer-Encoding: chunked\r\n\r\n")
        piece = b"10000\r\n" + b" " * 65_536 + b"\r\n"
        for _ in range(LIMIT // 65_536 + 1):
            await raw.send(piece)
        assert (await raw.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 413")
    assert upstream.requests == []


async def test_a_body_at_the_limit_is_read(node: Node, upstream: ScriptedUpstream) -> None:
    """What is in it is not cached, so that nothing is stored here either."""
    body = b'{"model": 7}' + b" " * (LIMIT - 12)
    for framing in (b"Content-Length: %d\r\n\r\n" % LIMIT + body, chunked(b"100000\r\n" + body + b"\r\n0\r\n\r\n")):
        async with RawConnection(node.port) as raw:
            await raw.send(CHAT + b"Authorization: Bearer sk-%d\r\nCache-Control: x\r\n" % len(framing) + framing)
            assert (await raw.until(b"\r\n")).startswith(b"HTTP/1.1 200")
    assert [request.body for request in upstream.requests] == [body, body]
