"""What a token with limits learns from previews, and what it can cost others by asking for them."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from purging import KEYS, PURGE_ALL, SIMILAR, call, fill, purged, refused, token

from edgecache.account.grants import Grant, Token
from edgecache.core.ports import UNKNOWN
from edgecache.core.purges import PurgeRecord
from edgecache.core.tags import Kind, Tag
from edgecache.edge import purge_previews, purge_rights
from edgecache.edge.purge_api import NOT_NAMED
from edgecache.errors import StoreUnavailable
from edgecache.purge.preview import Preview
from edgecache.purge.roll import Nodes, Ordered, Standing
from edgecache.testing.node import SEMANTIC, Node, running_node
from edgecache.testing.scripted_upstream import Answer, ScriptedUpstream

DARK = "How do I enable dark mode?"
PAGES = '[[route]]\nname = "pages"\npath = "/pages/*"\nmode = "http"\n'


@pytest.fixture
async def node(tmp_path: Path) -> AsyncGenerator[Node, None]:
    async with (
        ScriptedUpstream() as upstream,
        running_node(tmp_path, upstream=upstream, key="sk-own", policy=SEMANTIC) as node,
    ):
        yield node


def kinds(example: Any) -> set[str]:
    return {tag.partition(":")[0] for tag in example["tags"]}


async def test_a_token_limited_to_tags_sees_those_alone(node: Node) -> None:
    caller = await token(node, "acme", "traffic")
    await fill(node, DARK, "team-1", "of-others", by=caller, user="alice")
    limited = await token(node, "ops", "purge", tags=["team-*"])
    (example,) = (await purged(node, KEYS + "/team-1?dry_run=1", Fastly_Key=limited))["examples"]
    assert set(example["tags"]) == {"key:team-1", f"id:{example['id']}"}
    (example,) = (await purged(node, KEYS + "/team-1?dry_run=1"))["examples"]
    assert {"key:of-others", "scope:token:acme"} < set(example["tags"])
    assert "user" in kinds(example)


async def test_a_token_limited_to_tenants_sees_no_users(node: Node) -> None:
    caller = await token(node, "acme", "traffic")
    await fill(node, DARK, "team-1", by=caller, user="alice")
    limited = await token(node, "ops", "purge", tenants=["acme"])
    for path, body in ((PURGE_ALL, {"dry_run": True}), (SIMILAR, {"text": DARK, "radius": 0})):
        (example,) = (await purged(node, path, body=body, Fastly_Key=limited))["examples"]
        assert kinds(example) == {"all", "id", "key", "model", "route", "scope", "url"}, path


def test_what_stands_for_a_credential_is_not_shown_to_a_token_with_limits() -> None:
    scope = Tag(Kind.SCOPE, "key:0123456789ab")
    unlimited = Token("t", "t", (Grant.PURGE,), "", 0.0)
    limited = Token("t", "t", (Grant.PURGE,), "", 0.0, tenants=("key:0123456789ab",))
    assert purge_previews.is_shown(scope, unlimited)
    assert not purge_previews.is_shown(scope, limited)


async def test_the_query_of_a_document_is_not_shown(tmp_path: Path) -> None:
    page = Answer(headers=(("Content-Type", "text/plain"), ("Cache-Control", "max-age=60")), body=b"a page")
    async with (
        ScriptedUpstream(script=lambda _: page) as upstream,
        running_node(tmp_path, upstream=upstream, policy=PAGES) as node,
    ):
        assert (await node.ask("GET", "/pages/one?reset=a-secret")).status == 200
        (example,) = (await purged(node, PURGE_ALL + "?dry_run=1"))["examples"]
    assert example["question"] == "/pages/one"


class Slow:
    """Walks that do not end before they may; `begun` has one permit for each that began."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.begun = asyncio.Semaphore(0)

    async def run(self, seconds: float) -> Preview:
        self.begun.release()
        await self.go.wait()
        return Preview(0, 0, (), complete=True)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    slow = Slow()
    monkeypatch.setattr("edgecache.edge.purge_api.Walk.run", lambda _, seconds: slow.run(seconds))
    return slow


