"""Whose answers are whose. Named after the leak that other gateways had."""

import asyncio
from pathlib import Path

import pytest

from edgecache.settings import Listen
from edgecache.testing.node import CHAT, JSON, SEMANTIC, Node, RawConnection, chat_body, running_node
from edgecache.testing.scripted_upstream import Answer, ScriptedUpstream

QUESTION = "How do I enable dark mode in the settings?"
PARAPHRASE = "How do I turn on dark mode in the settings?"


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.mark.parametrize("question", [QUESTION, PARAPHRASE], ids=["exact", "semantic"])
@pytest.mark.parametrize(
    "other",
    [bearer("sk-two"), {"x-api-key": "sk-two"}, {"api-key": "sk-two"}, {}],
    ids=["bearer", "x-api-key", "api-key", "none"],
)
async def test_an_answer_does_not_leak_to_another_credential(
    node: Node, upstream: ScriptedUpstream, question: str, other: dict[str, str]
) -> None:
    await node.chat(QUESTION, headers=bearer("sk-one"))
    answer = await node.chat(question, headers=other)
    assert answer.headers["X-Cache"] == "MISS"
    assert len(upstream.requests) == 2
    again = await node.chat(question, headers=bearer("sk-one"))
    assert again.headers["X-Cache"] == "HIT"


async def test_a_fill_in_flight_is_not_shared_with_another_credential(node: Node, upstream: ScriptedUpstream) -> None:
    asked = [node.chat(QUESTION, headers=bearer(f"sk-{n % 2}")) for n in range(6)]
    answers = await asyncio.gather(*asked)
    assert all(answer.status == 200 for answer in answers)
    keys = sorted(str(request.header("Authorization")) for request in upstream.requests)
    assert keys == ["Bearer sk-0", "Bearer sk-1"]


async def test_one_credential_is_one_caller_however_it_is_shown(node: Node, upstream: ScriptedUpstream) -> None:
    await node.chat(QUESTION, headers=bearer("sk-one"))
    hit = await node.chat(QUESTION, headers={"authorization": "bearer  sk-one "})
    assert hit.headers["X-Cache"] == "HIT"
    assert len(upstream.requests) == 1


@pytest.mark.parametrize(
    "headers",
    [
        [("Authorization", "Bearer sk-one"), ("x-api-key", "sk-two")],
        [("Authorization", "Bearer sk-one"), ("Authorization", "Bearer sk-two")],
        [("api-key", "sk-one"), ("x-api-key", "sk-two")],
    ],
)
async def test_two_credentials_that_differ_are_refused(
    node: Node, upstream: ScriptedUpstream, headers: list[tuple[str, str]]
) -> None:
    for path in ("/v1/chat/completions", "/v1/files"):
        async with node.session.post(node.url + path, data=chat_body(QUESTION), headers=headers) as response:
            assert response.status == 401
            assert "send one" in (await response.json())["error"]["message"]
    assert upstream.requests == []


ROUTES = (
    """
[[route]]
name = "off for one model"
models = ["untouched-*"]
mode = "off"

[[route]]
name = "another path"
path = "/team/v1/chat/completions"
mode = "exact"
tags = ["team"]

[[route]]
name = "a scope"
scopes = ["token:exact"]
mode = "exact"
"""
    + SEMANTIC
)


