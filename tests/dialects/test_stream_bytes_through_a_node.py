"""Streams cut and split at many bytes on their way through a node; at every byte where slow tests are run."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import aiohttp
import pytest
from cassettes import Exchange
from replay import ALL_PATHS
from short_streams import short_streams

from edgecache.testing.node import Node, Reply, running_node
from edgecache.testing.scripted_upstream import Answer, ScriptedUpstream, Step

SHORT = short_streams()
SOME = 12
"""Bytes of a stream at which it is cut where not all are tried, besides its last ones."""
TURNS = 8
"""Of the event loop between two pieces: enough for the first to have come through, and nothing fails if not."""


def some(stream: Exchange) -> list[int]:
    end = len(stream.answer)
    return sorted({*range(0, end, end // SOME), end - 3, end - 2, end - 1, end})


def every(stream: Exchange) -> list[int]:
    return list(range(len(stream.answer) + 1))


async def ask(node: Node, stream: Exchange, key: str) -> Reply | None:
    """None where the answer broke off."""
    try:
        return await node.ask(
            "POST", stream.target, stream.body, headers={**dict(stream.headers), "Authorization": f"Bearer sk-{key}"}
        )
    except aiohttp.ClientPayloadError:
        return None


async def cut(folder: Path, stream: Exchange, places: Sequence[int], *ending: Step) -> None:
    """Never stored, wherever it is cut, even where only the end of the last chunk is missing; who asks next is given a
    whole one. Whole ones come in between, so that the upstream is not taken for broken.
    """
    async with ScriptedUpstream() as upstream, running_node(folder, upstream=upstream, policy=ALL_PATHS) as node:
        good = Answer(headers=stream.answer_headers, chunks=[stream.answer])
        for place in places:
            pieces = [stream.answer[:place], *ending] if place else list(ending)
            upstream.enqueue(good, good, Answer(headers=stream.answer_headers, chunks=pieces))
            for key in ("one", "other"):
                reply = await ask(node, stream, f"{key}-{place}")
                assert reply is not None and reply.body == stream.answer, f"after a cut before {place}: {reply}"
            reply = await ask(node, stream, "cut")
            assert reply is None or reply.status >= 500 or not whole(reply, stream), f"cut at {place}: {reply}"
        await node.landed()
        assert await node.stored() == 2 * len(places)
        assert len(upstream.requests) == 3 * len(places)
        upstream.enqueue(good)
        last = await ask(node, stream, "cut")
        assert last is not None and last.body == stream.answer


def whole(reply: Reply, stream: Exchange) -> bool:
    """As far as its client can see."""
    return reply.body.endswith(stream.answer[-20:])


async def split(folder: Path, stream: Exchange, places: Sequence[int]) -> None:
    """In two pieces, it comes as it was sent, and the hit has the same bytes."""
    async with ScriptedUpstream() as upstream, running_node(folder, upstream=upstream, policy=ALL_PATHS) as node:
        for number, place in enumerate(places, 1):
            between = asyncio.Event()
            pieces = [piece for piece in (stream.answer[:place], between, stream.answer[place:]) if piece != b""]
            upstream.enqueue(Answer(headers=stream.answer_headers, chunks=pieces))
            asking = asyncio.create_task(ask(node, stream, str(place)))
            await upstream.wait_requests(number)
            for _ in range(TURNS):
                await asyncio.sleep(0)
            between.set()
            reply = await asking
            assert reply is not None and reply.body == stream.answer, f"split at {place}: {reply}"
        await node.landed()
        hits = [await ask(node, stream, str(place)) for place in places]
        assert {hit.headers["X-Cache"] for hit in hits if hit is not None} == {"HIT"}
        assert len({hit.body for hit in hits if hit is not None}) == 1
        assert len(upstream.requests) == len(places)


@pytest.mark.parametrize("stream", SHORT, ids=lambda stream: stream.dialect)
async def test_cut(stream: Exchange, tmp_path: Path) -> None:
    await cut(tmp_path, stream, some(stream), Step.CUT)


@pytest.mark.parametrize("stream", SHORT, ids=lambda stream: stream.dialect)
async def test_ended_too_early(stream: Exchange, tmp_path: Path) -> None:
    """As HTTP it is whole."""
    await cut(tmp_path, stream, some(stream)[:-1])


@pytest.mark.parametrize("stream", SHORT, ids=lambda stream: stream.dialect)
async def test_split(stream: Exchange, tmp_path: Path) -> None:
    await split(tmp_path, stream, some(stream))


@pytest.mark.slow
@pytest.mark.parametrize("stream", SHORT, ids=lambda stream: stream.dialect)
async def test_cut_at_every_byte(stream: Exchange, tmp_path: Path) -> None:
    await cut(tmp_path, stream, every(stream), Step.CUT)


@pytest.mark.slow
@pytest.mark.parametrize("stream", SHORT, ids=lambda stream: stream.dialect)
async def test_split_at_every_byte(stream: Exchange, tmp_path: Path) -> None:
    await split(tmp_path, stream, every(stream))
