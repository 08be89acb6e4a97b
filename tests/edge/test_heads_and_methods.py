"""Heads of requests that are too long to go through, and methods that nobody in the middle may pass on."""

import json

import pytest

from edgecache.edge.requests import MAX_HEAD
from edgecache.testing.node import CHAT, Node, RawConnection, chat_body
from edgecache.testing.scripted_upstream import ScriptedUpstream

QUESTION = "How do I enable dark mode in the settings?"
LINE = b"Cache-Control: " + b"a," * 8_000 + b"\r\n"


async def answer_to(port: int, *sent: bytes) -> tuple[bytes, bytes]:
    async with RawConnection(port) as raw:
        for part in sent:
            await raw.send(part)
        head, _, body = (await raw.rest()).partition(b"\r\n\r\n")
        return head, body


def refusal(head: bytes, body: bytes) -> str:
    assert head.split()[1] == b"431", head
    error = json.loads(body)["error"]
    assert error["code"] == "request_header_fields_too_large"
    return str(error["message"])


@pytest.mark.parametrize(
    "start", [b"GET /v1/files", b"POST /v1/chat/completions", b"POST /service/edgecache/purge_all"]
)
@pytest.mark.parametrize("admin", [False, True])
async def test_a_head_of_many_long_fields_is_refused(
    node: Node, upstream: ScriptedUpstream, start: bytes, admin: bool
) -> None:
    """Its end comes with its beginning, so that it is whole when it is looked at."""
    sent = start + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + LINE * 5 + b"Content-Length: 0\r\n\r\n"
    assert f"{MAX_HEAD:,} bytes" in refusal(*await answer_to(node.admin_port if admin else node.port, sent))
    assert upstream.requests == []


async def test_a_head_that_does_not_end_is_refused_as_soon_as_it_is_too_long(node: Node) -> None:
    async with RawConnection(node.port) as raw:
        await raw.send(b"GET /v1/files HTTP/1.1\r\nHost: localhost\r\n")
        for _ in range(5):
            await raw.send(LINE)
        head = await raw.until(b"\r\n\r\n")
    assert head.split()[1] == b"431", head


async def test_heads_one_after_the_other_are_not_added_up(node: Node) -> None:
    async with RawConnection(node.admin_port) as raw:
        for _ in range(6):
            for part in (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n", LINE, b"\r\n"):
                await raw.send(part)
            assert (await raw.until(b'{"status":"ok"}')).startswith(b"HTTP/1.1 200")


async def test_a_question_that_is_known_does_not_open_the_way_for_a_long_head(
    node: Node, upstream: ScriptedUpstream
) -> None:
    body = chat_body(QUESTION)
    for _ in range(2):
        await node.ask("POST", CHAT, body)
    start = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n" % len(body)
    refusal(*await answer_to(node.port, start + b"Connection: close\r\n" + LINE * 5 + b"\r\n" + body))
    assert len(upstream.requests) == 1


async def test_a_cache_control_too_long_to_read_takes_nothing_from_the_cache_and_puts_nothing_there(
    node: Node, upstream: ScriptedUpstream
) -> None:
    for number in range(2):
        answer = await node.chat(QUESTION, headers={"Cache-Control": "a," * 3_000})
        assert answer.headers["X-Cache"] != "HIT"
        assert len(upstream.requests) == number + 1
    assert await node.stored() == 0


@pytest.mark.parametrize("target", ["/v1/files", CHAT, "/pages/one", "/healthz", "localhost:443", "*"])
@pytest.mark.parametrize("method", ["TRACE", "CONNECT"])
@pytest.mark.parametrize("admin", [False, True])
async def test_trace_and_connect_go_to_nobody(
    node: Node, upstream: ScriptedUpstream, method: str, target: str, admin: bool
) -> None:
    """A provider would answer the one with the operator's key, and make a tunnel of the other."""
    smuggled = "GET /smuggled HTTP/1.1\r\nHost: u\r\n\r\n"
    token = await node.token("caller")
    head, body = await answer_to(
        node.admin_port if admin else node.port,
        f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n{smuggled}".encode(),
    )
    if target.startswith("/"):
        assert head.startswith(b"HTTP/1.1 405"), head
        assert b"\r\nAllow: GET, " in head
        assert json.loads(body)["error"]["code"] == "method_not_allowed"
    else:
        assert head.split()[1] in (b"400", b"405"), head  # to the parser it may be no target at all
    assert upstream.requests == []


@pytest.mark.parametrize("target", ["/v1/files#fragment", "/v1/x#/../../files", "/#"])
async def test_a_target_with_a_fragment_is_none(node: Node, upstream: ScriptedUpstream, target: str) -> None:
    """RFC 9112 section 3.2: what one server takes for a part of the path another one cuts off."""
    head, _ = await answer_to(
        node.port, f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
    )
    assert head.startswith(b"HTTP/1.1 400"), head
    assert upstream.requests == []
