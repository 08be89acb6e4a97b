"""Purges, tags, lifetimes and demands of embeddings: as of answers, for each input."""

import asyncio
from pathlib import Path

import pytest
from embedding_provider import RULE, ask, asked_for, embed, embeddings, holding, numbers

from edgecache.core.purges import Logged, PurgeRecord
from edgecache.core.tags import Kind, Tag
from edgecache.flow import embeddings as embeddings_flow
from edgecache.testing.node import Clock, Node, Reply, running_node
from edgecache.testing.scripted_upstream import Answer, ScriptedUpstream
from edgecache.wire.embeddings import join

REVALIDATED = RULE + 'stale_while_revalidate = "1h"\n'


async def purge(node: Node, path: str, *, soft: bool = False) -> None:
    headers = {"Authorization": f"Bearer {node.admin_token}", **({"Fastly-Soft-Purge": "1"} if soft else {})}
    assert (await node.ask("POST", path, headers=headers)).status == 200


async def purge_key(node: Node, key: str, *, soft: bool = False) -> None:
    await purge(node, f"/service/edgecache/purge/{key}", soft=soft)


async def test_a_purged_input_is_asked_for_anew(node: Node, upstream: ScriptedUpstream) -> None:
    await ask(node, ["a", "b"], headers={"Surrogate-Key": "k1"})
    await ask(node, ["c"], headers={"Surrogate-Key": "k2"})
    await purge_key(node, "k2")
    reply = await ask(node, ["a", "b", "c"])
    assert embeddings(reply) == [numbers(text) for text in "abc"]
    assert [asked_for(request) for request in upstream.requests] == [["a", "b"], ["c"], ["c"]]
    await purge_key(node, "of-the-rule")
    await ask(node, ["a", "b", "c"])
    assert asked_for(upstream.requests[3]) == ["a", "b", "c"]


async def test_one_input_by_its_id(node: Node, upstream: ScriptedUpstream) -> None:
    await ask(node, ["a", "b"])
    name = (await ask(node, "a")).headers["X-Edgecache-Id"]
    await purge(node, f"/purge/id/{name}")
    await ask(node, ["a", "b"])
    assert [asked_for(request) for request in upstream.requests] == [["a", "b"], ["a"]]


async def test_tags_of_a_provider(node: Node, upstream: ScriptedUpstream) -> None:
    upstream.enqueue(Answer(headers=(("Content-Type", "application/json"), ("Surrogate-Key", "theirs")), body=(
        b'{"object":"list","data":[{"index":0,"embedding":[1]},{"index":1,"embedding":[2]}],"model":"e-3"}'
    )))  # fmt: skip
    first = await ask(node, ["a", "b"])
    assert "Surrogate-Key" not in first.headers
    assert (await ask(node, "b")).headers["X-Cache"] == "HIT"
    await purge_key(node, "theirs")
    assert (await ask(node, ["a", "b"])).headers["X-Cache"] == "MISS"


async def test_tags_that_a_later_request_brings_count(node: Node, upstream: ScriptedUpstream) -> None:
    await ask(node, ["a", "b"])
    hit = await ask(node, ["a", "b"], headers={"Surrogate-Key": "later"})
    assert hit.headers["X-Cache"] == "HIT"
    stored = [entry async for batch in node.app.storage.store.scan() for entry in batch]
    assert [{tag.value for tag in entry.tags if tag.kind is Kind.KEY} for entry in stored] == [
        {"of-the-rule", "later"},
        {"of-the-rule", "later"},
    ]
    await purge_key(node, "later")
    await ask(node, ["a", "b"])
    assert len(upstream.requests) == 2


async def test_a_purge_overtakes_a_fill(node: Node, upstream: ScriptedUpstream) -> None:
    gate = holding(upstream)
    waiting = asyncio.create_task(ask(node, ["a", "b"]))
    await upstream.wait_requests(1)
    await purge_key(node, "of-the-rule")
    late = asyncio.create_task(ask(node, ["a"]))
    await upstream.wait_requests(2)  # who comes after the purge waits for nothing that began before it
    gate.set()
    first = await waiting
    assert embeddings(first) == [numbers("a"), numbers("b")]
    assert "stored=?0" in first.headers["Cache-Status"] and "purged" in first.headers["Cache-Status"]
    assert (await late).headers["X-Cache"] == "MISS"
    await ask(node, ["a", "b"])
    assert [asked_for(request) for request in upstream.requests] == [["a", "b"], ["a"], ["b"]]


async def test_who_waits_is_not_given_what_was_purged_before_it_came(node: Node, upstream: ScriptedUpstream) -> None:
    """By a tag that nobody knew before the answer's head."""
    headers = (("Content-Type", "application/json"), ("Surrogate-Key", "theirs"))
    script = upstream._script
    upstream._script = lambda request: Answer(headers=headers, body=script(request).body)
    gate = holding(upstream)
    first = asyncio.create_task(ask(node, ["a"]))
    await upstream.wait_requests(1)
    await purge_key(node, "theirs")
    late = asyncio.create_task(ask(node, ["a"]))
    await asyncio.wait({asyncio.create_task(ask(node, ["b"]))})  # the late one is aboard by now
    assert len(upstream.requests) == 2
    gate.set()
    assert (await first).status == (await late).status == 200
    assert [asked_for(request) for request in upstream.requests] == [["a"], ["b"], ["a"]]


