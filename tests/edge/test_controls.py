"""What a request may say about its own caching, where its route lets it: and what its route says of all requests."""

import json
from pathlib import Path

import pytest

from edgecache.testing.node import SEMANTIC, Clock, Node, running_node
from edgecache.testing.scripted_upstream import ScriptedUpstream

ALL = """
[[route]]
name = "questions"
mode = "semantic"
threshold = 0.9
controls = ["mode", "threshold", "ttl", "key"]
"""
ASKED, OTHERWISE = "How do I enable dark mode?", "How can I enable dark mode?"


async def cached(node: Node, text: str = ASKED, **headers: str) -> str:
    """X-Cache of one answer."""
    answer = await node.chat(text, headers={name.replace("_", "-"): value for name, value in headers.items()})
    assert answer.status == 200, answer.body
    return answer.headers["X-Cache"]


async def test_exact_only_finds_no_other_words(tmp_path: Path) -> None:
    async with ScriptedUpstream() as upstream, running_node(tmp_path, upstream=upstream, policy=ALL) as node:
        assert await cached(node) == "MISS"
        assert await cached(node, OTHERWISE) == "HIT"
        assert await cached(node, OTHERWISE, X_Edgecache_Mode="exact") == "MISS"
        assert await cached(node, X_Edgecache_Mode="exact") == "HIT"
    assert len(upstream.requests) == 2


async def test_bypass_neither_finds_nor_keeps(tmp_path: Path) -> None:
    async with ScriptedUpstream() as upstream, running_node(tmp_path, upstream=upstream, policy=ALL) as node:
        assert [await cached(node, X_Edgecache_Mode="bypass") for _ in range(2)] == ["BYPASS", "BYPASS"]
        assert await cached(node) == "MISS"
        assert await cached(node, X_Edgecache_Mode="bypass") == "BYPASS"
        assert await node.stored() == 1
    assert len(upstream.requests) == 4


async def test_only_if_cached_asks_nobody_whatever_else_is_said(tmp_path: Path) -> None:
    async with ScriptedUpstream() as upstream, running_node(tmp_path, upstream=upstream, policy=ALL) as node:
        headers = {"X-Edgecache-Mode": "bypass", "Cache-Control": "only-if-cached"}
        assert (await node.chat(ASKED, headers=headers)).status == 504
        assert (await node.chat(ASKED, headers=headers, web_search_options={})).status == 504
    assert upstream.requests == []


async def test_refresh_replaces_what_was_there(tmp_path: Path) -> None:
    said = iter(["old", "new"])
    async with (
        ScriptedUpstream(lambda _: next(said)) as upstream,
        running_node(tmp_path, upstream=upstream, policy=ALL) as node,
    ):
        assert (await node.chat(ASKED)).text == "old"
        assert (await node.chat(ASKED, headers={"X-Edgecache-Mode": "refresh"})).text == "new"
        again = await node.chat(ASKED)
        assert (again.headers["X-Cache"], again.text) == ("HIT", "new")
    assert len(upstream.requests) == 2


async def test_a_threshold_may_only_be_raised(tmp_path: Path) -> None:
    async with ScriptedUpstream() as upstream, running_node(tmp_path, upstream=upstream, policy=ALL) as node:
        await cached(node)
        assert await cached(node, OTHERWISE, X_Edgecache_Threshold="0.9999") == "MISS"
        assert await cached(node, "What is the capital of Peru?", X_Edgecache_Threshold="0") == "MISS"
    assert len(upstream.requests) == 3


async def test_a_ttl_is_that_of_the_answer(tmp_path: Path) -> None:
    clock = Clock()
    async with (
        ScriptedUpstream() as upstream,
        running_node(tmp_path, upstream=upstream, policy=ALL, clock=clock) as node,
    ):
        await cached(node, X_Edgecache_TTL="5m")
        hit = await node.chat(ASKED)
        assert "ttl=300" in hit.headers["Cache-Status"]
        clock.now += 301
        assert await cached(node) == "MISS"
    assert len(upstream.requests) == 2


