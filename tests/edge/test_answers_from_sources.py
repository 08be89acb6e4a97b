"""An answer that was made from stored documents or answers is taken back with them (rule 5 of the ledger)."""

import asyncio

import pytest

from edgecache.testing.node import Node, Reply
from edgecache.testing.scripted_upstream import JSON_HEADERS, Answer, ScriptedUpstream

PAGE = "What does the page say?"
SUMMARY = "Summarise the page."


async def page(node: Node, upstream: ScriptedUpstream, key: str = "page-1") -> str:
    """The id of something stored under a surrogate key."""
    body = b'{"choices": [{"index": 0, "message": {"role": "assistant", "content": "It"}, "finish_reason": "stop"}]}'
    upstream.enqueue(Answer(headers=(*JSON_HEADERS, ("Surrogate-Key", key)), body=body))
    reply = await node.chat(f"{PAGE} {key}")
    await node.landed()
    return reply.headers["X-Edgecache-Id"]


async def summary(node: Node, *sources: str) -> Reply:
    return await node.chat(SUMMARY, headers={"X-Edgecache-Sources": " ".join(sources)})


async def purge(node: Node, path: str) -> None:
    purged = await node.ask("POST", path, headers={"Authorization": f"Bearer {node.admin_token}"})
    assert purged.status == 200, purged


@pytest.mark.parametrize("how", ["/service/edgecache/purge/page-1", "/purge/id/{id}"])
async def test_purging_a_source_takes_the_answer_back(node: Node, upstream: ScriptedUpstream, how: str) -> None:
    source = await page(node, upstream)
    await summary(node, source)
    await node.landed()
    assert (await summary(node, source)).headers["X-Cache"] == "HIT"
    assert upstream.requests[-1].header("X-Edgecache-Sources") is None
    asked = len(upstream.requests)
    await purge(node, how.format(id=source))
    after = await summary(node, source)
    assert after.headers["Cache-Status"] == 'edgecache; fwd=bypass; fwd-status=200; detail="source gone"'
    assert (await node.chat(SUMMARY)).headers["X-Cache"] == "MISS"
    assert len(upstream.requests) == asked + 2


async def test_what_is_made_from_a_softly_purged_source_is_not_kept(node: Node, upstream: ScriptedUpstream) -> None:
    """It would be fresh, although what it was made from is not."""
    source = await page(node, upstream)
    headers = {"Authorization": f"Bearer {node.admin_token}", "Fastly-Soft-Purge": "1"}
    assert (await node.ask("POST", "/service/edgecache/purge/page-1", headers=headers)).status == 200
    assert "source gone" in (await summary(node, source)).headers["Cache-Status"]
    assert (await summary(node, source)).headers["X-Cache"] == "BYPASS"


async def test_purging_the_rule_of_a_source_takes_the_answer_back(node: Node, upstream: ScriptedUpstream) -> None:
    source = await page(node, upstream)
    await summary(node, source)
    await node.landed()
    await purge(node, "/purge/route/questions")
    assert (await node.chat(SUMMARY)).headers["X-Cache"] == "MISS"


async def test_a_source_purged_while_the_answer_is_made(node: Node, upstream: ScriptedUpstream) -> None:
    source = await page(node, upstream)
    gate = asyncio.Event()
    body = b'{"choices": [{"index": 0, "message": {"role": "assistant", "content": "Old"}, "finish_reason": "stop"}]}'
    upstream.enqueue(Answer(body=body, before_head=gate))
    asking = asyncio.create_task(summary(node, source))
    await upstream.wait_requests(2)
    await purge(node, "/service/edgecache/purge/page-1")
    gate.set()
    assert (await asking).headers["Cache-Status"].endswith("stored=?0; detail=purged")
    assert (await node.chat(SUMMARY)).headers["X-Cache"] == "MISS"


async def test_a_hit_gets_the_tags_of_a_source_that_is_named_later(node: Node, upstream: ScriptedUpstream) -> None:
    await node.chat(SUMMARY)
    source = await page(node, upstream)
    assert (await summary(node, source)).headers["X-Cache"] == "HIT"
    assert len(upstream.requests) == 2
    await purge(node, "/service/edgecache/purge/page-1")
    assert (await node.chat(SUMMARY)).headers["X-Cache"] == "MISS"


async def test_a_source_of_another_tenant_is_as_if_it_were_not_there(node: Node, upstream: ScriptedUpstream) -> None:
    source = await page(node, upstream)
    headers = {"X-Edgecache-Sources": source, "Authorization": "Bearer sk-another"}
    reply = await node.chat(SUMMARY, headers=headers)
    assert "source gone" in reply.headers["Cache-Status"]


@pytest.mark.parametrize("value", ["nonsense", "00", " ".join(f"{n:032x}" for n in range(33))])
async def test_a_source_that_cannot_be_one_is_refused(node: Node, upstream: ScriptedUpstream, value: str) -> None:
    reply = await node.chat(SUMMARY, headers={"X-Edgecache-Sources": value})
    assert reply.status == 400
    assert "ource" in reply.error["message"]
    assert upstream.requests == []
