"""Clients that leave before the headers, before the first token and in mid-stream: nothing of them stays, neither a
connection to the provider nor a task.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from edgecache.edge.tunnel import CLOSING
from edgecache.testing.node import DEADLINE_S, Node, RawConnection, chat_body, running_node
from edgecache.testing.scripted_upstream import JSON_HEADERS, SSE_HEADERS, Answer, Received, ScriptedUpstream, event

AT_ONCE = 50
NEVER = asyncio.Event
EXACT = '[[route]]\nname = "exact"\nmode = "exact"\n'
PIECE = event({"choices": [{"index": 0, "delta": {"content": "Hel"}, "finish_reason": None}]})
WHOLE = json.dumps({"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}}]}).encode()
UPGRADE = (
    b"GET /v1/realtime HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def post(path: str, body: bytes) -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def chat(number: int) -> bytes:
    return post("/v1/chat/completions", chat_body(f"question {number}"))


def chat_streamed(number: int) -> bytes:
    return post("/v1/chat/completions", chat_body(f"question {number}", stream=True))


def the_same_streamed(_: int) -> bytes:
    """All aboard one flight."""
    return post("/v1/chat/completions", chat_body("the same question", stream=True))


def passed(number: int) -> bytes:
    return post("/v1/files", b"file %d" % number)


KINDS: dict[str, tuple[Callable[[int], bytes], tuple[tuple[str, str], ...], bytes]] = {
    "chat": (chat, JSON_HEADERS, WHOLE[:20]),
    "chat streamed": (chat_streamed, SSE_HEADERS, PIECE),
    "one flight": (the_same_streamed, SSE_HEADERS, PIECE),
    "passed through": (passed, SSE_HEADERS, PIECE),
}
"""What is sent, what the provider's head says, and the piece of its answer that it sends."""


@dataclass
class Leavers:
    """A node whose clients leave, and what it had open before."""

    node: Node
    tasks: set["asyncio.Task[object]"]

    async def gone(self) -> None:
        """Until there is no more than before: no task of a client's, no flight, no request under way."""
        async with asyncio.timeout(DEADLINE_S):
            while asyncio.all_tasks() - self.tasks:
                await asyncio.sleep(0)
        told = await self.node.statistics()
        assert (told["flights"]["flying"], told["flights"]["passengers"]) == (0, 0)
        assert [target["open"] for target in told["upstream"]["targets"]] == [0]
        assert told["websockets"]["open"] == 0


@asynccontextmanager
async def leaving(folder: Path, upstream: ScriptedUpstream | str) -> AsyncGenerator[Leavers, None]:
    async with running_node(folder, upstream=upstream, policy=EXACT) as node:
        await node.statistics()
        yield Leavers(node, asyncio.all_tasks())


async def connected(node: Node, count: int) -> list[RawConnection]:
    return [await RawConnection(node.port).__aenter__() for _ in range(count)]


async def leave(raws: list[RawConnection]) -> None:
    for raw in raws:
        await raw.__aexit__(None, None, None)


def rounds(count: int) -> list[range]:
    return [range(at, min(at + AT_ONCE, count)) for at in range(0, count, AT_ONCE)]


COUNTS = [100, pytest.param(1_000, marks=pytest.mark.slow)]


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("when", ["before the headers", "before the first token", "in mid-stream"])
@pytest.mark.parametrize("kind", KINDS)
async def test_nothing_stays_of_who_leaves(tmp_path: Path, kind: str, when: str, count: int) -> None:
    ask, headers, piece = KINDS[kind]

    def stalls(_: Received) -> Answer:
        if when == "before the headers":
            return Answer(before_head=NEVER())
        chunks = [NEVER()] if when == "before the first token" else [piece, NEVER()]
        return Answer(headers=headers, chunks=chunks)

    async with ScriptedUpstream(script=stalls) as upstream, leaving(tmp_path, upstream) as leavers:
        for numbers in rounds(count):
            raws = await connected(leavers.node, len(numbers))
            seen = len(upstream.requests)
            for raw, number in zip(raws, numbers, strict=True):
                await raw.send(ask(number))
            await upstream.wait_requests(seen + (1 if kind == "one flight" else len(numbers)))
            if when == "in mid-stream" and kind != "chat":
                for raw in raws:
                    await raw.until(b"Hel")
            else:
                await leavers.node.statistics()  # what the provider sent has been read by then
            await leave(raws)
            await upstream.wait_connections(0)
        await leavers.gone()
        assert await leavers.node.stored() == 0


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("when", ["before the answer", "when it is open", "in mid-message"])
async def test_nothing_stays_of_whose_websocket_is_left(tmp_path: Path, when: str, count: int) -> None:
    reached, ended = asyncio.Semaphore(0), asyncio.Semaphore(0)

    async def hold(connection: ServerConnection, _: object) -> None:
        reached.release()
        if when == "before the answer":
            await connection.connection_lost_waiter

    async def listen(connection: ServerConnection) -> None:
        try:
            await connection.recv()
        except ConnectionClosed:
            ended.release()

    async with serve(listen, "127.0.0.1", 0, process_request=hold, ping_interval=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with leaving(tmp_path, f"http://127.0.0.1:{port}") as leavers:
            for numbers in rounds(count):
                raws = await connected(leavers.node, len(numbers))
                for raw in raws:
                    await raw.send(UPGRADE)
                for raw in raws:
                    await reached.acquire()
                    if when != "before the answer":
                        await raw.until(b"\r\n\r\n")
                    if when == "in mid-message":
                        await raw.send(b"\x81\xfe\x10\x00abcd" + b"x" * 100)
                await leave(raws)
                if when != "before the answer":
                    async with asyncio.timeout(CLOSING - 2):  # not only when those that do not go are cut off
                        for _ in numbers:
                            await ended.acquire()
            await leavers.gone()
