"""The races of purging, one scenario each, on a real node: barriers hold the upstream or the store, nothing sleeps."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import pytest

from edgecache.cache.semantic import SemanticIndex
from edgecache.embedding.onnx_embedder import OnnxEmbedder
from edgecache.storage.sqlite_store import SqliteStore
from edgecache.testing.node import CHAT, Node, Reply, running_node
from edgecache.testing.scripted_upstream import Answer, Received, ScriptedUpstream, chat_answer

POLICY = """
[[route]]
name = "first"
path = "/v1/chat/completions"
mode = "semantic"
threshold = 0.9
request_tags = true
tags = ["of-the-rule"]
"""
QUESTION = "How do I reset my password?"
PARAPHRASE = "How can I reset my password?"


class Versions:
    """An upstream whose answers are numbered, and which can be held before a head or before an end."""

    def __init__(self) -> None:
        self.count = 0
        self.keys: dict[int, str] = {}
        self.hold_head: dict[int, asyncio.Event] = {}
        self.hold_end: dict[int, asyncio.Event] = {}
        self.server = ScriptedUpstream(script=self.script)

    def script(self, request: Received) -> Answer:
        self.count += 1
        plain = chat_answer(request, lambda _: f"version {self.count}")
        assert plain.body
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(plain.body)))]
        if key := self.keys.get(self.count):
            headers.append(("Surrogate-Key", key))
        chunks: list[Any] = [plain.body[:10], plain.body[10:]]
        if held := self.hold_end.get(self.count):
            chunks.insert(1, held)
        return Answer(headers=headers, chunks=chunks, before_head=self.hold_head.get(self.count))


@pytest.fixture
async def upstream() -> AsyncGenerator[Versions, None]:
    versions = Versions()
    async with versions.server:
        yield versions


@pytest.fixture
async def node(tmp_path: Path, upstream: Versions) -> AsyncGenerator[Node, None]:
    async with running_node(tmp_path, upstream=upstream.server, policy=POLICY) as node:
        yield node


async def purge(node: Node, *values: str) -> None:
    await purged(node, "/service/edgecache/purge", {"Surrogate-Key": " ".join(values)})


async def purged(node: Node, path: str, headers: dict[str, str] | None = None, *, method: str = "POST") -> Reply:
    answer = await node.ask(method, path, headers={"Fastly-Key": node.admin_token, **(headers or {})})
    assert answer.status == 200, answer
    return answer


async def flying(node: Node, passengers: int) -> None:
    """Return when so many requests wait for fills."""
    async with asyncio.timeout(60):
        while (await node.statistics())["flights"]["passengers"] != passengers:
            await asyncio.sleep(0)


async def test_purge_while_a_fill_is_in_flight(node: Node, upstream: Versions) -> None:
    """The store fence: the answer reaches who asked before the purge, and is not stored."""
    gate = upstream.hold_end[1] = asyncio.Event()
    asking = asyncio.create_task(node.chat(QUESTION))
    await upstream.server.wait_requests(1)
    await purge(node, "of-the-rule")
    gate.set()
    answer = await asking
    assert answer.text == "version 1"
    assert answer.headers["Cache-Status"] == "edgecache; fwd=miss; fwd-status=200; stored=?0; detail=purged"
    assert await node.stored() == 0
    assert (await node.chat(QUESTION)).text == "version 2"
    assert (await node.chat(QUESTION)).headers["X-Cache"] == "HIT"


async def test_purge_then_join(node: Node, upstream: Versions) -> None:
    """The join fence: what starts after the purge has answered does not board an older flight."""
    gate = upstream.hold_head[1] = asyncio.Event()
    before = asyncio.create_task(node.chat(QUESTION))
    await upstream.server.wait_requests(1)
    await purge(node, "of-the-rule")
    after = await node.chat(QUESTION)
    assert after.text == "version 2"
    gate.set()
    assert (await before).text == "version 1"
    assert (await node.chat(QUESTION)).text == "version 2"


async def test_an_unrelated_purge_stops_nobody(node: Node, upstream: Versions) -> None:
    gate = upstream.hold_head[1] = asyncio.Event()
    first = asyncio.create_task(node.chat(QUESTION))
    await upstream.server.wait_requests(1)
    await purge(node, "something-else")
    second = asyncio.create_task(node.chat(QUESTION))
    await flying(node, 2)
    gate.set()
    assert [(await asked).text for asked in (first, second)] == ["version 1", "version 1"]
    assert "collapsed" in (await second).headers["Cache-Status"]
    assert (await node.chat(QUESTION)).headers["X-Cache"] == "HIT"
    assert upstream.count == 1


async def test_tags_that_come_with_the_head_purged_before_a_joiner_came(node: Node, upstream: Versions) -> None:
    """Nobody knew the tag when the joiner boarded: it is looked at again when the head has come."""
    upstream.keys[1] = upstream.keys[2] = "document-7"
    gate = upstream.hold_head[1] = asyncio.Event()
    before = asyncio.create_task(node.chat(QUESTION))
    await upstream.server.wait_requests(1)
    await purge(node, "document-7")
    after = asyncio.create_task(node.chat(QUESTION))
    await flying(node, 2)
    gate.set()
    assert (await before).text == "version 1"
    assert (await after).text == "version 2"
    assert (await node.chat(QUESTION)).text == "version 2"


async def test_tags_that_come_with_the_head_purged_before_it_is_stored(node: Node, upstream: Versions) -> None:
    upstream.keys[1] = "document-7"
    gate = upstream.hold_end[1] = asyncio.Event()
    asking = asyncio.create_task(node.chat(QUESTION))
    await upstream.server.wait_requests(1)
    await purge(node, "document-7")
    gate.set()
    assert "detail=purged" in (await asking).headers["Cache-Status"]
    assert await node.stored() == 0


class Barrier:
    """Holds calls of one method after it has done its work, until the test lets them go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, owner: type, name: str) -> None:
        self.reached, self.go = asyncio.Event(), asyncio.Event()
        real = getattr(owner, name)

        async def held(*arguments: Any, **named: Any) -> Any:
            found = await real(*arguments, **named)
            self.reached.set()
            await self.go.wait()
            return found

        monkeypatch.setattr(owner, name, held)


