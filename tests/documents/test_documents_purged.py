"""Documents and purges: by whatever names them, softly, and while they are on their way."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from pages import URL, asked, confirmed, filled, get, is_hit, page, purge, said, settled

from edgecache.core.entry import Entry
from edgecache.storage.sqlite_store import SqliteStore
from edgecache.testing.node import Clock, Node
from edgecache.testing.scripted_upstream import Answer, ScriptedUpstream

PURGES = {
    "key": "/service/edgecache/purge/k",
    "key of the rule": "/service/edgecache/purge/of-the-rule",
    "everything": "/service/edgecache/purge_all",
}


def held(answer: Answer, gate: asyncio.Event) -> Answer:
    return Answer(status=answer.status, headers=answer.headers, body=answer.body, before_head=gate)


@pytest.mark.parametrize("by", [*PURGES, "url", "id"])
async def test_a_purged_page_is_fetched_anew(node: Node, origin: ScriptedUpstream, by: str) -> None:
    first = await filled(node, origin, page(b"old", Surrogate_Key="k other", ETag='"1"'))
    path = PURGES.get(by) or (URL if by == "url" else f"/purge/id/{first.headers['X-Edgecache-Id']}")
    await purge(node, path, method="PURGE" if by == "url" else "POST")
    origin.enqueue(page(b"new"))
    assert (await get(node)).body == b"new"
    assert asked(origin).header("If-None-Match") is None, "what was purged is not even validated"


async def test_a_page_kept_before_the_rule_had_a_tag_is_not_served_under_it(
    node: Node, origin: ScriptedUpstream, tmp_path: Path
) -> None:
    """A purge of the new tag, or of the rule by its new name, would spare it."""
    await filled(node, origin, page())
    policy = '[[route]]\nname = "shop"\npath = "/pages/*"\nmode = "http"\ntags = ["site"]\n'
    await asyncio.to_thread((tmp_path / "policies" / "policy.toml").write_text, policy)
    assert (await node.manage("POST", "/admin/policy/reload")).status == 200
    origin.enqueue(page(b"of the new rule"))
    assert (await get(node)).body == b"of the new rule"
    await settled(node)
    assert is_hit(await get(node))
    assert len(origin.requests) == 2


async def test_another_purge_takes_nothing(node: Node, origin: ScriptedUpstream) -> None:
    await filled(node, origin, page(Surrogate_Key="k"))
    await purge(node, "/service/edgecache/purge/another")
    await purge(node, "/pages/two", method="PURGE")
    assert is_hit(await get(node)) and len(origin.requests) == 1


async def test_a_soft_purge_makes_it_stale(node: Node, origin: ScriptedUpstream) -> None:
    """It is validated, and fresh again when the origin confirms it."""
    await filled(node, origin, page(b"kept", Surrogate_Key="k", ETag='"1"'))
    await purge(node, PURGES["key"], soft=True)
    origin.enqueue(confirmed(ETag='"1"'))
    assert said(await get(node)) == "edgecache; fwd=stale; fwd-status=304; stored"
    assert asked(origin).header("If-None-Match") == '"1"'
    assert is_hit(await get(node)) and len(origin.requests) == 2


async def test_a_key_that_a_304_brings_counts(node: Node, origin: ScriptedUpstream, clock: Clock) -> None:
    await filled(node, origin, page(b"kept", ETag='"1"'))
    clock.now += 61
    origin.enqueue(confirmed(ETag='"1"', Surrogate_Key="k"))
    assert (await get(node)).body == b"kept"
    await purge(node, PURGES["key"])
    origin.enqueue(page(b"new"))
    assert (await get(node)).body == b"new"


async def test_keys_stay_when_a_304_brings_none(node: Node, origin: ScriptedUpstream, clock: Clock) -> None:
    await filled(node, origin, page(b"kept", ETag='"1"', Surrogate_Key="k"))
    clock.now += 61
    origin.enqueue(confirmed(ETag='"1"'))
    assert (await get(node)).body == b"kept"
    await purge(node, PURGES["key"])
    origin.enqueue(page(b"new"))
    assert (await get(node)).body == b"new"


async def test_a_304_with_a_key_that_was_purged_since_the_fill(
    node: Node, origin: ScriptedUpstream, clock: Clock
) -> None:
    """What is stored is older than that purge: it is fetched anew."""
    await filled(node, origin, page(b"old", ETag='"1"'))
    await purge(node, PURGES["key"])
    clock.now += 61
    origin.enqueue(confirmed(ETag='"1"', Surrogate_Key="k"), page(b"new", ETag='"1"'))
    assert (await get(node)).body == b"new"


# --- fences -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", PURGES)
async def test_a_purge_while_it_is_fetched(node: Node, origin: ScriptedUpstream, by: str) -> None:
    """Who waited before gets what comes; it is not stored, and who comes after the purge does not join."""
    gate = asyncio.Event()
    origin.enqueue(held(page(b"old", Surrogate_Key="k"), gate), page(b"new", Surrogate_Key="k"))
    before = asyncio.create_task(get(node))
    await origin.wait_requests(1)
    await purge(node, PURGES[by])
    after = asyncio.create_task(get(node))
    if by == "key":  # of which nobody knows before the head comes
        while (await node.statistics())["documents"]["passengers"] < 2:
            pass
    else:
        await origin.wait_requests(2)
    gate.set()
    old, new = await before, await after
    assert (old.body, new.body) == (b"old", b"new") and "detail=purged" in said(old)
    await settled(node)
    assert (await get(node)).body == b"new" and len(origin.requests) == 2


async def test_a_purge_while_it_is_validated(node: Node, origin: ScriptedUpstream, clock: Clock) -> None:
    """The stored page is dead by the time the origin confirms it: it is fetched, and that is not stored either."""
    await filled(node, origin, page(b"old", Surrogate_Key="k", ETag='"1"'))
    clock.now += 61
    gate = asyncio.Event()
    origin.enqueue(held(confirmed(ETag='"1"'), gate), page(b"fetched", Surrogate_Key="k"), page(b"new"))
    before = asyncio.create_task(get(node))
    await origin.wait_requests(2)
    await purge(node, PURGES["key"])
    gate.set()
    assert (await before).body == b"fetched"
    await settled(node)
    assert (await get(node)).body == b"new"


@pytest.mark.parametrize("soft", [False, True])
async def test_a_purge_while_the_store_is_read(
    node: Node, origin: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch, soft: bool
) -> None:
    """The look at the ledger comes after the last await."""
    await filled(node, origin, page(b"old", Surrogate_Key="k"))
    node.app._exact.discard(*next((entry.scope, entry.key) for entry in node.app._exact))
    reading, go_on = asyncio.Event(), asyncio.Event()
    monkeypatch.setattr(SqliteStore, "get", _held(SqliteStore.get, reading, go_on))
    origin.enqueue(page(b"new"))
    asking = asyncio.create_task(get(node))
    await reading.wait()
    await purge(node, PURGES["key"], soft=soft)
    go_on.set()
    assert (await asking).body == b"new"


def _held(
    get: Callable[..., Awaitable[Entry | None]], reading: asyncio.Event, go_on: asyncio.Event
) -> Callable[..., Awaitable[Entry | None]]:
    async def wait(*given: Any) -> Entry | None:
        found = await get(*given)
        reading.set()
        await go_on.wait()
        return found

    return wait


async def test_many_who_want_the_same_ask_once(node: Node, origin: ScriptedUpstream) -> None:
    gate = asyncio.Event()
    origin.enqueue(held(page(), gate))
    asking = [asyncio.create_task(get(node)) for _ in range(20)]
    while (await node.statistics())["documents"]["passengers"] < 20:
        pass
    gate.set()
    replies = await asyncio.gather(*asking)
    assert {reply.body for reply in replies} == {b"a page"} and len(origin.requests) == 1
    assert sum("collapsed" in said(reply) for reply in replies) == 19


@pytest.mark.parametrize("control", ["no-store", "max-age=0", "no-cache, max-age=9"])
async def test_who_waited_for_what_is_not_shared_asks_itself(
    node: Node, origin: ScriptedUpstream, control: str
) -> None:
    """RFC 9111 section 4: only what could be reused for them; and for a while nobody waits any more."""
    gate, never = asyncio.Event(), asyncio.Event()
    first = page(b"0", control=control, ETag='"0"')
    origin.enqueue(held(first, gate), *[page(str(n).encode(), control=control) for n in range(1, 5)])
    asking = [asyncio.create_task(get(node)) for _ in range(5)]
    while (await node.statistics())["documents"]["passengers"] < 5:
        pass
    gate.set()
    assert sorted([reply.body for reply in await asyncio.gather(*asking)]) == [b"0", b"1", b"2", b"3", b"4"]
    origin.enqueue(held(page(b"slow", control=control), never), page(b"quick", control=control))
    slow = asyncio.create_task(get(node))
    await origin.wait_requests(6)
    assert (await get(node)).body == b"quick"
    never.set()
    await slow


# --- changes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_a_change_invalidates(node: Node, origin: ScriptedUpstream, method: str) -> None:
    """RFC 9111 section 4.4: the URL, and of the same origin what the answer names."""
    target = "/pages/two"
    for url in (URL, target):
        await filled_at(node, origin, url, page(b"old"))
    origin.enqueue(page(b"done", status=201, Location=target))
    changed = await node.ask(method, URL, b"content", headers={"Content-Type": "text/plain"})
    assert (changed.status, changed.body) == (201, b"done") and "detail=invalidated" in said(changed)
    assert (asked(origin).method, asked(origin).body) == (method, b"content")
    for url in (URL, target):
        origin.enqueue(page(b"new"))
        assert (await get(node, url)).body == b"new"


async def test_a_failed_change_invalidates_nothing(node: Node, origin: ScriptedUpstream) -> None:
    await filled(node, origin, page(b"kept"))
    origin.enqueue(page(status=409, control=""))
    assert (await node.ask("POST", URL, b"content")).status == 409
    assert is_hit(await get(node))


async def test_a_change_while_a_page_is_fetched(node: Node, origin: ScriptedUpstream) -> None:
    """The page that was on its way is as old as the change, or older: it is not stored."""
    gate = asyncio.Event()
    origin.enqueue(held(page(b"old"), gate), page(status=204, control=""), page(b"new"))
    before = asyncio.create_task(get(node))
    await origin.wait_requests(1)
    assert (await node.ask("DELETE", URL)).status == 204
    gate.set()
    await before
    await settled(node)
    assert (await get(node)).body == b"new"


async def filled_at(node: Node, origin: ScriptedUpstream, url: str, answer: Answer, **headers: str) -> None:
    origin.enqueue(answer)
    assert said(await get(node, url, **headers)).endswith("; stored")


# --- beside answers -----------------------------------------------------------------------------------------------


async def test_rules_of_other_modes_are_not_disturbed(node: Node, origin: ScriptedUpstream) -> None:
    chat = b'{"id":"1","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},'
    chat += b'"finish_reason":"stop"}]}'
    origin.enqueue(Answer(body=chat), page(b"elsewhere"))
    assert (await node.chat("a question")).status == 200
    assert (await node.chat("a question")).headers["X-Cache"] == "HIT"
    other = await get(node, "/elsewhere", Authorization="Bearer key")
    assert other.body == b"elsewhere" and said(other) == "edgecache; fwd=bypass"
