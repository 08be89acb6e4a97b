"""Requests that two servers could read as different ones: refused, or one request that upstreams cannot misread. What
hides in a body reaches nobody as a request.
"""

import json
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import pytest
from shared_documents import smuggling_lines

from edgecache.testing.node import CHAT, Node, RawConnection, chat_body, running_node
from edgecache.testing.scripted_upstream import Answer, Received, ScriptedUpstream, chat_answer

HEAD = b"POST /v1/files HTTP/1.1\r\nHost: localhost\r\n"
ENDS = b"Connection: close\r\n"
HIDDEN = b"GET /v1/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
SIZE = b"%x\r\n" % len(HIDDEN)
CHUNKS = SIZE + HIDDEN + b"\r\n0\r\n\r\n"
"""Read by chunks: one body. Read by a length, or by none: a request may begin within."""
BEHIND = b"0\r\n\r\n" + HIDDEN
"""Read by chunks: nothing, and a second request. Read by its length: one body."""


@pytest.fixture
async def upstream() -> AsyncGenerator[ScriptedUpstream, None]:
    async with ScriptedUpstream(script=lambda _: Answer(body=b"seen")) as upstream:
        yield upstream


@pytest.fixture
async def node(tmp_path: Path, upstream: ScriptedUpstream) -> AsyncGenerator[Node, None]:
    """Goes on at the end of each test."""
    async with running_node(tmp_path, upstream=upstream) as node:
        yield node
        assert (await node.ask("GET", "/v1/unharmed")).body == b"seen"


async def exchange(node: Node, sent: bytes) -> bytes:
    async with RawConnection(node.port) as raw:
        await raw.send(sent)
        return await raw.rest()


def forms(line: bytes) -> Iterator[bytes]:
    """A head that this line ends or is part of, and what comes behind: with lengths of all of it or of its first line,
    before and after, and beside a good Transfer-Encoding.
    """
    whole, short = b"Content-Length: %d\r\n" % len(BEHIND), b"Content-Length: %d\r\n" % len(SIZE)
    good = b"Transfer-Encoding: chunked\r\n"
    for fields, rest in ((whole, BEHIND), (short, CHUNKS), (good, CHUNKS)):
        yield HEAD + ENDS + fields + line + b"\r\n\r\n" + rest
        yield HEAD + ENDS + line + b"\r\n" + fields + b"\r\n" + rest
    yield HEAD + ENDS + line + b"\r\n\r\n" + CHUNKS


def harmless(request: Received) -> bool:
    """What upstreams cannot misread: the hidden request is its body, framed in one way only."""
    framing = [name.lower() for name, _ in request.headers if "encoding" in name.lower() or "length" in name.lower()]
    return request.path == "/v1/files" and request.body == HIDDEN and framing == ["transfer-encoding"]


async def test_no_line_of_the_list_smuggles(node: Node, upstream: ScriptedUpstream) -> None:
    lines, refused = smuggling_lines(), 0
    assert len(lines) > 400
    for line in lines:
        for sent in forms(line):
            before = len(upstream.requests)
            answer = await exchange(node, sent)
            seen = upstream.requests[before:]
            if not seen:
                assert answer == b"" or answer.split()[1] == b"400", sent
                assert answer.count(b"HTTP/1.") <= 1, sent
                refused += 1
            else:
                assert [harmless(request) for request in seen] == [True], sent
                assert answer.count(b"HTTP/1.") == 1, sent
    assert refused > 6 * len(lines)


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Length: 5\r\nContent-Length: 5\r\n",
        b"Content-Length: 5\r\nContent-Length: ALL\r\n",
        b"Content-Length: 5, 5\r\n",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: ALL\r\n",
        b"Content-Length: ALL\r\nTransfer_Encoding: chunked\r\n",
        b"Content-Length: ALL\r\nContent_length: 5\r\n",
        b"Content_Length: ALL\r\n",
        b"Content-Length: 0x33\r\n",
        b"Content-Length: 5 1\r\n",
        b"Content-Length:\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: identity\r\n",
    ],
)
@pytest.mark.parametrize("path", [b"/v1/files", b"/v1/chat/completions"])
async def test_lengths_that_conflict_are_refused(
    node: Node, upstream: ScriptedUpstream, path: bytes, fields: bytes
) -> None:
    for behind in (BEHIND, HIDDEN):
        framed = fields.replace(b"ALL", b"%d" % len(behind)) + b"\r\n" + behind
        answer = await exchange(node, HEAD.replace(b"/v1/files", path) + framed)
        assert answer.split()[1] == b"400"
        assert answer.count(b"HTTP/1.") == 1
    assert upstream.requests == []