async def test_the_first_rule_that_matches_decides(tmp_path: Path, upstream: ScriptedUpstream) -> None:
    async with running_node(tmp_path, upstream=upstream, policy=ROUTES) as node:
        for _ in range(2):
            off = await node.chat(QUESTION, model="untouched-1")
            assert off.headers["Cache-Status"] == 'edgecache; fwd=bypass; fwd-status=200; detail="mode off"'
            assert off.headers["X-Cache"] == "BYPASS"
            assert "X-Edgecache-Id" not in off.headers
        assert await node.stored() == 0
        exact = await node.token("exact", scope="exact")
        semantic = await node.token("semantic", scope="semantic")
        for token, outcome in ((exact, "MISS"), (semantic, "HIT")):
            await node.chat(QUESTION, headers=bearer(token))
            assert (await node.chat(PARAPHRASE, headers=bearer(token))).headers["X-Cache"] == outcome
            assert (await node.chat(QUESTION, headers=bearer(token))).headers["X-Cache"] == "HIT"
        await node.chat(QUESTION, path="/team/v1/chat/completions")
        assert upstream.requests[-1].path == "/team/v1/chat/completions"
        assert (await node.chat(QUESTION, path="/team/v1/chat/completions")).headers["X-Cache"] == "HIT"


DEPLOYMENTS = """
[[route]]
name = "deployments"
path = "/openai/deployments/*/chat/completions"
mode = "semantic"
threshold = 0.9
"""


async def test_a_path_that_may_change_the_answer_is_told_apart(tmp_path: Path, upstream: ScriptedUpstream) -> None:
    """Azure names the model in the path, and does not look at the one in the body."""
    async with running_node(tmp_path, upstream=upstream, policy=DEPLOYMENTS) as node:
        for deployment in ("tiny", "gpt-4", "gpt-4"):
            await node.chat(QUESTION, path=f"/openai/deployments/{deployment}/chat/completions")
        small = await node.chat(PARAPHRASE, path="/openai/deployments/small/chat/completions")
        assert small.headers["X-Cache"] == "MISS"
    assert [request.path.split("/")[3] for request in upstream.requests] == ["tiny", "gpt-4", "small"]


async def test_rules_that_ask_other_upstreams_share_nothing(tmp_path: Path, upstream: ScriptedUpstream) -> None:
    outcomes = []
    for policy in (SEMANTIC, SEMANTIC + 'upstreams = ["upstream"]\n', SEMANTIC):
        async with running_node(tmp_path, upstream=upstream, policy=policy) as node:
            outcomes.append((await node.chat(QUESTION)).headers["X-Cache"])
    assert outcomes == ["MISS", "MISS", "HIT"]


async def test_a_query_that_may_change_the_answer_is_told_apart(node: Node, upstream: ScriptedUpstream) -> None:
    for query in ("", "?api-version=1", "?api-version=2", "?api-version=2"):
        await node.chat(QUESTION, path=f"/v1/chat/completions{query}")
    assert [request.query for request in upstream.requests] == ["", "api-version=1", "api-version=2"]


async def test_a_request_that_matches_no_rule_is_passed_through(tmp_path: Path, upstream: ScriptedUpstream) -> None:
    policy = '[[route]]\nname = "one"\nmodels = ["one"]\n'
    async with running_node(tmp_path, upstream=upstream, policy=policy) as node:
        body = b' {"model" : "two", "messages": [{"role":"user","content":"Hi"}], "stream": true}'
        for _ in range(2):
            passed = await node.ask("POST", "/v1/chat/completions?a=b", body, headers=JSON)
            assert passed.headers["Cache-Status"] == "edgecache; fwd=bypass"
            assert passed.text == "You asked: Hi"
        assert [(request.body, request.query) for request in upstream.requests] == [(body, "a=b")] * 2


# --- callers and keys ---------------------------------------------------------------------------------------------


async def test_without_a_credential_callers_are_refused_where_others_can_reach_it(
    tmp_path: Path, upstream: ScriptedUpstream
) -> None:

    everywhere = Listen(traffic="0.0.0.0:0", admin="127.0.0.1:0")
    async with running_node(tmp_path / "a", upstream=upstream, listen=everywhere) as node:
        for path in ("/v1/chat/completions", "/v1/files"):
            refused = await node.chat(QUESTION, path=path)
            assert refused.status == 401
            assert refused.error["code"] == "invalid_api_key"
        assert (await node.ask("GET", "/v1/models")).status == 401
        assert upstream.requests == []
        assert (await node.chat(QUESTION, headers=bearer("sk-one"))).status == 200
    async with running_node(tmp_path / "b", upstream=upstream, listen=everywhere, anonymous_scope="open") as node:
        assert (await node.chat(QUESTION)).status == 200


