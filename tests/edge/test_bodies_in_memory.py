"""Bodies that come: all that are read whole have one budget, and none holds a provider's connection before it comes."""

import asyncio
import io
from pathlib import Path

from edgecache.settings import LimitSettings
from edgecache.testing.node import DEADLINE_S, JSON, Node, RawConnection, Reply, chat_body, running_node
from edgecache.testing.scripted_upstream import ScriptedUpstream

CHAT = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
FILES = b"POST /v1/files HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
MIB = 1 << 20


async def ask(node: Node, body: bytes) -> Reply:
    """From a file, as aiohttp wants large bodies."""
    return await node.ask("POST", "/v1/chat/completions", io.BytesIO(body), headers=JSON)


async def test_bodies_that_come_share_a_budget(tmp_path: Path, upstream: ScriptedUpstream) -> None:
    """Both that announce their length and that do not; small ones are always read. What is answered is given back."""
    large = chat_body("x" * MIB)
    async with (
        running_node(tmp_path, upstream=upstream, limits=LimitSettings(bodies=3 * MIB)) as node,
        asyncio.timeout(DEADLINE_S),
    ):
        for framing, part in (
            (b"Content-Length: 20000000\r\n\r\n", b"x" * (5 * MIB // 2)),
            (b"Transfer-Encoding: chunked\r\n\r\n", b"%x\r\n" % (5 * MIB // 2) + b"x" * (5 * MIB // 2)),
        ):
            async with RawConnection(node.port) as one, RawConnection(node.port) as other:
                answers = [asyncio.create_task(raw.until(b"}}")) for raw in (one, other)]
                await asyncio.gather(*(raw.send(CHAT + framing + part) for raw in (one, other)))
                await asyncio.wait(answers, return_when=asyncio.FIRST_COMPLETED)
                assert (await node.chat("Hi")).status == 200
                refused = [task.result() for task in answers if task.done()]  # the second may be, before the first is
                assert all(answer.startswith(b"HTTP/1.1 503") for answer in refused)
                assert all(b"\r\nRetry-After: 1\r\n" in answer for answer in refused)
                for task in answers:
                    task.cancel()
            while (await ask(node, large)).status != 200:
                pass
        for number in range(5):  # one after the other: none holds what another needs
            assert (await ask(node, chat_body("x" * 2 * MIB, seed=number))).status == 200


async def test_an_announced_body_holds_nothing_before_it_comes(tmp_path: Path, upstream: ScriptedUpstream) -> None:
    async with (
        running_node(tmp_path, upstream=upstream, limits=LimitSettings(bodies=3 * MIB)) as node,
        RawConnection(node.port) as raw,
    ):
        await raw.send(CHAT + b"Content-Length: 20000000\r\n\r\n{")
        assert (await ask(node, chat_body("x" * 2 * MIB))).status == 200


async def test_an_upload_takes_a_connection_when_its_body_comes(tmp_path: Path, upstream: ScriptedUpstream) -> None:
    async with running_node(tmp_path, upstream=upstream) as node:
        for framing, rest in (
            (b"Content-Length: 5", b"hello"),
            (b"Transfer-Encoding: chunked", b"5\r\nhello\r\n0\r\n\r\n"),
        ):
            seen = len(upstream.requests)
            async with RawConnection(node.port) as raw:
                await raw.send(FILES + framing + b"\r\n\r\n")
                for _ in range(10):
                    statistics = await node.statistics()
                    assert statistics["upstream"]["targets"][0]["open"] == 0
                await raw.send(rest)
                assert (await raw.rest()).startswith(b"HTTP/1.1 ")
            assert [request.body for request in upstream.requests[seen:]] == [b"hello"]
