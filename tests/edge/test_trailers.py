"""What became of a streamed answer is known when its headers have long left: it is said in a trailer, and kept."""

import pytest

from edgecache.testing.node import CHAT, Node, RawConnection, chat_body
from edgecache.testing.scripted_upstream import SSE_HEADERS, Answer, ScriptedUpstream, Step, event

QUESTION = "How do I enable dark mode?"
CUT_SHORT = [event({"choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": "length"}]})]


async def streamed(node: Node, *headers: str, version: str = "1.1") -> bytes:
    body = chat_body(QUESTION, stream=True)
    lines = [f"POST {CHAT} HTTP/{version}", "Host: localhost", f"Content-Length: {len(body)}", "Connection: close"]
    async with RawConnection(node.port) as connection:
        await connection.send("\r\n".join([*lines, *headers, "", ""]).encode() + body)
        return await connection.rest()


@pytest.mark.parametrize("accepted", ["trailers", "gzip, Trailers;q=0.5"])
async def test_a_client_that_accepts_trailers_gets_one(node: Node, upstream: ScriptedUpstream, accepted: str) -> None:
    """RFC 9110 section 6.5.1, RFC 9112 section 7.1.2; RFC 9211 section 2."""
    head, _, rest = (await streamed(node, f"TE: {accepted}")).partition(b"\r\n\r\n")
    assert b"\r\nTrailer: Cache-Status" in head
    assert rest.endswith(b"\r\n0\r\nCache-Status: edgecache; fwd=miss; fwd-status=200; stored\r\n\r\n")
    assert rest.count(b"\r\n0\r\n") == 1
    hit = await node.chat(QUESTION, stream=True)
    assert hit.headers["X-Cache"] == "HIT"
    assert len(upstream.requests) == 1


async def test_others_get_none(node: Node) -> None:
    answer = await streamed(node)
    assert b"Trailer:" not in answer
    assert answer.endswith(b"\r\n0\r\n\r\n")


async def test_http_1_0_has_none(node: Node) -> None:
    answer = await streamed(node, "TE: trailers", version="1.0")
    assert b"Trailer:" not in answer
    assert answer.endswith(b"data: [DONE]\n\n")


async def test_why_a_stream_was_not_kept_is_told(node: Node, upstream: ScriptedUpstream) -> None:
    upstream.enqueue(Answer(headers=SSE_HEADERS, chunks=[*CUT_SHORT, event("[DONE]")]))
    answer = await streamed(node, "TE: trailers")
    assert b"stored=?0; detail=" in answer.rpartition(b"\r\n0\r\n")[2]
    name = answer.partition(b"X-Edgecache-Id: ")[2][:32].decode()
    explained = await node.manage("GET", f"/admin/entries/{name}")
    assert explained.status == 404
    assert "its last fill ended as" in explained.error["message"]


async def test_a_stream_that_breaks_off_has_no_end_and_no_trailer(node: Node, upstream: ScriptedUpstream) -> None:
    upstream.enqueue(Answer(headers=SSE_HEADERS, chunks=[*CUT_SHORT, Step.CUT]))
    answer = await streamed(node, "TE: trailers")
    assert b"\r\n0\r\n" not in answer