@pytest.fixture
async def keyed(tmp_path: Path, upstream: ScriptedUpstream):
    """A node with a provider key of its own."""
    async with running_node(tmp_path, upstream=upstream, key="sk-configured", policy=SEMANTIC) as node:
        yield node


@pytest.mark.parametrize("headers", [{}, bearer("sk-callers-own")], ids=["nothing", "own key"])
async def test_the_operators_key_is_used_only_for_who_has_a_token(
    keyed: Node, upstream: ScriptedUpstream, headers: dict[str, str]
) -> None:
    refused = await keyed.chat(QUESTION, headers=headers)
    assert refused.status == 401
    assert "edgecache token create" in refused.error["message"]
    assert upstream.requests == []


@pytest.mark.parametrize("name", ["Authorization", "x-api-key", "api-key"])
@pytest.mark.parametrize("with_key", [True, False])
async def test_our_token_never_goes_upstream(
    tmp_path: Path, upstream: ScriptedUpstream, name: str, with_key: bool
) -> None:
    async with running_node(tmp_path, upstream=upstream, key="sk-configured" if with_key else "") as node:
        token = await node.token("caller")
        headers = {name: token, "Proxy-Authorization": f"Bearer {token}"}
        assert (await node.chat(QUESTION, headers=headers)).status == 200
        assert (await node.ask("GET", "/v1/models", headers=headers)).status == 200
        dressed = {**headers, "Fastly-Key": token}
        assert (await node.chat("Another question?", headers=dressed)).status == 200
        assert len(upstream.requests) == 3
        sent = [value for request in upstream.requests for _, value in request.headers]
        assert not [value for value in sent if token in value]
        assert sent.count("Bearer sk-configured") == (3 if with_key else 0)


async def test_a_token_that_is_unknown_or_not_for_traffic_is_refused(keyed: Node, upstream: ScriptedUpstream) -> None:
    unknown = await keyed.chat(QUESTION, headers=bearer("edgecache-" + "0" * 64))
    assert unknown.status == 401
    purging = await keyed.token("purging", grants=["purge"])
    refused = await keyed.chat(QUESTION, headers=bearer(purging))
    assert refused.status == 403
    assert upstream.requests == []


async def test_a_revoked_token_ends_at_once_also_for_what_it_asked_before(
    keyed: Node, upstream: ScriptedUpstream
) -> None:
    token = await keyed.token("leaver")
    for _ in range(3):
        assert (await keyed.chat(QUESTION, headers=bearer(token))).status == 200
    await keyed.manage("DELETE", "/admin/tokens/leaver")
    assert (await keyed.chat(QUESTION, headers=bearer(token))).status == 401
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("path", ["/v1/files", "/v1/moderations", "/", "/v1/chat/completions/x"])
async def test_never_an_open_relay(keyed: Node, upstream: ScriptedUpstream, path: str) -> None:
    """A path no rule names goes on with the caller's own key only, never with the operator's."""
    token = await keyed.token("caller")
    refused = await keyed.ask("POST", path, b"{}", headers=bearer(token))
    assert refused.status == 403
    nobody = await keyed.ask("POST", path, b"{}")
    assert nobody.status == 401
    assert upstream.requests == []
    await keyed.ask("POST", path, b"{}", headers=bearer("sk-callers-own"))
    assert [request.header("Authorization") for request in upstream.requests] == ["Bearer sk-callers-own"]


