"""Answers past their lifetime: served while they are asked for anew (RFC 5861 section 3), or when that fails (4)."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from edgecache.testing.node import Clock, Node, Reply, running_node
from edgecache.testing.scripted_upstream import JSON_HEADERS, Answer, ScriptedUpstream, Step

QUESTION = "How do I enable dark mode?"
POLICY = """
[[route]]
name = "windows"
ttl = "60s"
tags = ["help"]
stale_while_revalidate = "30s"
stale_if_error = "10m"
request_tags = true
"""


@pytest.fixture
async def node(tmp_path: Path, upstream: ScriptedUpstream, clock: Clock) -> AsyncGenerator[Node, None]:
    async with running_node(tmp_path, upstream=upstream, policy=POLICY, clock=clock) as node:
        yield node


async def filled(node: Node) -> Reply:
    first = await node.chat(QUESTION)
    assert first.headers["Cache-Status"] == "edgecache; fwd=miss; fwd-status=200; stored"
    await node.landed()
    return first


def status_of(reply: Reply) -> str:
    return reply.headers["Cache-Status"]


async def soft_purge(node: Node) -> None:
    headers = {"Authorization": f"Bearer {node.admin_token}", "Fastly-Soft-Purge": "1"}
    purged = await node.ask("POST", "/service/edgecache/purge/help", headers=headers)
    assert purged.status == 200, purged


async def test_a_stale_answer_is_served_while_one_fill_replaces_it(
    node: Node, upstream: ScriptedUpstream, clock: Clock
) -> None:
    """RFC 5861 section 3; RFC 9111 section 5.1: its age is told."""
    first = await filled(node)
    clock.now += 72
    gate = asyncio.Event()
    upstream.enqueue(Answer(body=first.body.replace(b"You asked", b"You asked again"), before_head=gate))
    replies = [await node.chat(QUESTION) for _ in range(3)]
    assert {reply.body for reply in replies} == {first.body}
    assert status_of(replies[0]) == "edgecache; hit; ttl=-12; detail=revalidating"
    assert replies[0].headers["Age"] == "72"
    gate.set()
    await node.landed()
    assert len(upstream.requests) == 2
    fresh = await node.chat(QUESTION)
    assert fresh.text.startswith("You asked again")
    assert status_of(fresh) == "edgecache; hit; ttl=60"
    assert len(upstream.requests) == 2


async def test_after_the_window_it_is_a_miss(node: Node, upstream: ScriptedUpstream, clock: Clock) -> None:
    await filled(node)
    clock.now += 91
    reply = await node.chat(QUESTION)
    assert status_of(reply) == "edgecache; fwd=stale; fwd-status=200; stored"
    assert len(upstream.requests) == 2


@pytest.mark.parametrize("failing", [Answer(status=503, body=b"{}"), Answer(chunks=[b'{"cho', Step.CUT])])
async def test_a_stale_answer_is_served_when_asking_fails(
    node: Node, upstream: ScriptedUpstream, clock: Clock, failing: Answer
) -> None:
    """RFC 5861 section 4."""
    first = await filled(node)
    clock.now += 300
    upstream.enqueue(failing)
    reply = await node.chat(QUESTION)
    assert (reply.status, reply.body) == (200, first.body)
    assert reply.headers["X-Cache"] == "STALE"
    assert status_of(reply).startswith("edgecache; fwd=stale; fwd-status=50")
    assert status_of(reply).endswith("detail=stale-if-error")
    assert reply.headers["Age"] == "300"


async def test_a_refusal_is_no_failure(node: Node, upstream: ScriptedUpstream, clock: Clock) -> None:
    """RFC 5861 section 4 names 500, 502, 503 and 504."""
    await filled(node)
    clock.now += 300
    upstream.enqueue(Answer(status=400, body=b"{}"))
    assert (await node.chat(QUESTION)).status == 400


async def test_an_answer_too_old_is_not_served_whatever_fails(
    node: Node, upstream: ScriptedUpstream, clock: Clock
) -> None:
    await filled(node)
    clock.now += 661
    upstream.enqueue(Answer(status=503, body=b"{}"))
    assert (await node.chat(QUESTION)).status == 503


async def test_a_failed_attempt_is_not_repeated_at_every_hit(
    node: Node, upstream: ScriptedUpstream, clock: Clock
) -> None:
    await filled(node)
    clock.now += 70
    upstream.enqueue(Answer(status=503, body=b"{}"))
    for _ in range(5):
        assert status_of(await node.chat(QUESTION)) == "edgecache; hit; ttl=-10; detail=revalidating"
        await node.landed()
    assert len(upstream.requests) == 2
    clock.now += 1
    await node.chat(QUESTION)
    await node.landed()
    assert len(upstream.requests) == 3


async def test_a_soft_purge_makes_stale(node: Node, upstream: ScriptedUpstream, clock: Clock) -> None:
    first = await filled(node)
    await soft_purge(node)
    clock.now += 5
    reply = await node.chat(QUESTION)
    assert reply.body == first.body
    assert status_of(reply) == "edgecache; hit; ttl=-5; detail=revalidating"
    await node.landed()
    assert len(upstream.requests) == 2
    assert status_of(await node.chat(QUESTION)) == "edgecache; hit; ttl=60"


async def test_a_hard_purge_leaves_nothing_to_fall_back_on(node: Node, upstream: ScriptedUpstream) -> None:
    await filled(node)
    headers = {"Authorization": f"Bearer {node.admin_token}"}
    assert (await node.ask("POST", "/service/edgecache/purge/help", headers=headers)).status == 200
    upstream.enqueue(Answer(status=503, body=b"{}"))
    assert (await node.chat(QUESTION)).status == 503


async def test_what_must_be_revalidated_is_never_served_stale(
    node: Node, upstream: ScriptedUpstream, clock: Clock
) -> None:
    """RFC 9111 section 5.2.2.2."""
    headers = (*JSON_HEADERS, ("CDN-Cache-Control", "max-age=60, must-revalidate"))
    body = b'{"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}]}'
    upstream.enqueue(Answer(headers=headers, body=body))
    await filled(node)
    clock.now += 61
    upstream.enqueue(Answer(status=503, body=b"{}"))
    assert (await node.chat(QUESTION)).status == 503


async def test_an_answer_may_bring_its_own_windows(node: Node, upstream: ScriptedUpstream, clock: Clock) -> None:
    """RFC 9213 section 2: the targeted field decides, before the route."""
    headers = (*JSON_HEADERS, ("CDN-Cache-Control", "max-age=10, stale-while-revalidate=5, stale-if-error=0"))
    body = b'{"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}]}'
    upstream.enqueue(Answer(headers=headers, body=body))
    await filled(node)
    clock.now += 14
    assert status_of(await node.chat(QUESTION)) == "edgecache; hit; ttl=-4; detail=revalidating"


async def test_a_stale_answer_survives_a_restart(tmp_path: Path, upstream: ScriptedUpstream, clock: Clock) -> None:
    async with running_node(tmp_path, upstream=upstream, policy=POLICY, clock=clock) as node:
        first = await filled(node)
    clock.now += 200
    async with running_node(tmp_path, upstream=upstream, policy=POLICY, clock=clock) as node:
        upstream.enqueue(Answer(status=500, body=b"{}"))
        assert (await node.chat(QUESTION)).body == first.body
