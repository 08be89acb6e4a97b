"""What a purge token may touch: kinds of calls, keys, tenants, services."""

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from purging import KEYS, PURGE_ALL, SIMILAR, call, fill, outcome, purged, refused, token

from edgecache.core.tags import Kind, Tag, within
from edgecache.testing.node import CHAT, SEMANTIC, Node, running_node
from edgecache.testing.scripted_upstream import ScriptedUpstream

ADA = "Ada Lovelace"
QUESTION = "How do I enable dark mode?"
NO_ID = "/purge/id/" + "0" * 32
SELECT: list[tuple[str, str, Any]] = [
    ("POST", "/service/edgecache/purge/docs-1", None),
    ("POST", KEYS, {"surrogate_keys": ["docs-1"]}),
]
FURTHER: list[tuple[str, str, Any]] = [
    ("PURGE", CHAT, None),
    ("POST", f"/purge/host{CHAT}", None),
    ("POST", NO_ID, None),
    ("POST", "/purge/route/questions", None),
    ("POST", "/purge/model/gpt-4o", None),
    ("POST", "/purge/user", {"user": ADA}),
    ("POST", SIMILAR, {"text": QUESTION, "radius": 0.1}),
]
ALL: list[tuple[str, str, Any]] = [("POST", PURGE_ALL, None), ("POST", "/purge/scope/acme", None)]


@pytest.fixture
async def node(tmp_path: Path) -> AsyncGenerator[Node, None]:
    """With a key of its own for the provider, so that callers are known by tokens of ours."""
    services = {"acme-1": "acme", "other-1": "other"}
    async with (
        ScriptedUpstream() as upstream,
        running_node(tmp_path, upstream=upstream, key="sk-own", policy=SEMANTIC, services=services) as node,
    ):
        yield node


@pytest.mark.parametrize(
    ("grant", "may", "may_not", "told"),
    [
        ("purge", [*SELECT, *FURTHER, *ALL], [], ""),
        ("purge_select", [*SELECT, *FURTHER], ALL, "not for purging everything"),
        ("purge_all", ALL, [*SELECT, *FURTHER], "not for purging what it names"),
        ("push", [], [*SELECT, *FURTHER, *ALL], "not for purging"),
        ("traffic", [], [*SELECT, *FURTHER, *ALL], "not for purging"),
    ],
)
async def test_what_each_grant_opens(node: Node, grant: str, may: Any, may_not: Any, told: str) -> None:
    secret = await token(node, "t", grant)
    for method, path, body in may_not:
        for query in ("", "?dry_run=1"):
            reply = await call(node, path + query, method=method, body=body, Fastly_Key=secret)
            await refused(node, 403, reply, told)
    for method, path, body in may:
        await purged(node, path, method=method, body=body, Fastly_Key=secret)
    assert (await node.statistics())["ledger"]["applied"] == len(may)


async def test_limited_to_tags(node: Node) -> None:
    """By keys alone: anything else could hit what carries other tags."""
    secret = await token(node, "docs", "purge", tags=["docs-*", "shop"])
    for method, path, body in (*FURTHER, *ALL):
        reply = await call(node, path, method=method, body=body, Fastly_Key=secret)
        await refused(node, 403, reply, "limited to tags")
    for path, body, headers in (
        ("/service/edgecache/purge/other", None, {}),
        ("/service/edgecache/purge/xdocs-1", None, {}),
        (KEYS, {"surrogate_keys": ["docs-1", "other", "third"]}, {}),
        (KEYS, None, {"Surrogate_Key": "docs-1 other"}),
        (KEYS, {"surrogate_keys": ["docs-1"]}, {"Surrogate_Key": "other"}),
        ("/service/acme-1/purge/other", None, {}),
    ):
        reply = await call(node, path, body=body, Fastly_Key=secret, **headers)
        await refused(node, 403, reply, "may not touch the key")
        assert "third" not in reply.json()["detail"]
    await purged(node, KEYS, body={"surrogate_keys": ["docs-1", "docs-", "shop"]}, Fastly_Key=secret)
    assert (await node.statistics())["ledger"]["applied"] == 1


async def test_limited_to_tenants(node: Node) -> None:
    """Every call takes back what is theirs and leaves what is others'."""
    callers = {name: await token(node, name, "traffic") for name in ("acme", "beta", "other")}
    secret = await token(node, "ops", "purge", tenants=["acme", "beta"])
    for method, path, body in (*SELECT, *FURTHER, ("POST", PURGE_ALL, None)):
        ids = {name: await fill(node, QUESTION, "docs-1", by=by, user=ADA) for name, by in callers.items()}
        target = path.replace("0" * 32, ids["acme"])
        await purged(node, target, method=method, body=body, Fastly_Key=secret)
        after = {name: await outcome(node, QUESTION, by=by, user=ADA) for name, by in callers.items()}
        beta = "HIT" if target != path else "MISS"  # an id is one entry's
        assert after == {"acme": "MISS", "beta": beta, "other": "HIT"}, path
        await purged(node, PURGE_ALL)


