"""What a request may demand of its answer: RFC 9111 section 5.2.1. A demand that is met is met from the cache."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from edgecache.testing.node import Clock, Node, Reply, running_node
from edgecache.testing.scripted_upstream import Answer, ScriptedUpstream

QUESTION = "How do I enable dark mode in the settings?"
PARAPHRASE = "How do I turn on dark mode in the settings?"
POLICY = """
[[route]]
name = "questions"
mode = "semantic"
threshold = 0.9
ttl = "60s"
stale_if_error = "1h"
"""


@pytest.fixture
async def node(tmp_path: Path, upstream: ScriptedUpstream, clock: Clock) -> AsyncGenerator[Node, None]:
    async with running_node(tmp_path, upstream=upstream, policy=POLICY, clock=clock) as node:
        yield node


async def asked(node: Node, directives: str, question: str = QUESTION) -> Reply:
    return await node.chat(question, headers={"Cache-Control": directives})


async def filled(node: Node) -> Reply:
    first = await node.chat(QUESTION)
    await node.landed()
    return first


@pytest.mark.parametrize("header", [("Cache-Control", "no-cache"), ("Pragma", "no-cache")])
async def test_no_cache_asks_again_and_keeps_the_answer(
    node: Node, upstream: ScriptedUpstream, header: tuple[str, str]
) -> None:
    """Sections 5.2.1.4 and 5.4."""
    first = await filled(node)
    upstream.enqueue(Answer(body=first.body.replace(b"You asked", b"Again")))
    reply = await node.chat(QUESTION, headers=dict([header]))
    assert reply.headers["Cache-Status"] == "edgecache; fwd=request; fwd-status=200; stored"
    assert len(upstream.requests) == 2
    await node.landed()
    assert (await node.chat(QUESTION)).text.startswith("Again")
    assert len(upstream.requests) == 2


async def test_pragma_says_nothing_beside_cache_control(node: Node, upstream: ScriptedUpstream) -> None:
    """Section 5.4."""
    await filled(node)
    await node.chat(QUESTION, headers={"Cache-Control": "max-age=10", "Pragma": "no-cache"})
    assert len(upstream.requests) == 1


async def test_no_store_keeps_nothing(node: Node, upstream: ScriptedUpstream) -> None:
    """Section 5.2.1.5: neither request nor answer; what is stored may be used."""
    reply = await asked(node, "no-store")
    assert (reply.status, await node.stored()) == (200, 0)
    await filled(node)
    assert (await asked(node, "no-store")).headers["X-Cache"] == "HIT"
    assert len(upstream.requests) == 2


async def test_max_age_bounds_the_age(node: Node, upstream: ScriptedUpstream, clock: Clock) -> None:
    """Section 5.2.1.1."""
    await filled(node)
    clock.now += 20
    assert (await asked(node, "max-age=20")).headers["X-Cache"] == "HIT"
    assert len(upstream.requests) == 1
    assert (await asked(node, "max-age=19")).headers["Cache-Status"].startswith("edgecache; fwd=request")
    assert len(upstream.requests) == 2


async def test_min_fresh_wants_so_many_seconds_more(node: Node, upstream: ScriptedUpstream, clock: Clock) -> None:
    """Section 5.2.1.3."""
    await filled(node)
    clock.now += 20
    assert (await asked(node, "min-fresh=40")).headers["X-Cache"] == "HIT"
    assert (await asked(node, "min-fresh=41")).headers["X-Cache"] == "MISS"
    assert len(upstream.requests) == 2


@pytest.mark.parametrize(("directive", "hit"), [("max-stale", True), ("max-stale=30", True), ("max-stale=29", False)])
async def test_max_stale_takes_what_is_stale(
    node: Node, upstream: ScriptedUpstream, clock: Clock, directive: str, hit: bool
) -> None:
    """Section 5.2.1.2; section 4.2.4."""
    await filled(node)
    clock.now += 90
    reply = await asked(node, directive)
    assert (reply.headers["X-Cache"] == "HIT") is hit
    assert len(upstream.requests) == (1 if hit else 2)
    if hit:
        assert reply.headers["Cache-Status"] == "edgecache; hit; ttl=-30; detail=stale"


async def test_only_if_cached_asks_nobody(node: Node, upstream: ScriptedUpstream) -> None:
    """Section 5.2.1.7."""
    refused = await asked(node, "only-if-cached")
    assert (refused.status, refused.error["code"]) == (504, "not_cached")
    assert upstream.requests == []
    first = await filled(node)
    assert (await asked(node, "only-if-cached")).body == first.body
    assert (await asked(node, "only-if-cached", PARAPHRASE)).body == first.body
    assert len(upstream.requests) == 1


async def test_no_transform_wants_the_answer_to_these_very_words(node: Node, upstream: ScriptedUpstream) -> None:
    """Section 5.2.1.6."""
    await filled(node)
    assert (await asked(node, "no-transform", PARAPHRASE)).headers["X-Cache"] == "MISS"
    assert len(upstream.requests) == 2


async def test_what_the_request_forbids_is_not_its_fallback(
    node: Node, upstream: ScriptedUpstream, clock: Clock
) -> None:
    """Section 5.2.1.4 over RFC 5861 section 4."""
    await filled(node)
    clock.now += 70
    upstream.enqueue(Answer(status=503, body=b"{}"))
    assert (await asked(node, "no-cache")).status == 503


async def test_a_demand_is_looked_at_each_time(node: Node, upstream: ScriptedUpstream, clock: Clock) -> None:
    """The short way of an exact hit must not repeat an answer that has grown too old for this request."""
    await filled(node)
    assert (await asked(node, "max-age=0")).headers["X-Cache"] == "HIT"
    assert (await asked(node, "max-age=0")).headers["X-Cache"] == "HIT"
    clock.now += 0.5
    assert (await asked(node, "max-age=0")).headers["X-Cache"] == "MISS"
    assert len(upstream.requests) == 2


async def test_a_route_may_ignore_them(tmp_path: Path, upstream: ScriptedUpstream) -> None:
    policy = '[[route]]\nname = "r"\nrequest_directives = false\n'
    async with running_node(tmp_path, upstream=upstream, policy=policy) as node:
        await filled(node)
        assert (await asked(node, "no-cache, no-store")).headers["X-Cache"] == "HIT"
        assert len(upstream.requests) == 1