async def test_nobody_waits_for_the_previews_of_another_token(node: Node, slow: Slow) -> None:
    tokens = [await token(node, f"t{n}", "purge_select", tenants=["x"]) for n in range(purge_previews.MOST + 1)]
    path = "/service/edgecache/purge/k?dry_run=1"
    asking = []
    for secret in tokens[:-1]:
        asking.append(asyncio.create_task(purged(node, path, Fastly_Key=secret)))
        await slow.begun.acquire()
    for secret, why in ((tokens[0], "the token 't0' is under way"), (tokens[-1], "are under way on this node")):
        reply = await call(node, path, Fastly_Key=secret)
        await refused(node, 429, reply, why)
        assert reply.headers["Retry-After"] == str(purge_previews.RETRY_AFTER)
    asking.append(asyncio.create_task(purged(node, PURGE_ALL + "?dry_run=1")))  # an administrator's
    await slow.begun.acquire()
    gone = await purged(node, SIMILAR, body={"text": DARK, "radius": 0}, Fastly_Key=tokens[-1])
    assert (gone["status"], gone["count"], gone["complete"]) == ("ok", None, False)
    slow.go.set()
    await asyncio.gather(*asking)
    assert (await purged(node, path, Fastly_Key=tokens[-1]))["complete"]


async def test_a_meaning_for_more_tenants_than_fills_can_be_held_against_is_refused(node: Node) -> None:
    most = purge_rights.MOST_MEANINGS
    secret = await token(node, "ops", "purge", tenants=[f"t{n}" for n in range(most + 1)])
    body = {"text": DARK, "radius": 0.1}
    for path in (SIMILAR, SIMILAR + "?dry_run=1"):
        await refused(node, 400, await call(node, path, body=body, Fastly_Key=secret), "name one at a time as `scope`")
    await purged(node, SIMILAR, body={**body, "scope": "t3"}, Fastly_Key=secret)
    secret = await token(node, "fewer", "purge", tenants=[f"t{n}" for n in range(most)])
    assert len((await purged(node, SIMILAR, body=body, Fastly_Key=secret))["ids"]) == most


async def test_a_user_has_a_name_and_not_a_book(node: Node) -> None:
    for user in ("x" * 1_025, "ä" * 513):
        await refused(node, 400, await call(node, "/purge/user", body={"user": user}), "at most 1,024 bytes")
    await purged(node, "/purge/user", body={"user": "ä" * 512})


async def test_callers_are_not_told_where_the_store_is(
    node: Node, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fails(*_: Any, **__: Any) -> int:
        raise StoreUnavailable("Error 111 connecting to 10.0.0.7:6379")

    monkeypatch.setattr(node.app.storage.log, "append", fails)
    reply = await call(node, PURGE_ALL)
    assert (reply.status, b"10.0.0.7" in reply.body) == (503, False), reply
    assert "10.0.0.7" in caplog.text


async def test_those_of_a_log_that_has_just_begun_are_no_node(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """The member of the roll that stands for them is said in words, and counts in no number."""
    identity = "0" * 32
    record = PurgeRecord(identity, (), 0.0)

    async def order(*_: Any, **__: Any) -> Ordered:
        return Ordered(record, 1, 0.0)

    async def wait_all(ordered: Ordered) -> Nodes:
        return Nodes(1, 2)

    standing = Standing(1, ("a",), (), ("b", UNKNOWN), True)
    purges = node.app._purge_log
    for name, value in (("order", order), ("wait_all", wait_all), ("progress", lambda _: standing)):
        monkeypatch.setattr(purges, name, value)
    answer = await purged(node, PURGE_ALL + "?wait=all")
    assert (answer["nodes"], answer["unknown"]) == ({"applied": 1, "blind": 1}, NOT_NAMED)
    told = (await call(node, f"/purge/progress/{identity}", method="GET")).json()
    assert (told["applied"], told["waiting"], told["blind"], told["unknown"]) == (["a"], [], ["b"], NOT_NAMED)
    standing = Standing(1, ("a",), (UNKNOWN,), (), False)
    told = (await call(node, f"/purge/progress/{identity}", method="GET")).json()
    assert (told["waiting"], told["done"], told["unknown"]) == ([], False, NOT_NAMED)
    standing = Standing(1, ("a",), (), (), True)
    assert "unknown" not in (await call(node, f"/purge/progress/{identity}", method="GET")).json()