async def test_purge_between_the_read_of_the_store_and_the_answer(
    tmp_path: Path, upstream: Versions, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_node(tmp_path, upstream=upstream.server, policy=POLICY) as node:
        await node.chat(QUESTION)
    async with running_node(tmp_path, upstream=upstream.server, policy=POLICY) as node:
        barrier = Barrier(monkeypatch, SqliteStore, "get")
        asking = asyncio.create_task(node.chat(QUESTION))
        await barrier.reached.wait()
        await purge(node, "of-the-rule")
        barrier.go.set()
        assert (await asking).text == "version 2"


@pytest.mark.parametrize(("owner", "name"), [(OnnxEmbedder, "embed"), (SemanticIndex, "search")])
async def test_purge_of_a_candidate_while_it_is_looked_for(
    node: Node, upstream: Versions, monkeypatch: pytest.MonkeyPatch, owner: type, name: str
) -> None:
    await node.chat(QUESTION)
    hit = await node.chat(PARAPHRASE)
    assert "semantic" in hit.headers["Cache-Status"]
    barrier = Barrier(monkeypatch, owner, name)
    asking = asyncio.create_task(node.chat(PARAPHRASE))
    await barrier.reached.wait()
    await purge(node, "of-the-rule")
    barrier.go.set()
    assert (await asking).text == "version 2"
    assert upstream.count == 2


async def test_purge_of_a_candidate_that_is_read_from_the_store(
    tmp_path: Path, upstream: Versions, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_node(tmp_path, upstream=upstream.server, policy=POLICY) as node:
        await node.chat(QUESTION)
    async with running_node(tmp_path, upstream=upstream.server, policy=POLICY) as node:
        await index_ready(node)
        barrier = Barrier(monkeypatch, SqliteStore, "get")
        asking = asyncio.create_task(node.chat(PARAPHRASE))
        await barrier.reached.wait()
        barrier.reached.clear()
        monkeypatch.undo()
        await purge(node, "of-the-rule")
        barrier.go.set()
        assert (await asking).text == "version 2"


async def index_ready(node: Node) -> None:
    async with asyncio.timeout(60):
        while (await node.ask("GET", "/readyz", admin=True)).json()["index"]["state"] != "done":
            await asyncio.sleep(0)


Order = Callable[[str], tuple[str, str]]


@pytest.mark.parametrize(
    "order",
    [
        lambda _: ("POST", "/service/edgecache/purge/of-the-rule"),
        lambda name: ("POST", f"/purge/id/{name}"),
        lambda _: ("POST", f"/purge/example.com{CHAT}"),
        lambda _: ("PURGE", CHAT),
        lambda _: ("POST", "/service/edgecache/purge_all"),
    ],
    ids=["key", "id", "url", "PURGE", "all"],
)
async def test_each_kind_of_purge_is_in_force_when_it_answers(node: Node, upstream: Versions, order: Order) -> None:
    first = await node.chat(QUESTION)
    assert (await node.chat(QUESTION)).headers["X-Cache"] == "HIT"
    method, path = order(first.headers["X-Edgecache-Id"])
    await purged(node, path, method=method)
    assert (await node.chat(QUESTION)).text == "version 2"
    assert upstream.count == 2


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("by", ["of-the-other-rule", "of-the-other-request"])
async def test_what_another_rule_or_request_was_served_is_taken_back_by_its_tags_too(
    tmp_path: Path, upstream: Versions, by: str, exact: bool
) -> None:
    async with running_node(tmp_path, upstream=upstream.server, policy=POLICY) as node:
        await node.chat(QUESTION)
    asked, headers = QUESTION if exact else PARAPHRASE, {"Surrogate-Key": "of-the-other-request"}
    other = POLICY.replace("of-the-rule", "of-the-other-rule").replace('"first"', '"other"')
    async with running_node(tmp_path, upstream=upstream.server, policy=other) as node:
        await index_ready(node)
        assert (await node.chat(asked, headers=headers)).headers["X-Cache"] == "HIT"
        await purge(node, by)
        assert (await node.chat(asked)).text == "version 2"
        assert upstream.count == 2


async def test_purged_by_a_tag_before_it_was_claimed_under_it(node: Node, upstream: Versions) -> None:
    """Filled before the purge of a key, asked for under it only after that."""
    await node.chat(QUESTION)
    await purge(node, "mine")
    assert (await node.chat(QUESTION, headers={"Surrogate-Key": "mine"})).text == "version 2"


async def test_purge_twice(node: Node, upstream: Versions) -> None:
    await node.chat(QUESTION)
    await asyncio.gather(purge(node, "of-the-rule"), purge(node, "of-the-rule"))
    assert (await node.chat(QUESTION)).text == "version 2"
    await purge(node, "of-the-rule")
    assert (await node.chat(QUESTION)).text == "version 3"


async def test_purge_while_the_index_is_rebuilt(
    tmp_path: Path, upstream: Versions, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_node(tmp_path, upstream=upstream.server, policy=POLICY) as node:
        await node.chat(QUESTION)
    real, reached, go = SqliteStore.count, asyncio.Event(), asyncio.Event()

    async def held(store: SqliteStore) -> int:
        reached.set()
        await go.wait()
        return await real(store)

    monkeypatch.setattr(SqliteStore, "count", held)
    async with running_node(tmp_path, upstream=upstream.server, policy=POLICY) as node:
        await reached.wait()
        await purge(node, "of-the-rule")
        go.set()
        await index_ready(node)
        assert (await node.statistics())["index"]["vectors"] == 0
        assert (await node.chat(PARAPHRASE)).text == "version 2"


async def test_what_was_purged_does_not_come_back_with_a_restart(tmp_path: Path, upstream: Versions) -> None:
    async with running_node(tmp_path, upstream=upstream.server, policy=POLICY) as node:
        await node.chat(QUESTION)
        await node.chat("What is the capital of France?", headers={"Surrogate-Key": "mine"})
        await purge(node, "mine")
    async with running_node(tmp_path, upstream=upstream.server, policy=POLICY) as node:
        assert (await node.chat(QUESTION)).headers["X-Cache"] == "HIT"
        assert (await node.chat("What is the capital of France?")).text == "version 3"


async def test_the_reaper_frees_what_was_purged_and_nothing_else(node: Node, upstream: Versions) -> None:
    await node.chat(QUESTION)
    await node.chat("What is the capital of France?", headers={"Surrogate-Key": "mine"})
    await purge(node, "mine")
    async with asyncio.timeout(60):
        while await node.stored() != 1 or (await node.statistics())["index"]["vectors"] != 1:
            await asyncio.sleep(0)
    assert (await node.chat(QUESTION)).headers["X-Cache"] == "HIT"
