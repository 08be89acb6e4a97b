"""The purge calls over HTTP: who may, what they answer, and what is refused with nothing purged."""

from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from purging import KEYS, PURGE_ALL, SIMILAR, call, fill, outcome, purged, refused

from edgecache.core.purges import Effect
from edgecache.core.tags import EVERYTHING, Kind, Tag, keys, within
from edgecache.testing.node import CHAT, Node, running_node
from edgecache.testing.scripted_upstream import ScriptedUpstream

QUESTION = "What is it?"
POLICY = """
[[route]]
name = "app"
request_tags = true

[[route]]
name = "docs"
path = "/docs/*"
when_blind = "serve-stale"
"""


@pytest.fixture
async def node(tmp_path: Path) -> AsyncGenerator[Node, None]:
    async with (
        ScriptedUpstream() as upstream,
        running_node(tmp_path, upstream=upstream, policy=POLICY, services={"shop-1": "shop"}) as node,
    ):
        yield node


async def last_tags(node: Node) -> tuple[Tag, ...]:
    """What the newest record in the log names."""
    record = (await node.app.storage.log.read(0))[-1].record
    assert record is not None
    return record.tags


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
        ({}, {"surrogate_keys": []}, "Name the keys"),
        ({}, {"surrogate_keys": "a"}, "Expected `array`, got `str`"),
        ({}, {"surrogate_keys": [1]}, "Expected `str`, got `int`"),
        ({}, {"surrogate_keys": ["a"], "dryrun": True}, "unknown field `dryrun`"),
        ({}, {"surrogate_keys": ["a"], "dry_run": "no"}, "Expected `bool`, got `str`"),
        ({}, [], "Expected `object`, got `array`"),
        ({}, b"{", "a JSON object of"),
        ({}, b"[" * 100_000, "a JSON object of"),
        ({}, b"\xff", "a JSON object of"),
        ({"Surrogate_Key": "a"}, b"surrogate_keys=b", "a JSON object of"),
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
        ("/service/other/purge_all", 404, "There is no service 'other'; this one is 'edgecache'"),
        ("/service/other/purge/a", 404, "There is no service"),
        ("/service/other/purge", 404, "There is no service"),
        ("/service//purge_all", 404, "There is no service ''"),
        ("/service/edgecache/purge/", 400, "1 to 1024 bytes"),
        (f"/service/edgecache/purge/{'x' * 1_025}", 400, "this one 1025"),
        ("/purge/", 400, "host and path"),
        ("/purge/id/xyz", 400, "32 hexadecimal digits"),
        ("/purge/id/", 400, "32 hexadecimal digits"),
        ("/purge/route/", 400, "Name the route"),
        (f"/purge/model/{'x' * 1_025}", 400, "Name the model"),
        ("/purge/scope/", 400, "Name the scope"),
        ("/purge/user", 400, "missing required field `user`"),
        ("/purge/similar", 400, "missing required field `text`"),
    ],
)
async def test_what_cannot_be_purged(node: Node, path: str, status: int, told: str) -> None:
    await refused(node, status, await call(node, path), told)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"text": "a", "radius": 1.01}, "Expected `float` <= 1.0"),
        ({"text": "a", "radius": -0.1}, "Expected `float` >= 0.0"),
        ({"text": "a", "radius": "0.1"}, "Expected `float`, got `str`"),
        ({"text": "a", "radius": True}, "Expected `float`, got `bool`"),
        ({"text": "a", "radius": None}, "Expected `float`, got `null`"),
        (b'{"text": "a", "radius": NaN}', "JSON is malformed"),
        (b'{"text": "a", "radius": 1e999}', "a JSON object of"),
        ({"text": "a"}, "missing required field `radius`"),
        ({"text": ["a"], "radius": 0.1}, "Expected `str`, got `array`"),
        ({"text": " \n", "radius": 0.1}, "Give a `text`"),
        ({"text": "word " * 2_000, "radius": 0.1}, "longer than the embedding model reads"),
        ({"text": "a", "radius": 0.1, "scope": 5}, "Expected `str`, got `int`"),
        ({"text": "a", "radius": 0.1, "dry": True}, "unknown field `dry`"),
    ],
)
async def test_meanings_that_cannot_be(node: Node, body: Any, told: str) -> None:
    await refused(node, 400, await call(node, SIMILAR, body=body), told)


@pytest.mark.parametrize(
    ("body", "told"), [({"user": ""}, "Name the user"), ({"user": 7}, "got `int`"), ({"user": "a", "b": 1}, "unknown")]
)
async def test_users_that_cannot_be(node: Node, body: Any, told: str) -> None:
    await refused(node, 400, await call(node, "/purge/user", body=body), told)


PLAIN = [
    ("POST", PURGE_ALL),
    ("POST", "/service/edgecache/purge/a"),
    ("POST", "/purge/host/path"),
    ("POST", "/purge/scope/team"),
    ("PURGE", CHAT),
]


@pytest.mark.parametrize(("method", "path"), PLAIN)
async def test_what_is_not_understood_purges_nothing(node: Node, method: str, path: str) -> None:
    """A preview that is misspelt must not become a purge."""
    for query, told in (("wait=other", "`wait`"), ("wait=", "`wait`"), ("dry_run=maybe", "`dry_run`")):
        await refused(node, 400, await call(node, f"{path}?{query}", method=method), told)
    await refused(node, 400, await call(node, path, method=method, wait="some"), "`wait`")
    for body, told in (({"dry-run": True}, "unknown field"), ({"dry_run": 1}, "got `int`"), (b"dry_run", "JSON")):
        await refused(node, 400, await call(node, path, method=method, body=body), told)
    await refused(node, 400, await call(node, path, method=method, Fastly_Purge_Environment="staging"), "no staging")


