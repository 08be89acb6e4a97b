"""A node that is asked to stop: what runs is finished up to a deadline, nothing new begins, and nothing is lost."""

import asyncio
from pathlib import Path

import aiohttp
import pytest

from edgecache.testing.node import JSON, SEMANTIC, Node, chat_body, running_node
from edgecache.testing.scripted_upstream import SSE_HEADERS, Answer, ScriptedUpstream, event

QUESTION = "How do I enable dark mode in the settings?"
DONE = b"data: [DONE]\n\n"


def piece(text: str, finish: str | None = None) -> bytes:
    return event({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]})


async def refuses(node: Node) -> None:
    """Until nobody listens at its port any more."""
    async with asyncio.timeout(60):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", node.port)
            except OSError:
                return
            writer.close()
            await asyncio.sleep(0)


async def test_a_stream_that_ends_in_time_is_whole_and_kept(tmp_path: Path, upstream: ScriptedUpstream) -> None:
    barrier = asyncio.Event()
    upstream.enqueue(Answer(headers=SSE_HEADERS, chunks=[piece("Hel"), barrier, piece("lo", "stop"), DONE]))
    async with running_node(tmp_path, upstream=upstream, policy=SEMANTIC, drain=30) as node:
        body = chat_body(QUESTION, stream=True)
        async with node.session.post(f"{node.url}/v1/chat/completions", data=body, headers=JSON) as response:
            await response.content.readuntil(b"\n\n")
            stopping = asyncio.create_task(node.app.close())
            await refuses(node)
            barrier.set()
            assert await response.read() == piece("lo", "stop") + DONE
        await stopping
    async with running_node(tmp_path, upstream=upstream) as node:
        assert (await node.chat(QUESTION)).headers["X-Cache"] == "HIT"
    assert len(upstream.requests) == 1


async def test_a_stream_that_does_not_end_in_time_is_cut(tmp_path: Path, upstream: ScriptedUpstream) -> None:
    """Seen as cut by its client, and nothing of it is kept."""
    upstream.enqueue(Answer(headers=SSE_HEADERS, chunks=[piece("Hel"), asyncio.Event()]))
    async with running_node(tmp_path, upstream=upstream, policy=SEMANTIC, drain=0.05) as node:
        body = chat_body(QUESTION, stream=True)
        async with node.session.post(f"{node.url}/v1/chat/completions", data=body, headers=JSON) as response:
            await response.content.readuntil(b"\n\n")
            await node.app.close()
            with pytest.raises(aiohttp.ClientPayloadError):
                await response.read()
    await upstream.wait_connections(0)
    async with running_node(tmp_path, upstream=upstream) as node:
        assert await node.stored() == 0


async def test_closing_twice_and_without_requests_is_fine(tmp_path: Path, upstream: ScriptedUpstream) -> None:
    async with running_node(tmp_path, upstream=upstream) as node:
        await node.app.close()
        await node.app.close()