async def test_a_purge_while_embeddings_are_joined(
    node: Node, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was acknowledged before the answer went out: so nothing of what it names does."""
    await ask(node, ["a", "b"])
    ledger, tag = node.app._ledger, Tag(Kind.KEY, "of-the-rule")
    purges = [PurgeRecord(id="p", tags=(tag,), at=0.0)]

    def joining(parts):
        if purges:
            ledger.apply(Logged(ledger.applied + 1, purges.pop()))
        return join(parts)

    monkeypatch.setattr(embeddings_flow, "join", joining)
    assert (await ask(node, ["a", "b"])).headers["X-Cache"] == "MISS"
    assert len(upstream.requests) == 2


async def test_a_soft_purge_makes_stale(tmp_path: Path, upstream: ScriptedUpstream, clock: Clock) -> None:
    async with running_node(tmp_path, upstream=upstream, policy=REVALIDATED, clock=clock) as node:
        await ask(node, ["a", "b"])
        await purge_key(node, "of-the-rule", soft=True)
        stale = await ask(node, ["a", "b"])
        assert stale.headers["X-Cache"] == "HIT" and "ttl=" in stale.headers["Cache-Status"]
        await upstream.wait_requests(2)
        assert asked_for(upstream.requests[1]) == ["a", "b"]
        async with asyncio.timeout(10):
            while "ttl=3600" not in (await ask(node, ["a", "b"])).headers["Cache-Status"]:
                pass
    assert len(upstream.requests) == 2


async def test_a_soft_purge_without_a_window_is_a_miss(node: Node, upstream: ScriptedUpstream) -> None:
    await ask(node, ["a"])
    await purge_key(node, "of-the-rule", soft=True)
    assert "fwd=stale" in (await ask(node, ["a"])).headers["Cache-Status"]
    assert len(upstream.requests) == 2


@pytest.mark.parametrize("status", [500, 503, 0], ids=["500", "503", "gone"])
async def test_what_is_stale_is_served_where_asking_fails(
    node: Node, upstream: ScriptedUpstream, clock: Clock, status: int
) -> None:
    await ask(node, ["a", "b"])
    clock.now += 3_700
    if status:
        upstream.enqueue(*[Answer(status=status, body=b"{}")] * 9)
    else:
        await upstream.close()
    reply = await ask(node, ["b", "a"])
    assert embeddings(reply) == [numbers("b"), numbers("a")]
    assert reply.headers["X-Cache"] == "STALE"
    not_all = await ask(node, ["a", "never seen"])
    assert not_all.status == (status or 502)
    clock.now += 700
    assert (await ask(node, ["b", "a"])).status == (status or 502), "longer than the rule's window"


# --- what requests demand -----------------------------------------------------------------------------------------


def status_of(reply: Reply) -> str:
    return reply.headers["Cache-Status"].removeprefix("edgecache; ")


async def test_directives(node: Node, upstream: ScriptedUpstream) -> None:
    only = await ask(node, ["a"], headers={"Cache-Control": "only-if-cached"})
    assert (only.status, len(upstream.requests)) == (504, 0)
    never = await ask(node, ["a"], headers={"Cache-Control": "no-store"})
    assert status_of(never).startswith("fwd=miss") and "no-store" in status_of(never)
    assert (await ask(node, ["a"])).headers["X-Cache"] == "MISS", "nothing was stored"
    assert (await ask(node, ["a"], headers={"Cache-Control": "only-if-cached"})).headers["X-Cache"] == "HIT"
    anew = await ask(node, ["a"], headers={"Cache-Control": "no-cache"})
    assert status_of(anew).startswith("fwd=request")
    assert (await ask(node, ["a"], headers={"X-Edgecache-Mode": "bypass"})).headers["X-Cache"] == "BYPASS"
    assert len(upstream.requests) == 4


async def test_controls(node: Node, upstream: ScriptedUpstream, clock: Clock) -> None:
    await ask(node, ["a"], headers={"X-Edgecache-TTL": "60", "X-Edgecache-Key": "mine"})
    assert (await ask(node, ["a"])).headers["X-Cache"] == "MISS", "another key"
    clock.now += 61
    assert (await ask(node, ["a"], headers={"X-Edgecache-Key": "mine"})).headers["X-Cache"] == "MISS"
    ignored = await ask(node, ["a"], headers={"X-Edgecache-Threshold": "1"})
    assert ignored.headers["X-Edgecache-Ignored"] == "x-edgecache-threshold"
    refused = await ask(node, ["a"], headers={"X-Edgecache-Mode": "nonsense"})
    assert refused.status == 400 and refused.error["param"] == "X-Edgecache-Mode"


async def test_a_provider_may_forbid_storing(node: Node, upstream: ScriptedUpstream) -> None:
    headers = (("Content-Type", "application/json"), ("CDN-Cache-Control", "no-store"))
    script = upstream._script
    upstream._script = lambda request: Answer(headers=headers, body=embed(request).body)
    gate = holding(upstream)
    both = [asyncio.create_task(ask(node, ["a"])) for _ in range(2)]
    await upstream.wait_requests(1)
    gate.set()
    for reply in await asyncio.gather(*both):
        assert embeddings(reply) == [numbers("a")]
    assert len(upstream.requests) == 2, "what is not for others is asked for by each"
    upstream._script = script
    assert (await ask(node, ["a"])).headers["X-Cache"] == "MISS"


async def test_a_node_that_may_have_missed_purges_serves_nothing(
    node: Node, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ask(node, ["a"])
    monkeypatch.setattr(node.app._fence, "blind", lambda: True)
    for _ in range(2):
        reply = await ask(node, ["a"])
        assert reply.headers["X-Cache"] == "BYPASS" and "blind" in reply.headers["Cache-Status"]
    assert len(upstream.requests) == 3
