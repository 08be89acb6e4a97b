"""Requests that share an entry or a fill add their tags to it: none is lost, however many come at once, nor are there
ever too many.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edgecache.cache.exact import ExactCache
from edgecache.core.entry import MAX_TAGS, Entry
from edgecache.core.tags import Kind
from edgecache.flow.story import Flow
from edgecache.testing.node import SEMANTIC, Node, Reply, running_node
from edgecache.testing.scripted_upstream import JSON_HEADERS, Answer, ScriptedUpstream

QUESTION = "How do I enable dark mode in the settings?"
NEAR = "How can I enable dark mode in the settings?"


@asynccontextmanager
async def node_before(folder: Path, upstream: ScriptedUpstream) -> AsyncGenerator[Node, None]:
    async with running_node(folder, upstream=upstream, policy=SEMANTIC) as node:
        yield node


@pytest.fixture
async def upstream() -> AsyncGenerator[ScriptedUpstream, None]:
    async with ScriptedUpstream() as upstream:
        yield upstream


async def ask(node: Node, *tags: str, question: str = QUESTION) -> Reply:
    return await node.chat(question, headers={"Surrogate-Key": " ".join(tags)} if tags else {})


async def entries(node: Node) -> list[Entry]:
    return [entry async for batch in node.app.storage.store.scan() for entry in batch]


async def stored_tags(node: Node) -> set[str]:
    (entry,) = await entries(node)
    return {tag.value for tag in entry.tags if tag.kind is Kind.KEY}


@pytest.mark.parametrize("asked", [QUESTION, NEAR], ids=["exact", "semantic"])
async def test_tags_added_at_once_after_a_restart_are_all_kept(
    tmp_path: Path, upstream: ScriptedUpstream, asked: str
) -> None:
    async with node_before(tmp_path, upstream) as node:
        await ask(node, "first")
    names = [f"k{number}" for number in range(20)]
    async with node_before(tmp_path, upstream) as node:
        while (await node.ask("GET", "/readyz", admin=True)).json()["index"]["state"] != "done":
            pass
        replies = await asyncio.gather(*(ask(node, name, question=asked) for name in names))
        assert {reply.headers["X-Cache"] for reply in replies} == {"HIT"}
        assert await stored_tags(node) == {"first", *names}
    assert len(upstream.requests) == 1


async def test_tags_are_all_kept_of_what_does_not_fit_into_memory(
    tmp_path: Path, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ExactCache, "put", lambda self, entry: None)
    names = [f"k{number}" for number in range(10)]
    async with node_before(tmp_path, upstream) as node:
        await ask(node, "first")
        await asyncio.gather(*(ask(node, name) for name in names))
        assert await stored_tags(node) == {"first", *names}


async def test_more_tags_than_an_entry_has_are_answered_by_a_new_one(
    tmp_path: Path, upstream: ScriptedUpstream
) -> None:
    async with node_before(tmp_path, upstream) as node:
        await ask(node, "first")
        many = [f"k{number}" for number in range(MAX_TAGS - 20)]
        assert (await ask(node, *many)).headers["X-Cache"] == "HIT"
        more = [f"m{number}" for number in range(20)]
        assert (await ask(node, *more)).headers["X-Cache"] == "MISS"
        assert await stored_tags(node) == set(more)
        assert (await ask(node, *more)).headers["X-Cache"] == "HIT"
    assert len(upstream.requests) == 2


async def test_more_tags_than_a_fill_has_do_not_join_it(tmp_path: Path, upstream: ScriptedUpstream) -> None:
    async with node_before(tmp_path, upstream) as node:
        groups = [[f"{group}{number}" for number in range(100)] for group in "abc"]
        replies = await asyncio.gather(*(ask(node, *group) for group in groups))
        assert {reply.status for reply in replies} == {200}
        (entry,) = await entries(node)
        assert len(entry.tags) <= MAX_TAGS
    assert len(upstream.requests) == 2


async def test_who_joins_while_an_answer_is_stored_is_not_forgotten(
    tmp_path: Path, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looked for an entry before there was one, and comes to the fill when that has begun to store its own."""
    async with node_before(tmp_path, upstream) as node:
        looking, look = held(Flow, "_is_semantic", monkeypatch)
        late = asyncio.create_task(ask(node, "late"))
        await looking.wait()
        monkeypatch.undo()
        storing, store = held(type(node.app.storage.store), "put", monkeypatch)
        first = asyncio.create_task(ask(node, "first"))
        await storing.wait()
        look.set()
        try:
            await upstream.wait_requests(2)
        finally:
            store.set()
        assert (await first).status == (await late).status == 200
        assert await stored_tags(node) == {"late"}


