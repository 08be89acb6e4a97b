"""How a stream is sent: comments while it waits, stored ones at a pace, and none of the padding."""

import asyncio
from pathlib import Path

import pytest

from edgecache.testing.node import CHAT, chat_body, running_node
from edgecache.testing.scripted_upstream import SSE_HEADERS, Answer, ScriptedUpstream, event

POLICY = """
[[route]]
name = "questions"
{}
"""
JSON = {"Content-Type": "application/json"}


def chunk(delta: dict[str, str], finish: str | None = None, **more: object) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return event(
        {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice], **more}
    )


END = (chunk({}, "stop"), event("[DONE]"))


async def test_a_stream_that_waits_gets_comments(tmp_path: Path) -> None:
    """The provider goes on only when the client has seen one."""
    seen = asyncio.Event()
    answer = Answer(headers=SSE_HEADERS, chunks=[chunk({"content": "So"}), seen, *END])
    async with (
        ScriptedUpstream() as upstream,
        running_node(tmp_path, upstream=upstream, policy=POLICY.format('ping = "10ms"')) as node,
    ):
        upstream.enqueue(answer)
        async with node.session.post(node.url + CHAT, data=chat_body("Hi", stream=True), headers=JSON) as response:
            received = b""
            async for piece in response.content.iter_any():
                received += piece
                if b": ping\n\n" in received:
                    seen.set()
        assert received.replace(b": ping\n\n", b"") == b"".join(
            part for part in answer.chunks or () if isinstance(part, bytes)
        )
        again = await node.chat("Hi", stream=True)
        assert (again.headers["X-Cache"], b"ping" in again.body) == ("HIT", False)
    assert len(upstream.requests) == 1


async def test_padding_is_not_replayed(tmp_path: Path) -> None:
    async with ScriptedUpstream() as upstream, running_node(tmp_path, upstream=upstream) as node:
        padded = chunk({"content": "So"}, obfuscation="xyz")
        upstream.enqueue(Answer(headers=SSE_HEADERS, chunks=[padded, *END]))
        first, again = [await node.chat("Hi", stream=True) for _ in range(2)]
        assert b"obfuscation" in first.body
        assert again.headers["X-Cache"] == "HIT"
        assert b"obfuscation" not in again.body
        assert again.body.count(b"data: ") == first.body.count(b"data: ")


@pytest.mark.parametrize("stream", [True, False])
async def test_a_route_paces_its_replays(tmp_path: Path, stream: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four tokens at eight a second take half a second, in even pauses; a whole body takes none."""
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    usage = {"prompt_tokens": 1, "completion_tokens": 4, "total_tokens": 5}
    chunks = [chunk({"content": text}) for text in ("a", "b")] + [chunk({}, "stop")]
    async with (
        ScriptedUpstream() as upstream,
        running_node(tmp_path, upstream=upstream, policy=POLICY.format("pace = 8")) as node,
    ):
        told = event({"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": [], "usage": usage})
        upstream.enqueue(Answer(headers=SSE_HEADERS, chunks=[*chunks, told, event("[DONE]")]))
        first = await node.chat("Hi", stream=True)
        monkeypatch.setattr("edgecache.flow.pace.asyncio", type("Virtual", (), {"sleep": staticmethod(pause)}))
        again = await node.chat("Hi", stream=stream)
        assert again.headers["X-Cache"] == "HIT"
        assert (again.body == first.body) is stream
    assert pauses == ([0.5 / 3] * 3 if stream else [])
    assert len(upstream.requests) == 1
