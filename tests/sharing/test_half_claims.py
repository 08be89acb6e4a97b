"""A claim that ended between the store and the log: nobody is served for a tag that other nodes have not heard of."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from edgecache.core.purges import Effect
from edgecache.errors import StoreUnavailable
from edgecache.settings import StoreSettings
from edgecache.testing.node import CHAT, JSON, Node, chat_body, running_node
from edgecache.testing.redis_server import RedisServer
from edgecache.testing.scripted_upstream import Answer, ScriptedUpstream

POLICY = '[[route]]\nname = "answers"\nrequest_tags = true\n'
QUESTION = "What does the page say?"
TAGGED = {"Surrogate-Key": "z"}


@pytest.fixture
async def nodes(
    tmp_path: Path, redis_server: RedisServer, shared_store: Callable[[RedisServer, str], Awaitable[StoreSettings]]
) -> AsyncGenerator[tuple[Node, Node, ScriptedUpstream], None]:
    """Two on one Redis; the first holds an answer in memory that the second has not."""
    store = await shared_store(redis_server, tmp_path.name)
    async with (
        ScriptedUpstream() as upstream,
        running_node(tmp_path / "a", upstream=upstream, policy=POLICY, store=store) as one,
        running_node(tmp_path / "b", upstream=upstream, policy=POLICY, store=store) as other,
    ):
        await one.chat(QUESTION)
        await one.landed()
        assert (await one.chat(QUESTION)).headers["X-Cache"] == "HIT"
        assert len(upstream.requests) == 1
        yield one, other, upstream


class Claims:
    """Stands between a node and its log: the first claim is held until `gate` is set, or fails."""

    def __init__(self, node: Node, fails: bool) -> None:
        self.reached, self.gate, self.count = asyncio.Event(), asyncio.Event(), 0
        self._order, self._fails = node.app._purge_log.order, fails
        node.app._purge_log.order = self.order  # type: ignore[method-assign]

    async def order(self, tags: Any, **more: Any) -> Any:
        if more.get("effect") is Effect.CLAIM:
            self.count += 1
            self.reached.set()
            if self.count == 1 and self._fails:
                raise StoreUnavailable("no answer in time")
            if self.count == 1:
                await self.gate.wait()
        return await self._order(tags, **more)


async def hang_up(node: Node, claims: Claims) -> None:
    async with aiohttp.ClientSession() as session:
        url, headers = node.url + CHAT, {**JSON, **TAGGED}
        asking = asyncio.create_task(session.post(url, data=chat_body(QUESTION), headers=headers))
        await claims.reached.wait()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)


@pytest.mark.parametrize("fails", [False, True], ids=["the caller hangs up", "the log does not answer"])
async def test_the_next_who_finds_it_announces_it_first(
    nodes: tuple[Node, Node, ScriptedUpstream], fails: bool
) -> None:
    one, other, upstream = nodes
    claims = Claims(other, fails)
    if fails:
        upstream.enqueue(Answer(status=500, body=b"{}"))
        assert (await other.chat(QUESTION, headers=TAGGED)).status == 500
        await other.landed()
    else:
        await hang_up(other, claims)
    asked = len(upstream.requests)
    assert (await other.chat(QUESTION, headers=TAGGED)).headers["X-Cache"] == "HIT"
    assert (claims.count, len(upstream.requests)) == (2, asked)
    headers = {"Authorization": f"Bearer {other.admin_token}"}
    purged = await other.ask("POST", "/service/edgecache/purge/z?wait=all", headers=headers)
    assert purged.json()["nodes"] == {"applied": 2, "blind": 0}
    assert (await one.chat(QUESTION)).headers["X-Cache"] == "MISS"
    assert len(upstream.requests) == asked + 1


async def test_it_is_announced_once(nodes: tuple[Node, Node, ScriptedUpstream]) -> None:
    one, other, upstream = nodes
    claims = Claims(other, fails=False)
    claims.gate.set()
    for _ in range(3):
        assert (await other.chat(QUESTION, headers=TAGGED)).headers["X-Cache"] == "HIT"
    assert (await one.chat(QUESTION, headers=TAGGED)).headers["X-Cache"] == "HIT"
    assert (claims.count, len(upstream.requests)) == (1, 1)