@pytest.mark.parametrize("path", [b"/v1/files", b"/v1/chat/completions"])
async def test_a_body_that_never_ends_is_refused_at_once(node: Node, upstream: ScriptedUpstream, path: bytes) -> None:
    async with RawConnection(node.port) as raw:
        await raw.send(HEAD.replace(b"/v1/files", path) + b"Transfer-Encoding:\r\n\r\n" + HIDDEN)
        assert b"not `chunked`" in await raw.until(b"}}")
        assert upstream.requests == []


@pytest.mark.parametrize(
    ("first", "second", "status"),
    [
        (b"Content-Type: application/json", b"Content-Type: text/plain", 400),
        (b"Content-Type: application/json", b"content-type: application/json", 400),
        (b"Host: localhost", b"X: y", 400),
        (b"Authorization: Bearer a", b"Authorization: Bearer b", 401),
        (b"Authorization: Bearer a", b"X-Api-Key: b", 401),
        (b"api-key: a", b"api-key: b", 401),
        (b"X-Edgecache-Mode: bypass", b"X-Edgecache-Mode: refresh", 400),
        (b"X-Edgecache-TTL: 5m", b"x-edgecache-ttl: 10m", 400),
        (b"X-Edgecache-Key: a", b"X-Edgecache-Key: b", 400),
        (b"X-Edgecache-Threshold: 0.99", b"X-Edgecache-Threshold: 0.5", 400),
    ],
)
@pytest.mark.parametrize("path", [b"/v1/files", b"/v1/chat/completions"])
async def test_fields_that_conflict_are_refused(
    node: Node, upstream: ScriptedUpstream, path: bytes, first: bytes, second: bytes, status: int
) -> None:
    fields = first + b"\r\n" + second + b"\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
    answer = await exchange(node, HEAD.replace(b"/v1/files", path) + fields)
    assert answer.split()[1] == str(status).encode()
    assert set(json.loads(answer.partition(b"\r\n\r\n")[2])["error"]) == {"message", "type", "param", "code"}
    assert upstream.requests == []


async def test_a_question_that_was_asked_before_is_no_way_around(node: Node, upstream: ScriptedUpstream) -> None:
    """The short way of a request that is remembered looks at the same fields."""
    upstream.enqueue(chat_answer(Received("POST", CHAT, "", (), chat_body("Hi")), str))
    assert (await node.chat("Hi")).headers["X-Cache"] == "MISS"
    await node.landed()
    body = chat_body("Hi")
    head = HEAD.replace(b"/v1/files", CHAT.encode()) + b"Content-Type: application/json\r\n"
    for fields in (b"", b"Transfer_Encoding: chunked\r\n", b"X-Edgecache-Mode: exact\r\nX-Edgecache-Mode: bypass\r\n"):
        sent = head + ENDS + fields + b"Content-Length: %d\r\n\r\n" % len(body) + body
        for _ in range(2):
            assert (await exchange(node, sent)).split()[1] == (b"400" if fields else b"200")
    assert len(upstream.requests) == 1


async def test_what_hides_behind_a_websocket_is_none(node: Node, upstream: ScriptedUpstream) -> None:
    """One with a body is refused, and its body is no request."""
    handshake = (
        b"GET /v1/realtime HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nConnection: close\r\n"
    )
    await exchange(node, handshake + b"Content-Length: %d\r\n\r\n" % len(HIDDEN) + HIDDEN)
    await exchange(node, handshake + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKS)
    assert upstream.requests == []