async def test_tenants_make_one_record_of_tags(node: Node) -> None:
    secret = await token(node, "ops", "purge", tenants=["acme", "beta"])
    await purged(node, KEYS, body={"surrogate_keys": ["a", "b"]}, Fastly_Key=secret)
    await purged(node, PURGE_ALL, Fastly_Key=secret)
    first, second = (logged.record.tags for logged in await node.app.storage.log.read(0))
    assert set(first) == {within(f"token:{s}", Tag(Kind.KEY, k)) for s in ("acme", "beta") for k in ("a", "b")}
    assert second == (Tag(Kind.SCOPE, "token:acme"), Tag(Kind.SCOPE, "token:beta"))


async def test_a_meaning_for_each_tenant(node: Node) -> None:
    secret = await token(node, "ops", "purge", tenants=["acme", "beta"])
    answer = await purged(node, SIMILAR, body={"text": QUESTION, "radius": 0.1}, Fastly_Key=secret)
    records = [logged.record for logged in await node.app.storage.log.read(0)]
    assert [record.meaning.scope for record in records] == ["token:acme", "token:beta"]
    assert answer["ids"] == [record.id for record in records]
    assert answer["id"] == answer["ids"][-1]


async def test_other_tenants_by_name_are_refused(node: Node) -> None:
    secret = await token(node, "ops", "purge", tenants=["acme"])
    for path, body in (
        ("/purge/scope/other", None),
        ("/purge/scope/local", None),
        ("/service/other-1/purge_all", None),
        ("/service/other-1/purge/a", None),
        (SIMILAR, {"text": "a", "radius": 0.1, "scope": "other"}),
    ):
        await refused(node, 403, await call(node, path, body=body, Fastly_Key=secret), "is not for the scope")
    for path, body in (
        ("/purge/scope/acme", None),
        ("/service/acme-1/purge_all", None),
        ("/service/acme-1/purge/a", None),
        (SIMILAR, {"text": "a", "radius": 0.1, "scope": "token:acme"}),
    ):
        await purged(node, path, body=body, Fastly_Key=secret)


async def test_keys_and_tenants_together_have_a_limit(node: Node) -> None:
    secret = await token(node, "ops", "purge", tenants=[f"t{n}" for n in range(5)])
    keys = [f"k{n}" for n in range(205)]
    reply = await call(node, KEYS, body={"surrogate_keys": keys}, Fastly_Key=secret)
    await refused(node, 400, reply, "at most 204 keys")
    await purged(node, KEYS, body={"surrogate_keys": keys[:204]}, Fastly_Key=secret)


async def test_a_service_is_one_tenants(node: Node) -> None:
    callers = {name: await token(node, name, "traffic") for name in ("acme", "other")}
    for path in ("/service/acme-1/purge/docs", "/service/acme-1/purge_all"):
        for by in callers.values():
            await fill(node, QUESTION, "docs", by=by)
        await purged(node, path)
        after = {name: await outcome(node, QUESTION, by=by) for name, by in callers.items()}
        assert after == {"acme": "MISS", "other": "HIT"}, path
        await purged(node, PURGE_ALL)


async def test_erasure_takes_what_was_filled_for_one_person(node: Node) -> None:
    app = await token(node, "app", "traffic")
    await fill(node, "What is my balance?", by=app, user=ADA)
    await fill(node, "What is my address?", by=app, safety_identifier=ADA)
    await fill(node, "What is my name?", by=app, metadata={"user_id": ADA})
    await fill(node, "What is your name?", by=app, user="bob")
    found = await purged(node, "/purge/user?dry_run=1", body={"user": ADA})
    assert found["count"] == 3
    await purged(node, "/purge/user?wait=all", body={"user": ADA})
    for question in ("What is my balance?", "What is my address?", "What is my name?"):
        assert (await node.chat(question, headers={"Authorization": f"Bearer {app}"})).headers["X-Cache"] == "MISS"
    assert await outcome(node, "What is your name?", by=app) == "HIT"
    kept = [repr(found), repr(await node.app.storage.audit.lines()), repr(await node.app.storage.log.read(0))]
    assert "user:" in kept[1]
    assert not any(ADA in text for text in kept)
