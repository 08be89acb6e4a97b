"""The purge calls over HTTP: who may, what they answer, and what is refused with nothing purged."""

from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from edgecache.core.tags import keys
from edgecache.testing.node import CHAT, Node, Reply, running_node
from edgecache.testing.scripted_upstream import ScriptedUpstream

QUESTION = "What is it?"
PURGE_ALL = "/service/edgecache/purge_all"


@pytest.fixture
async def node(tmp_path: Path) -> AsyncGenerator[Node, None]:
    async with ScriptedUpstream() as upstream, running_node(tmp_path, upstream=upstream) as node:
        yield node


async def call(
    node: Node, path: str, *, method: str = "POST", body: Any = None, admin: bool = False, **headers: str
) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    content = msgspec.json.encode(body) if body is not None else None
    return await node.ask(method, path, content, headers={"Fastly-Key": node.admin_token, **named}, admin=admin)


async def refused(node: Node, status: int, reply: Reply, told: str) -> None:
    """An error in Fastly's shape, and nothing was purged."""
    assert reply.status == status, reply
    assert set(reply.json()) == {"msg", "detail"}
    assert told in reply.json()["detail"], reply
    assert (await node.statistics())["ledger"]["applied"] == 0


CREDENTIALS = ("Fastly-Key: {}", "Authorization: Bearer {}", "x-api-key: {}")


@pytest.mark.parametrize("admin", [False, True])
async def test_with_a_token_on_both_listeners(node: Node, admin: bool) -> None:
    purger = await node.token("purger", grants=["purge"])
    for line in CREDENTIALS:
        name, _, value = line.format(purger).partition(": ")
        await node.chat(QUESTION)
        assert (await node.chat(QUESTION)).headers["X-Cache"] == "HIT"
        reply = await node.ask("POST", PURGE_ALL, headers={name: value}, admin=admin)
        assert reply.status == 200
        assert reply.json() == {"status": "ok", "id": reply.json()["id"]}
        assert len(reply.json()["id"]) == 32
        assert (await node.chat(QUESTION)).headers["X-Cache"] == "MISS"


@pytest.mark.parametrize("admin", [False, True])
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", PURGE_ALL), ("POST", "/service/edgecache/purge/a"), ("POST", f"/purge/host{CHAT}"), ("PURGE", CHAT)],
)
async def test_without_one(node: Node, method: str, path: str, admin: bool) -> None:
    traffic = await node.token("app", grants=["traffic"])
    tries: list[tuple[int, Mapping[str, str], str]] = [
        (401, {}, "Purging needs a token"),
        (401, {"Fastly-Key": ""}, "Purging needs a token"),
        (401, {"Fastly-Key": "sk-somebodys-own"}, "not known, or was revoked"),
        (401, {"Authorization": "Bearer edgecache-" + "0" * 64}, "not known, or was revoked"),
        (403, {"Fastly-Key": traffic}, "not for purging"),
    ]
    for status, headers, told in tries:
        await refused(node, status, await node.ask(method, path, headers=headers, admin=admin), told)


async def test_a_revoked_token_purges_no_more(node: Node) -> None:
    purger = await node.token("purger", grants=["purge"])
    assert (await node.manage("DELETE", "/admin/tokens/purger")).status == 200
    await refused(node, 401, await call(node, PURGE_ALL, Fastly_Key=purger), "revoked")


async def test_many_keys_answer_key_by_key_and_are_one_record(node: Node) -> None:
    by_header = await call(node, "/service/edgecache/purge", Surrogate_Key="a b  c a")
    assert list(by_header.json()) == ["a", "b", "c"]
    assert len(set(by_header.json().values())) == 1
    many = [f"k{n}" for n in range(256)]
    by_body = await call(node, "/service/edgecache/purge", body={"surrogate_keys": many})
    assert list(by_body.json()) == many
    assert (await node.statistics())["ledger"]["applied"] == 2


