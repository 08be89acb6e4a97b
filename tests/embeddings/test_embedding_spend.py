"""What embeddings cost, what those from cache did not, and limits."""

import asyncio
from pathlib import Path

from embedding_provider import RULE, ask, embeddings, holding, numbers

from edgecache.testing.node import Clock, Node, running_node
from edgecache.testing.scripted_upstream import ScriptedUpstream

LIMIT = """
[[limit]]
scopes = ["local"]
per = "1h"
requests = 2
"""


def sums(node: Node) -> tuple[tuple[int, int], tuple[int, int]]:
    """Answers and tokens: spent, saved."""
    rows = node.app._accounts.routes()
    spent, saved = [row.spent for row in rows], [row.saved for row in rows]
    return (
        (sum(one.answers for one in spent), sum(one.prompt for one in spent)),
        (sum(one.answers for one in saved), sum(one.prompt for one in saved)),
    )


async def test_what_is_asked_is_spent_and_what_is_found_is_saved(node: Node, upstream: ScriptedUpstream) -> None:
    await ask(node, [[1, 2, 3], [4]])
    assert sums(node) == ((1, 4), (0, 0))
    await ask(node, [[4], [1, 2, 3], [4]])
    assert sums(node) == ((1, 4), (1, 5)), "the provider would have counted what is repeated"
    await ask(node, [[1, 2, 3], [5, 6]])
    assert sums(node) == ((2, 6), (2, 8))
    await ask(node, [7, 8], headers={"Cache-Control": "no-store"})
    assert sums(node) == ((3, 8), (2, 8))


async def test_who_waits_for_what_another_asked_for_saves_it(node: Node, upstream: ScriptedUpstream) -> None:
    gate = holding(upstream)
    first = asyncio.create_task(ask(node, ["one two"]))
    await upstream.wait_requests(1)
    second = asyncio.create_task(ask(node, ["one two", "three"]))
    await upstream.wait_requests(2)
    gate.set()
    await asyncio.gather(first, second)
    assert sums(node) == ((2, 3), (1, 2))


async def test_a_limit(tmp_path: Path, upstream: ScriptedUpstream) -> None:
    """What is found asks nobody."""
    async with running_node(tmp_path, upstream=upstream, policy=RULE + LIMIT, clock=Clock()) as node:
        assert [(await ask(node, text)).status for text in ("a", "a", "b", "a", "b")] == [200] * 5
        refused = await ask(node, ["a", "c"])
        assert refused.status == 429 and "Retry-After" in refused.headers
        assert embeddings(await ask(node, ["a", "b"])) == [numbers("a"), numbers("b")]
    assert len(upstream.requests) == 2