async def test_a_key_tells_requests_apart_that_ask_the_same(tmp_path: Path) -> None:
    async with ScriptedUpstream() as upstream, running_node(tmp_path, upstream=upstream, policy=ALL) as node:
        assert await cached(node, X_Edgecache_Key="a") == "MISS"
        assert await cached(node, X_Edgecache_Key="b") == "MISS"
        assert await cached(node, OTHERWISE, X_Edgecache_Key="a") == "HIT"
        assert await cached(node) == "MISS"
    assert len(upstream.requests) == 3
    sent = {name.lower() for received in upstream.requests for name, _ in received.headers}
    assert not any(name.startswith("x-edgecache") for name in sent), "they are for us only"


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions", "/v1/embeddings"])
async def test_no_field_of_a_body_passes_for_the_key(tmp_path: Path, path: str) -> None:
    async with ScriptedUpstream() as upstream, running_node(tmp_path, upstream=upstream, policy=ALL) as node:
        body = {
            "model": "m",
            "prompt": "Hi",
            "input": "Hi",
            "messages": [{"role": "user", "content": "Hi"}],
            "tools": 1,
        }
        for fields, headers in (({}, {"X-Edgecache-Key": "a"}), ({"edgecache key": "a"}, {}), ({"apart": "a"}, {})):
            asked = json.dumps({**body, **fields}).encode()
            answer = await node.ask("POST", path, asked, headers={"Content-Type": "application/json", **headers})
            assert answer.headers["X-Cache"] == "MISS"
    assert len(upstream.requests) == 3


async def test_what_a_route_does_not_accept_is_ignored_and_said(tmp_path: Path) -> None:
    async with ScriptedUpstream() as upstream, running_node(tmp_path, upstream=upstream, policy=SEMANTIC) as node:
        await cached(node)
        said = await node.chat(ASKED, headers={"X-Edgecache-Key": "a", "X-Edgecache-TTL": "never"})
        assert said.headers["X-Cache"] == "HIT"
        assert said.headers["X-Edgecache-Ignored"] == "x-edgecache-ttl, x-edgecache-key"
        assert "X-Edgecache-Ignored" not in (await node.chat(ASKED)).headers
    assert len(upstream.requests) == 1


async def test_a_route_says_from_whom_it_accepts_them(tmp_path: Path) -> None:
    policy = ALL + 'controls_from = ["token:trusted"]\n'
    async with (
        ScriptedUpstream() as upstream,
        running_node(tmp_path, upstream=upstream, policy=policy, key="k") as node,
    ):
        for scope, expected in (("trusted", ["BYPASS", "BYPASS"]), ("other", ["MISS", "HIT"])):
            token = await node.token(scope, scope=scope)
            headers = {"Authorization": f"Bearer {token}", "X_Edgecache_Mode": "bypass"}
            assert [await cached(node, **headers) for _ in range(2)] == expected, scope


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Edgecache-Mode", "perhaps"),
        ("X-Edgecache-Mode", ""),
        ("X-Edgecache-Threshold", "high"),
        ("X-Edgecache-Threshold", "nan"),
        ("X-Edgecache-Threshold", "1.5"),
        ("X-Edgecache-TTL", "0"),
        ("X-Edgecache-TTL", "-5"),
        ("X-Edgecache-TTL", "99999d"),
        ("X-Edgecache-Key", ""),
        ("X-Edgecache-Key", "k" * 257),
    ],
)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
async def test_a_bad_value_is_refused_with_what_would_be_right(
    tmp_path: Path, name: str, value: str, path: str
) -> None:
    async with ScriptedUpstream() as upstream, running_node(tmp_path, upstream=upstream, policy=ALL) as node:
        refused = await node.chat(ASKED, headers={name: value}, path=path, max_tokens=5)
        assert refused.status == 400
        assert refused.error["message"].startswith(f"{name}: expected")
        assert (refused.json().get("type") == "error") is (path == "/v1/messages")
    assert upstream.requests == []


