"""Hit-for-miss: an answer that cannot be kept lets everybody go who waits for it, and nobody waits for the next one."""

import asyncio

from edgecache.testing.node import Node
from edgecache.testing.scripted_upstream import JSON_HEADERS, Answer, ScriptedUpstream

QUESTION = "What time is it?"
FORBIDDEN = (*JSON_HEADERS, ("CDN-Cache-Control", "no-store"))
BODY = b'{"choices": [{"index": 0, "message": {"role": "assistant", "content": "Late"}, "finish_reason": "stop"}]}'


async def test_all_who_wait_are_let_go_at_once_and_it_is_remembered(node: Node, upstream: ScriptedUpstream) -> None:
    gate = asyncio.Event()
    upstream.enqueue(Answer(headers=FORBIDDEN, body=BODY, before_head=gate))
    for _ in range(3):
        upstream.enqueue(Answer(headers=FORBIDDEN, body=BODY))
    waiting = [asyncio.create_task(node.chat(QUESTION)) for _ in range(4)]
    while (await node.statistics())["flights"]["passengers"] < 4:
        pass
    await upstream.wait_requests(1)
    assert len(upstream.requests) == 1
    gate.set()
    await asyncio.gather(*waiting)
    assert len(upstream.requests) == 4
    await node.landed()
    held = asyncio.Event()
    for _ in range(3):
        upstream.enqueue(Answer(headers=FORBIDDEN, body=BODY, before_head=held))
    waiting = [asyncio.create_task(node.chat(QUESTION)) for _ in range(3)]
    await upstream.wait_requests(7)  # all three are asked for, although none is answered
    held.set()
    await asyncio.gather(*waiting)
    assert await node.stored() == 0


async def test_an_answer_that_can_be_kept_again_is(node: Node, upstream: ScriptedUpstream) -> None:
    upstream.enqueue(Answer(headers=FORBIDDEN, body=BODY))
    await node.chat(QUESTION)
    await node.landed()
    kept = await node.chat(QUESTION)
    assert kept.headers["Cache-Status"] == "edgecache; fwd=miss; fwd-status=200; stored"
    await node.landed()
    assert (await node.chat(QUESTION)).headers["X-Cache"] == "HIT"
    assert len(upstream.requests) == 2