@pytest.mark.parametrize(
    "path",
    [
        "/v1/open/../files", "/v1/open/%2e%2e/files", "/v1/open/.%2E/files", "/v1/open/./x", "/v1/open/..%2ffiles",
        "/v1/open/..;/files", "/v1/open/%2e%2e;x=1/files", "/v1/open/..%3bx/files", "/v1/open/%252e%252e/files",
        "/v1/open/%25252e%25252e%252ffiles", "/v1/open/..%5cfiles", "/v1/open/" + "%25" + "25" * 4_000 + "2e",
    ],
)  # fmt: skip
async def test_a_rule_for_a_folder_does_not_open_what_is_beside_it(
    tmp_path: Path, upstream: ScriptedUpstream, path: str
) -> None:
    policy = '[[route]]\nname = "folder"\npath = "/v1/open/*"\n'
    async with running_node(tmp_path, upstream=upstream, key="sk-configured", policy=policy) as node:
        token = await node.token("caller")
        assert (await node.ask("POST", "/v1/open/x", b"{}", headers=bearer(token))).status == 404
        assert len(upstream.requests) == 1
        for inside in (path, f"{path}/chat/completions"):
            refused = await node.ask("POST", inside, chat_body(QUESTION), headers=bearer(token))
            assert refused.status == 403
        assert len(upstream.requests) == 1


# --- a policy that changes ----------------------------------------------------------------------------------------