@pytest.mark.parametrize(
    ("headers", "body", "told"),
    [
        ({}, None, "Name the keys"),
        ({}, {"surrogate_keys": []}, "No surrogate keys given"),
        ({}, {"surrogate_keys": "a"}, "Name the keys"),
        ({}, {"keys": ["a"]}, "Name the keys"),
        ({}, [], "Name the keys"),
        ({}, {"surrogate_keys": [f"k{n}" for n in range(257)]}, "257 surrogate keys"),
        ({}, {"surrogate_keys": ["x" * 1_025]}, "1 to 1024 bytes"),
        ({"Surrogate_Key": " "}, None, "Name the keys"),
        ({"Surrogate_Key": "x" * 1_025}, None, "at most 1024"),
        ({"Surrogate_Key": "a " * 8_200}, None, "at most 16384"),
        ({"Surrogate_Key": " ".join(f"k{n}" for n in range(257))}, None, "257 surrogate keys"),
    ],
)
async def test_keys_that_cannot_be(node: Node, headers: dict[str, str], body: Any, told: str) -> None:
    await refused(node, 400, await call(node, "/service/edgecache/purge", body=body, **headers), told)


@pytest.mark.parametrize(
    ("path", "status", "told"),
    [
        ("/service/other/purge_all", 404, "There is no service 'other'"),
        ("/service/other/purge/a", 404, "There is no service"),
        ("/service//purge_all", 404, "There is no service ''"),
        ("/service/edgecache/purge/", 400, "1 to 1024 bytes"),
        ("/purge/", 400, "host and path"),
        ("/purge/id/xyz", 400, "32 hexadecimal digits"),
        ("/purge/id/", 400, "32 hexadecimal digits"),
        ("/purge/similar", 501, "not available yet"),
    ],
)
async def test_what_cannot_be_purged(node: Node, path: str, status: int, told: str) -> None:
    await refused(node, status, await call(node, path), told)


@pytest.mark.parametrize("method, path", [("POST", PURGE_ALL), ("POST", "/service/edgecache/purge/a"), ("PURGE", CHAT)])
async def test_promises_that_cannot_be_kept_yet_are_refused(node: Node, method: str, path: str) -> None:
    """A hard purge in place of a soft one would lose answers; an answer without the wait would promise too much."""
    for value in ("1", "0", ""):
        await refused(node, 501, await call(node, path, method=method, Fastly_Soft_Purge=value), "Soft purge")
    await refused(node, 501, await call(node, path + "?wait=all", method=method), "wait=all")
    await refused(node, 501, await call(node, path, method=method, wait="all"), "wait=all")


async def test_a_single_key_may_hold_anything(node: Node) -> None:
    for key in ("a/b", "a b", "é", "purge_all", "100%", "?"):
        reply = await call(node, f"/service/edgecache/purge/{quote(key, safe='/')}")
        assert reply.json()["status"] == "ok"
        logged = await node.app.storage.log.read(0)
        assert logged[-1].record.tags == keys([key])


async def test_a_customers_key_all_is_only_a_key(node: Node) -> None:
    await node.chat(QUESTION)
    await call(node, "/service/edgecache/purge/all")
    assert (await node.chat(QUESTION)).headers["X-Cache"] == "HIT"


async def test_keys_cannot_forge_log_lines(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "edgecache")
    await call(
        node, "/service/edgecache/purge", body={"surrogate_keys": ["a\nFAKE", *(f"k{n}" * 200 for n in range(200))]}
    )
    lines = [record.getMessage() for record in caplog.records if record.getMessage().startswith("purge ")]
    assert len(lines) == 1
    assert "\n" not in lines[0]
    assert len(lines[0]) < 2_000


async def test_paths_that_only_look_like_purge_calls_are_not_ours(node: Node) -> None:
    for path in ("/service/edgecache/purge_all/x", "/service/edgecache", "/purge", "/v1/purge/x"):
        assert (await call(node, path, body={})).status == 404
    assert (await node.statistics())["ledger"]["applied"] == 0


async def test_when_the_log_does_not_take_it_nothing_is_promised(node: Node) -> None:
    await node.app.storage.close()
    reply = await call(node, PURGE_ALL)
    assert reply.status == 503
    assert reply.json()["msg"] == "Not purged"
    assert "ask again" in reply.json()["detail"]
