"""Purge by meaning, and previews: what is shown is what goes, and nothing goes by being shown."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from purging import KEYS, PURGE_ALL, SIMILAR, call, fill, outcome, purged, refused, token

from edgecache.core.entry import Entry
from edgecache.errors import EmbeddingUnavailable, StoreUnavailable
from edgecache.purge import preview
from edgecache.testing.node import SEMANTIC, Clock, Node, running_node
from edgecache.testing.scripted_upstream import ScriptedUpstream

DARK, NEAR, FAR = "How do I enable dark mode?", "How can I turn on dark mode?", "What is the capital of France?"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def upstream() -> AsyncGenerator[ScriptedUpstream, None]:
    async with ScriptedUpstream() as upstream:
        yield upstream


@pytest.fixture
async def node(tmp_path: Path, upstream: ScriptedUpstream, clock: Clock) -> AsyncGenerator[Node, None]:
    policy = SEMANTIC.replace("0.9", "0.99")
    async with running_node(tmp_path, upstream=upstream, policy=policy, clock=clock) as node:
        yield node


def like(text: str, radius: float, **further: Any) -> Any:
    return {"text": text, "radius": radius, **further}


async def test_by_meaning(node: Node, upstream: ScriptedUpstream) -> None:
    for question in (DARK, NEAR, FAR):
        await fill(node, question)
    shown = await purged(node, SIMILAR, body=like(DARK, 0.3, dry_run=True))
    assert (shown["dry_run"], shown["count"], shown["uncompared"], shown["complete"]) == (True, 2, 0, True)
    assert {example["question"] for example in shown["examples"]} == {DARK, NEAR}
    asked = len(upstream.requests)
    assert [await outcome(node, question) for question in (DARK, NEAR, FAR)] == ["HIT"] * 3
    assert len(upstream.requests) == asked
    gone = await purged(node, SIMILAR, body=like(DARK, 0.3))
    assert (gone["status"], gone["complete"]) == ("ok", True)
    assert gone["count"] == 2
    assert {example["question"] for example in gone["examples"]} == {DARK, NEAR}
    assert [await outcome(node, question) for question in (DARK, NEAR, FAR)] == ["MISS", "MISS", "HIT"]


async def test_a_radius_of_0_is_the_very_text_however_it_is_padded(node: Node) -> None:
    for question in (DARK, NEAR):
        await fill(node, question)
    await purged(node, SIMILAR + "?wait=all", body=like(f"  {DARK}\r\n", 0))
    assert [await outcome(node, question) for question in (DARK, NEAR)] == ["MISS", "HIT"]


async def test_by_meaning_in_one_scope(node: Node) -> None:
    await fill(node, DARK)
    for scope in ("other", "token:local"):
        assert (await purged(node, SIMILAR, body=like(DARK, 1, scope=scope)))["count"] == 0
        assert await outcome(node, DARK) == "HIT"
    assert (await purged(node, SIMILAR, body=like(DARK, 1, scope="local")))["count"] == 1
    assert await outcome(node, DARK) == "MISS"


async def test_what_has_no_vector_is_told_apart(tmp_path: Path) -> None:
    async with ScriptedUpstream() as upstream, running_node(tmp_path, upstream=upstream) as node:
        await fill(node, DARK)  # the default policy is exact
        shown = await purged(node, SIMILAR + "?dry_run=1", body=like(DARK, 0.1))
        assert (shown["count"], shown["uncompared"], shown["examples"]) == (0, 1, [])


async def test_without_a_model_that_answers(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(text: str) -> bytes | None:
        raise EmbeddingUnavailable("its worker ended")

    monkeypatch.setattr(node.app._embedder, "embed", fails)
    await refused(node, 503, await call(node, SIMILAR, body=like(DARK, 0.1)), "its worker ended")


@pytest.mark.parametrize("by_body", [True, False])
@pytest.mark.parametrize(
    ("method", "path", "count"),
    [
        ("POST", PURGE_ALL, 3),
        ("POST", "/service/edgecache/purge/docs", 2),
        ("POST", "/purge/host/v1/chat/completions", 3),
        ("PURGE", "/v1/chat/completions", 3),
        ("POST", "/purge/route/questions", 3),
        ("POST", "/purge/model/gpt-4", 0),
        ("POST", "/purge/scope/local", 3),
        ("POST", "/purge/scope/other", 0),
        ("POST", "/purge/id/{}", 1),
    ],
)
async def test_a_preview_counts_what_the_purge_would_take(
    node: Node, method: str, path: str, count: int, by_body: bool
) -> None:
    name = await fill(node, DARK, "docs", "a")
    await fill(node, NEAR, "docs")
    await fill(node, FAR, "shop")
    path = path.format(name)
    options: Any = {"path": path, "body": {"dry_run": True}} if by_body else {"path": path + "?dry_run=1"}
    shown = await purged(node, method=method, **options)
    assert (shown["count"], len(shown["examples"])) == (count, count)
    assert [await outcome(node, question) for question in (DARK, NEAR, FAR)] == ["HIT"] * 3
    assert (await node.statistics())["ledger"]["applied"] == 0
    assert await node.app.storage.audit.lines() == []
    await purged(node, path, method=method)
    after = [await outcome(node, question) for question in (DARK, NEAR, FAR)]
    assert after.count("MISS") == count


async def test_what_is_dead_or_expired_is_not_counted(node: Node, clock: Clock) -> None:
    await fill(node, DARK, "docs")
    await fill(node, FAR)
    await purged(node, "/service/edgecache/purge/docs")
    assert (await purged(node, PURGE_ALL + "?dry_run=1"))["count"] == 1
    clock.now += 4_000
    assert (await purged(node, PURGE_ALL + "?dry_run=1"))["count"] == 0


async def test_examples_are_few_and_short(node: Node) -> None:
    for number in range(preview.EXAMPLES + 2):
        await fill(node, f"{number} is a number, " + "and so on " * 20, "numbers")
    shown = await purged(node, KEYS, body={"surrogate_keys": ["numbers"], "dry_run": True})
    assert shown["count"] == preview.EXAMPLES + 2
    assert len(shown["examples"]) == preview.EXAMPLES
    for example in shown["examples"]:
        assert set(example) == {"id", "question", "tags"}
        assert len(example["question"]) == preview.CUT
        assert "key:numbers" in example["tags"]
        assert f"id:{example['id']}" in example["tags"]


async def test_examples_are_the_tenants_own(tmp_path: Path) -> None:
    async with (
        ScriptedUpstream() as upstream,
        running_node(tmp_path, upstream=upstream, key="sk-own", policy=SEMANTIC) as node,
    ):
        for name, question in (("acme", DARK), ("other", FAR)):
            await fill(node, question, "docs", by=await token(node, name, "traffic"))
        secret = await token(node, "ops", "purge", tenants=["acme"])
        for path, body in ((PURGE_ALL, None), (KEYS, {"surrogate_keys": ["docs"]}), (SIMILAR, like(DARK, 1))):
            shown = await purged(node, path + "?dry_run=1", body=body, Fastly_Key=secret)
            assert [example["question"] for example in shown["examples"]] == [DARK], path
            assert shown["count"] == 1


async def test_a_store_that_cannot_be_read_stops_a_preview_and_no_purge(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(node, DARK)

    async def fails() -> AsyncIterator[Sequence[Entry]]:
        raise StoreUnavailable("not there")
        yield ()

    monkeypatch.setattr(node.app.storage.store, "scan", fails)
    await refused(node, 503, await call(node, PURGE_ALL + "?dry_run=1"), "The store cannot be read now")
    gone = await purged(node, SIMILAR, body=like(DARK, 0.1))
    assert (gone["status"], gone["count"], gone["complete"]) == ("ok", None, False)
    assert await outcome(node, DARK) == "MISS"


async def test_a_walk_gives_the_loop_back_and_ends_when_the_time_is_up(node: Node) -> None:
    await fill(node, DARK)
    shown = await preview.Walk(node.app.storage.store, node.app._ledger, [], now=0).run(0)
    assert shown == preview.Preview(0, 0, (), complete=False)