async def test_a_new_policy_holds_also_for_what_was_asked_before(
    node: Node, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    for outcome in ("MISS", "HIT", "HIT"):
        assert (await node.chat(QUESTION)).headers["X-Cache"] == outcome
    file = tmp_path / "policies" / "policy.toml"
    await asyncio.to_thread(file.write_text, SEMANTIC.replace('"semantic"', '"off"'))
    assert (await node.chat(QUESTION)).headers["X-Cache"] == "HIT"
    assert (await node.manage("POST", "/admin/policy/reload")).status == 200
    assert (await node.chat(QUESTION)).headers["X-Cache"] == "BYPASS"
    await asyncio.to_thread(file.write_text, "[[route]]\nnonsense = 1")
    refused = await node.manage("POST", "/admin/policy/reload")
    assert refused.status == 422
    assert "nonsense" in refused.body.decode()
    assert (await node.chat(QUESTION)).headers["X-Cache"] == "BYPASS"
    await asyncio.to_thread(file.write_text, SEMANTIC)
    await node.manage("POST", "/admin/policy/reload")
    assert (await node.chat(QUESTION)).headers["X-Cache"] == "HIT"


async def test_a_new_policy_loses_no_request(node: Node, upstream: ScriptedUpstream) -> None:
    barrier = asyncio.Event()
    upstream.enqueue(Answer(before_head=barrier, body=b'{"choices": []}'))
    asked = asyncio.create_task(node.chat(QUESTION))
    await upstream.wait_requests(1)
    await node.manage("POST", "/admin/policy/reload")
    barrier.set()
    assert (await asked).status == 200


@pytest.mark.parametrize("coding", ["gzip", "utf-8", "x"])
async def test_a_body_that_is_not_read_does_not_use_our_key(
    keyed: Node, upstream: ScriptedUpstream, coding: str
) -> None:
    """Its model could be one that no rule lets this caller use."""
    headers = {**bearer(await keyed.token("caller")), "Content-Encoding": coding}
    refused = await keyed.chat(QUESTION, headers=headers)
    assert refused.status == 415
    assert "plain JSON" in refused.error["message"]
    assert upstream.requests == []


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
async def test_other_methods_on_a_chat_path_do_not_use_our_key(
    keyed: Node, upstream: ScriptedUpstream, method: str
) -> None:
    """At the provider they are about what every caller of the key has stored."""
    headers = bearer(await keyed.token("caller"))
    assert (await keyed.ask(method, "/v1/chat/completions?limit=100", headers=headers)).status == 403
    assert upstream.requests == []


@pytest.mark.parametrize("scheme", ["Token {}", "Basic {}", "Bearer\t{} ", "x{}"])
async def test_a_token_dressed_up_as_another_credential_never_goes_upstream(
    node: Node, upstream: ScriptedUpstream, scheme: str
) -> None:
    token = await node.token("caller")
    await node.chat(QUESTION, headers={"Authorization": scheme.format(token)})
    await node.ask("GET", "/v1/files", headers={"Authorization": scheme.format(token)})
    assert not [value for request in upstream.requests for _, value in request.headers if token in value]


@pytest.mark.parametrize("name", ["x-goog-api-key", "Ocp-Apim-Subscription-Key", "Cookie"])
async def test_callers_known_by_another_header_do_not_share_answers(
    node: Node, upstream: ScriptedUpstream, name: str
) -> None:
    for caller in ("alice=1", "bob=2"):
        answer = await node.chat(QUESTION, headers={name: caller})
        assert answer.headers["X-Cache"] == "MISS"
    assert len(upstream.requests) == 2


async def test_a_page_of_another_site_whose_name_points_here_reads_nothing(
    node: Node, upstream: ScriptedUpstream
) -> None:
    """DNS rebinding: without a token of ours only this machine's own names are answered, remembered requests included.
    A page can add a cookie, or any key, to what it sends.
    """
    shown: list[dict[str, str]] = [{}, {"Cookie": "x=1"}, {"X-Api-Key": "junk"}, bearer("junk too")]
    for by in shown:
        seen = len(upstream.requests)
        for host in ("localhost", "127.0.0.1:8080", "[::1]", "evil.example", "localhost.evil.example", ""):
            refused = [await node.chat(QUESTION, headers={"Host": host, **by}, path=path) for path in (CHAT, "/v1/x")]
            assert [reply.status == 403 for reply in refused] == [not host or "evil" in host] * 2, (host, by)
        asked = [request.path for request in upstream.requests[seen:]]
        assert (asked.count(CHAT), asked.count("/v1/x")) == (1, 3)
    token = await node.token("caller")
    assert (await node.chat(QUESTION, headers={"Host": "evil.example", **bearer(token)})).status == 200


async def test_the_host_is_free_where_callers_from_elsewhere_are_meant(
    tmp_path: Path, upstream: ScriptedUpstream
) -> None:
    named = {"Host": "api.example", **bearer("sk-own")}
    everywhere = Listen(traffic="0.0.0.0:0", admin="127.0.0.1:0")
    async with running_node(tmp_path / "a", upstream=upstream, listen=everywhere) as node:
        assert (await node.chat(QUESTION, headers=named)).status == 200
    async with running_node(tmp_path / "b", upstream=upstream, anonymous_scope="open") as node:
        for headers in (named, {"Host": "api.example"}):
            assert (await node.chat(QUESTION, headers=headers)).status == 200


async def test_a_cookie_is_never_a_token(node: Node, upstream: ScriptedUpstream) -> None:
    """A browser sends it unasked; and what only looks like a token in one is a cookie like any other."""
    token = await node.token("admin too", grants=["admin"])
    refused = await node.chat(QUESTION, headers={"Cookie": f"session={token}"})
    assert (refused.status, "in a cookie" in refused.error["message"]) == (401, True)
    assert (await node.ask("GET", "/v1/files", headers={"Cookie": token})).status == 401
    for method, path in (("POST", "/service/edgecache/purge_all"), ("POST", "/push"), ("GET", "/admin/tokens")):
        assert (await node.ask(method, path, headers={"Cookie": token}, admin=True)).status == 401
    assert upstream.requests == []
    assert (await node.chat(QUESTION, headers={"Cookie": "edgecache-theme=dark"})).status == 200


async def test_a_token_revoked_while_its_body_comes_reads_nothing(node: Node, upstream: ScriptedUpstream) -> None:
    token = await node.token("bob")
    body = chat_body(QUESTION)
    async with RawConnection(node.port) as raw:
        head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
        await raw.send(f"{head}Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        await raw.until(b"100 Continue\r\n\r\n")
        assert (await node.manage("DELETE", "/admin/tokens/bob")).status == 200
        await raw.send(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
        assert (await raw.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 401")
    assert upstream.requests == []
