"""What an exact hit sends from ready-made bytes is what it sends otherwise."""

from pathlib import Path

import pytest
from multidict import CIMultiDict

from edgecache.edge.prepared import LARGEST, head
from edgecache.testing.node import CHAT, Node, RawConnection, chat_body, running_node
from edgecache.testing.scripted_upstream import ScriptedUpstream

QUESTION = "How do I enable dark mode in the settings?"


def request(version: str = "1.1", extra: str = "") -> bytes:
    body = chat_body(QUESTION)
    head = f"POST {CHAT} HTTP/{version}\r\nHost: localhost\r\n{extra}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def answer(raw: RawConnection) -> tuple[dict[str, str], bytes]:
    lines = (await raw.until(b"\r\n\r\n")).decode().split("\r\n")
    assert lines[0] == "HTTP/1.1 200 OK" or lines[0] == "HTTP/1.0 200 OK"
    headers = dict(line.split(": ", 1) for line in lines[1:] if line)
    return headers, await raw.exactly(int(headers["Content-Length"]))


async def test_ready_made_bytes_are_those_of_the_long_way(node: Node, upstream: ScriptedUpstream) -> None:
    await node.chat(QUESTION)
    async with RawConnection(node.port) as raw:
        await raw.send(request() * 3)  # pipelined: each ends where the next begins
        ready = [await answer(raw) for _ in range(3)]
    async with RawConnection(node.port) as raw:
        await raw.send(request(extra="Connection: close\r\n"))
        headers, body = await answer(raw)
    assert headers.pop("Connection") == "close"
    for found, content in ready:
        assert content == body
        assert {**found, "Date": "", "Age": ""} == {**headers, "Date": "", "Age": ""}
        assert found["X-Cache"] == "HIT"
    assert len(upstream.requests) == 1


async def test_an_old_client_is_answered_in_its_own_version(node: Node, upstream: ScriptedUpstream) -> None:
    await node.chat(QUESTION)
    async with RawConnection(node.port) as raw:
        await raw.send(request("1.0"))
        headers, _ = await answer(raw)
    assert headers["X-Cache"] == "HIT"
    assert len(upstream.requests) == 1


async def test_a_large_answer_goes_the_long_way(tmp_path: Path) -> None:
    large = ScriptedUpstream(lambda _: "x" * (LARGEST + 1))
    async with large as upstream, running_node(tmp_path, upstream=upstream) as node:
        await node.chat(QUESTION)
        again = await node.chat(QUESTION)
    assert again.headers["X-Cache"] == "HIT"
    assert len(again.text) == LARGEST + 1
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\rb"])
def test_a_header_that_would_end_its_line_makes_no_head(value: str) -> None:
    assert head(CIMultiDict({"X-Name": value}), 1, 0.0) is None