async def test_headers_that_conflict_are_refused(tmp_path: Path) -> None:
    async with ScriptedUpstream() as upstream, running_node(tmp_path, upstream=upstream, policy=ALL) as node:
        body = b'{"model": "m", "messages": [{"role": "user", "content": "Hi"}]}'
        headers = [("X-Edgecache-Mode", "exact"), ("X-Edgecache-Mode", "bypass")]
        async with node.session.post(node.url + "/v1/chat/completions", data=body, headers=headers) as response:
            assert response.status == 400
    assert upstream.requests == []


# --- what a route says --------------------------------------------------------------------------------------------

HISTORY = [
    {"role": "user", "content": "weather?"},
    {
        "role": "assistant",
        "tool_calls": [{"id": "call_{}", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}],
    },
    {"role": "tool", "tool_call_id": "call_{}", "content": "rain"},
]


def history(name: str, text: str) -> list[dict[str, object]]:
    """The same turns with another random id of the call."""
    return [*json.loads(json.dumps(HISTORY).replace("call_{}", name)), {"role": "user", "content": text}]


@pytest.mark.parametrize(("agents", "expected"), [("exact", "MISS"), ("semantic", "HIT")])
async def test_agents_are_exact_unless_the_route_says_otherwise(tmp_path: Path, agents: str, expected: str) -> None:
    policy = SEMANTIC + f'agents = "{agents}"\n'
    async with ScriptedUpstream() as upstream, running_node(tmp_path, upstream=upstream, policy=policy) as node:
        await node.chat(history("call_1", ASKED))
        same = await node.chat(history("call_2", ASKED))
        assert same.headers["X-Cache"] == "HIT", "ids of calls are random and say nothing"
        other = await node.chat(history("call_1", OTHERWISE))
        assert other.headers["X-Cache"] == expected
    assert len(upstream.requests) == (1 if expected == "HIT" else 2)


async def test_sampling_that_a_route_does_not_allow_is_not_reused(tmp_path: Path) -> None:
    policy = SEMANTIC + "max_temperature = 0.5\n"
    async with ScriptedUpstream() as upstream, running_node(tmp_path, upstream=upstream, policy=policy) as node:
        hot = [await node.chat(ASKED, temperature=0.6) for _ in range(2)]
        cool = [await node.chat(ASKED, temperature=0.5) for _ in range(2)]
        assert [one.headers["X-Cache"] for one in (*hot, *cool)] == ["BYPASS", "BYPASS", "MISS", "HIT"]
        assert 'detail="temperature over 0.5"' in hot[0].headers["Cache-Status"]
    assert len(upstream.requests) == 3


async def test_a_route_sends_a_request_for_another_model(tmp_path: Path) -> None:
    """One that already asks for it by its own name finds the same answer."""
    policy = SEMANTIC + 'models = ["fast"]\nmodel = "small-1"\n[[route]]\nname = "rest"\nmode = "semantic"\n'
    async with ScriptedUpstream() as upstream, running_node(tmp_path, upstream=upstream, policy=policy) as node:
        body = b'{"model": "fast", "temperature": 1.50, "messages": [{"role": "user", "content": "Hi"}]}'
        answer = await node.ask("POST", "/v1/chat/completions", body, headers={"Content-Type": "application/json"})
        assert answer.headers["X-Cache"] == "MISS"
        named = body.replace(b"fast", b"small-1")
        answer = await node.ask("POST", "/v1/chat/completions", named, headers={"Content-Type": "application/json"})
        assert answer.headers["X-Cache"] == "HIT"
    assert upstream.requests[0].json() == json.loads(named)
    assert b"1.50" in upstream.requests[0].body, "every other value keeps its bytes"
    assert len(upstream.requests) == 1