@pytest.mark.parametrize("value", ["1", "0", ""])
async def test_what_cannot_be_soft(node: Node, value: str) -> None:
    soft = {"Fastly_Soft_Purge": value}
    for path in (PURGE_ALL, "/service/shop-1/purge_all", "/purge/scope/team"):
        await refused(node, 400, await call(node, path, **soft), "Everything cannot be purged softly")
    for path, body in ((SIMILAR, {"text": "a", "radius": 0.1}), ("/purge/user", {"user": "ada"})):
        await refused(node, 400, await call(node, path, body=body, **soft), "only a hard purge")


async def test_a_soft_purge_is_one_in_the_log_whatever_the_header_says(node: Node) -> None:
    for number, value in enumerate(("1", "0", "")):
        for method, path in (
            ("POST", "/service/edgecache/purge/a"),
            ("PURGE", CHAT),
            ("POST", "/purge/id/" + "0" * 32),
        ):
            await purged(node, path, method=method, Fastly_Soft_Purge=value)
        effects = [logged.record.effect for logged in await node.app.storage.log.read(0)]
        assert effects == [Effect.SOFT] * 3 * (number + 1)
    assert (await node.statistics())["ledger"]["tombstones"] == 0


@pytest.mark.parametrize(
    ("method", "path", "tags"),
    [
        ("POST", "/purge/route/app", (Tag(Kind.ROUTE, "app"),)),
        ("POST", "/purge/model/meta%2Fllama/3", (Tag(Kind.MODEL, "meta/llama/3"),)),
        ("POST", "/purge/scope/team", (Tag(Kind.SCOPE, "token:team"),)),
        ("POST", "/purge/scope/local", (Tag(Kind.SCOPE, "local"),)),
        ("POST", "/purge/scope/key:0123", (Tag(Kind.SCOPE, "key:0123"),)),
        ("POST", "/service/shop-1/purge_all", (Tag(Kind.SCOPE, "token:shop"),)),
        ("POST", "/service/shop-1/purge/a", (within("token:shop", Tag(Kind.KEY, "a")),)),
        ("POST", PURGE_ALL, (EVERYTHING,)),
        ("POST", "/purge/user.example/path", (Tag(Kind.URL, "/path"),)),
        ("PURGE", "/service/edgecache/purge_all", (Tag(Kind.URL, "/service/edgecache/purge_all"),)),
    ],
)
async def test_what_each_call_names(node: Node, method: str, path: str, tags: tuple[Tag, ...]) -> None:
    await purged(node, path, method=method)
    assert await last_tags(node) == tags


async def test_keys_in_header_and_body_are_all_purged(node: Node) -> None:
    answer = await purged(node, KEYS, body={"surrogate_keys": ["c", "a"]}, Surrogate_Key="a b")
    assert list(answer) == ["a", "b", "c"]
    assert await last_tags(node) == keys(["a", "b", "c"])


async def test_one_entry_by_route_model_and_id(node: Node) -> None:
    for path in ("/purge/route/app", "/purge/model/gpt-4o", "/purge/id/{}"):
        name = await fill(node, QUESTION)
        assert await outcome(node, QUESTION) == "HIT"
        await purged(node, path.format(name))
        assert await outcome(node, QUESTION) == "MISS"
        await purged(node, PURGE_ALL)


# --- wait -------------------------------------------------------------------------------------------------------------


def check_waited(answer: Any) -> None:
    assert answer["nodes"] == {"applied": 1, "blind": 0}
    assert answer["serve_stale_routes"] == ["docs"]
    assert answer["ms"] >= 0


@pytest.mark.parametrize(("method", "path"), [*PLAIN, ("POST", "/purge/id/" + "0" * 32)])
async def test_waiting_for_all_nodes(node: Node, method: str, path: str) -> None:
    for options in ({"path": path + "?wait=all"}, {"path": path, "wait": "all"}):
        answer = await purged(node, method=method, **options)
        assert list(answer) == ["status", "id", "nodes", "serve_stale_routes", "ms"]
        check_waited(answer)
    assert list(await purged(node, path, method=method)) == ["status", "id"]


async def test_keys_called_like_members_of_the_answer(node: Node) -> None:
    """The shape of Fastly's answer has no room for more than keys, so that with `wait=all` it is another."""
    named = ["id", "nodes", "status", "ms"]
    plain = await purged(node, KEYS, body={"surrogate_keys": named})
    assert list(plain) == named
    assert len(set(plain.values())) == 1
    waited = await purged(node, KEYS + "?wait=all", body={"surrogate_keys": named})
    assert waited["keys"] == dict.fromkeys(named, waited["id"])
    assert waited["status"] == "ok"
    check_waited(waited)


async def test_how_far_a_purge_has_come(node: Node) -> None:
    identity = (await purged(node, PURGE_ALL + "?wait=all"))["id"]
    for admin in (False, True):
        standing = await purged(node, f"/purge/progress/{identity}", method="GET", admin=admin)
        assert standing["id"] == identity
        assert (standing["sequence"], standing["done"], standing["waiting"], standing["blind"]) == (1, True, [], [])
        (name,) = standing["applied"]
        assert name.startswith("node-under-test")
        assert standing["serve_stale_routes"] == ["docs"]
    unknown = await call(node, "/purge/progress/" + "0" * 32, method="GET")
    assert unknown.status == 404
    assert (await node.ask("GET", f"/purge/progress/{identity}")).status == 401
    traffic = await node.token("app", grants=["traffic"])
    assert (await call(node, f"/purge/progress/{identity}", method="GET", Fastly_Key=traffic)).status == 403


# --- keys -------------------------------------------------------------------------------------------------------------


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