PAGES = """
[[route]]
name = "pages"
path = "/pages/*"
mode = "http"
"""


def tagged(many: int) -> Answer:
    """With so many tags besides the six that every answer here has."""
    body = b'{"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}]}'
    return Answer(headers=(*JSON_HEADERS, ("Surrogate-Key", " ".join(map(str, range(many))))), body=body)


@pytest.mark.parametrize("many", [251, 300, 3_000])
async def test_an_answer_with_more_tags_than_an_entry_has_is_not_stored(
    tmp_path: Path, upstream: ScriptedUpstream, many: int
) -> None:
    """Nor with some of them, and nobody else is given it. With 9,600 a hit took 60 ms of the event loop."""
    upstream.enqueue(tagged(many), tagged(many), tagged(many))
    async with node_before(tmp_path, upstream) as node:
        replies = [*await asyncio.gather(ask(node), ask(node)), await ask(node)]
        assert [reply.status for reply in replies] == [200] * 3
        assert sorted(reply.headers["X-Cache"] for reply in replies) == ["BYPASS", "MISS", "MISS"]
        assert 'detail="too many tags"' in replies[-1].headers["Cache-Status"]
        assert await entries(node) == []
    assert len(upstream.requests) == 3


async def test_an_answer_with_as_many_tags_as_an_entry_has_is_stored(
    tmp_path: Path, upstream: ScriptedUpstream
) -> None:
    upstream.enqueue(tagged(250))
    async with node_before(tmp_path, upstream) as node:
        await ask(node)
        assert (await ask(node)).headers["X-Cache"] == "HIT"
        (entry,) = await entries(node)
        assert len(entry.tags) == MAX_TAGS
    assert len(upstream.requests) == 1


async def test_a_page_with_more_tags_than_an_entry_has_is_not_stored(
    tmp_path: Path, upstream: ScriptedUpstream
) -> None:
    headers = (("Cache-Control", "max-age=60"), ("Surrogate-Key", " ".join(map(str, range(300)))))
    upstream.enqueue(Answer(headers=headers, body=b"a page"), Answer(headers=headers, body=b"a page"))
    async with running_node(tmp_path, upstream=upstream, policy=PAGES) as node:
        for _ in range(2):
            assert (await node.ask("GET", "/pages/a")).body == b"a page"
        assert await entries(node) == []
    assert len(upstream.requests) == 2


async def test_a_request_with_more_keys_than_a_purge_may_name_is_refused(
    tmp_path: Path, upstream: ScriptedUpstream
) -> None:
    async with node_before(tmp_path, upstream) as node:
        reply = await ask(node, *map(str, range(257)))
        assert reply.status == 400
        assert "257 surrogate keys, at most 256" in reply.error["message"]
        assert (await ask(node, *map(str, range(256)))).status == 200
    assert len(upstream.requests) == 1


def held(owner: type, name: str, monkeypatch: pytest.MonkeyPatch) -> tuple[asyncio.Event, asyncio.Event]:
    """Says when a method is called, and lets it go on."""
    reached, go, real = asyncio.Event(), asyncio.Event(), getattr(owner, name)

    async def slowly(*arguments: object) -> object:
        reached.set()
        await go.wait()
        return await real(*arguments)

    monkeypatch.setattr(owner, name, slowly)
    return reached, go
