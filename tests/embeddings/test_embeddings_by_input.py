"""Each input of a batch is found for itself; what is missing goes upstream in one call."""

import asyncio
import gzip
import json
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from embedding_provider import PATH, RULE, ask, asked_for, embed, embeddings, numbers, tokens

from edgecache.testing.node import JSON, Clock, Node, running_node
from edgecache.testing.scripted_upstream import Answer, Received, ScriptedUpstream
from edgecache.wire.embeddings import MOST


async def test_one_text(node: Node, upstream: ScriptedUpstream) -> None:
    first = await ask(node, "a text")
    again = await ask(node, "a text", user="somebody else")
    assert (first.headers["X-Cache"], again.headers["X-Cache"]) == ("MISS", "HIT")
    assert embeddings(first) == [numbers("a text")]
    assert again.body == first.body == embed(upstream.requests[0]).body, "the provider's bytes"
    assert first.headers["X-Edgecache-Id"] == again.headers["X-Edgecache-Id"]
    assert "detail=embeddings 0/1" in first.headers["Cache-Status"].replace('"', "")
    assert "stored" in first.headers["Cache-Status"]
    assert len(upstream.requests) == 1


async def test_only_what_is_missing_is_asked_for(node: Node, upstream: ScriptedUpstream) -> None:
    await ask(node, ["b", "d"])
    reply = await ask(node, ["a", "b", "c", "d", "e"])
    assert embeddings(reply) == [numbers(text) for text in "abcde"]
    assert [asked_for(request) for request in upstream.requests] == [["b", "d"], ["a", "c", "e"]]
    assert reply.headers["X-Cache"] == "MISS"
    assert 'detail="embeddings 2/5"' in reply.headers["Cache-Status"]
    hit = await ask(node, ["e", "d", "c", "b", "a"])
    assert embeddings(hit) == [numbers(text) for text in "edcba"]
    assert hit.headers["X-Cache"] == "HIT" and 'detail="embeddings 5/5"' in hit.headers["Cache-Status"]
    assert len(upstream.requests) == 2


async def test_other_values_of_the_request_keep_their_bytes(node: Node, upstream: ScriptedUpstream) -> None:
    await ask(node, "a", dimensions=8)
    body = b'{"model" : "e-3", "dimensions":  8, "input":["a" , "b"], "user":"\\u0075"}'
    reply = await node.ask("POST", PATH, body, headers=JSON)
    assert embeddings(reply) == [numbers("a", 8), numbers("b", 8)]
    sent = upstream.requests[1].body
    assert asked_for(upstream.requests[1]) == ["b"]
    assert b'"\\u0075"' in sent
    whole = b'{"model" : "e-3", "dimensions":  8, "input":["x" , "y"]}'
    await node.ask("POST", PATH, whole, headers=JSON)
    assert upstream.requests[2].body == whole


async def test_a_repeated_input_is_asked_for_once(node: Node, upstream: ScriptedUpstream) -> None:
    reply = await ask(node, ["a b", "c", "a b", "a b"])
    assert embeddings(reply) == [numbers(text) for text in ("a b", "c", "a b", "a b")]
    assert asked_for(upstream.requests[0]) == ["a b", "c"]
    assert reply.json()["usage"] == {"prompt_tokens": 7, "total_tokens": 7}, "as the provider would have counted"


async def test_usage_adds_up(node: Node) -> None:
    batch = ["one", "two words", "and these are four", "x"]
    count = sum(map(tokens, batch))
    for _ in range(2):
        assert (await ask(node, batch)).json()["usage"]["prompt_tokens"] == count
    parts = [(await ask(node, text)).json()["usage"]["prompt_tokens"] for text in batch]
    assert sum(parts) == count


@pytest.mark.parametrize(("one", "many"), [("a", ["a"]), ([1, 2], [[1, 2]])], ids=["texts", "tokens"])
async def test_alone_or_in_a_list_is_the_same(node: Node, upstream: ScriptedUpstream, one: Any, many: Any) -> None:
    assert embeddings(await ask(node, one)) == embeddings(await ask(node, many))
    assert len(upstream.requests) == 1


DIFFERENT: list[tuple[Any, dict[str, Any]]] = [
    ("a", {}), ("a ", {}), ("a\r\n", {}), ("a\n", {}), ("[1,2]", {}), ([1, 2], {}), ("a", {"dimensions": 3}),
    ("a", {"encoding_format": "base64"}), ("a", {"model": "e-4"}), ("a", {"input_type": "query"}),
]  # fmt: skip


async def test_what_is_not_the_same(node: Node, upstream: ScriptedUpstream) -> None:
    first = [await ask(node, value, **more) for value, more in DIFFERENT]
    assert {reply.headers["X-Cache"] for reply in first} == {"MISS"}
    again = [await ask(node, value, **more) for value, more in DIFFERENT]
    assert {reply.headers["X-Cache"] for reply in again} == {"HIT"}
    assert [reply.body for reply in again] == [reply.body for reply in first]
    assert len(upstream.requests) == len(DIFFERENT)


async def test_after_a_restart(tmp_path: Path, upstream: ScriptedUpstream) -> None:
    async with running_node(tmp_path, upstream=upstream, policy=RULE) as node:
        await ask(node, [f"text {number}" for number in range(100)])
    async with running_node(tmp_path, upstream=upstream, policy=RULE) as node:
        reply = await ask(node, [f"text {number}" for number in range(99, -1, -1)])
        assert embeddings(reply) == [numbers(f"text {number}") for number in range(99, -1, -1)]
        assert reply.headers["X-Cache"] == "HIT"
    assert len(upstream.requests) == 1


async def test_the_most_inputs(node: Node, upstream: ScriptedUpstream) -> None:
    batch = [f"t{number}" for number in range(MOST)]
    for outcome in ("MISS", "HIT"):
        reply = await ask(node, batch)
        assert reply.headers["X-Cache"] == outcome
        assert embeddings(reply) == [numbers(text) for text in batch]
    more = await ask(node, [*batch, "one more"])
    assert more.headers["X-Cache"] == "BYPASS" and "more than 2,048 inputs" in more.headers["Cache-Status"]
    assert len(embeddings(more)) == MOST + 1
    assert len(upstream.requests) == 2


@pytest.mark.parametrize("value", [[], {}, ["a", [1]], None], ids=str)
async def test_what_only_the_provider_can_judge(node: Node, upstream: ScriptedUpstream, value: Any) -> None:
    upstream.enqueue(Answer(status=400, body=b'{"error":{"message":"the provider\'s words"}}'))
    reply = await ask(node, value)
    assert (reply.status, reply.headers["X-Cache"]) == (400, "BYPASS")
    assert reply.error["message"] == "the provider's words"
    assert asked_for(upstream.requests[0]) == value


async def test_the_official_sdk_asks_for_base64(node: Node, upstream: ScriptedUpstream) -> None:
    http = httpx.AsyncClient(verify=False, trust_env=False)  # reading certificates would block the loop
    options: dict[str, Any] = {"base_url": f"{node.url}/v1", "api_key": "sk-own", "max_retries": 0}
    async with openai.AsyncOpenAI(**options, http_client=http) as client:
        for outcome in ("MISS", "HIT"):
            raw = await client.embeddings.with_raw_response.create(model="e-3", input=["a", "b", "a"])
            assert raw.headers["X-Cache"] == outcome
            found = raw.parse()
            assert [tuple(one.embedding) for one in found.data] == [numbers("a"), numbers("b"), numbers("a")]
            assert [one.index for one in found.data] == [0, 1, 2] and found.usage.prompt_tokens == 3
        upstream.enqueue(Answer(status=429, body=b'{"error":{"message":"slow down","code":"rate_limit_exceeded"}}'))
        with pytest.raises(openai.RateLimitError, match="slow down"):
            await client.embeddings.create(model="e-3", input=["a", "c"])
    assert json.loads(upstream.requests[0].body)["encoding_format"] == "base64"


async def test_a_compressed_body_is_passed_on(node: Node, upstream: ScriptedUpstream) -> None:
    body = gzip.compress(b'{"model":"e-3","input":"a"}')
    upstream.enqueue(Answer(body=b"{}"))
    reply = await node.ask("POST", PATH, body, headers={**JSON, "Content-Encoding": "gzip"})
    assert reply.status == 200 and upstream.requests[0].body == body


async def test_another_model_by_the_rule(tmp_path: Path, upstream: ScriptedUpstream) -> None:
    async with running_node(tmp_path, upstream=upstream, policy=RULE + 'model = "e-large"\n') as node:
        await ask(node, "a", model="small")
        assert (await ask(node, "a", model="tiny")).headers["X-Cache"] == "HIT"
    assert json.loads(upstream.requests[0].body)["model"] == "e-large"


async def test_embeddings_of_several_models_are_never_mixed(node: Node, upstream: ScriptedUpstream) -> None:
    """A provider's name for a model may come to mean another one: then all of a batch is asked for anew."""

    def newer(request: Received) -> Answer:
        return Answer(body=embed(request).body.replace(b'"e-3"', b'"e-3-new"'))

    await ask(node, ["a", "b"])
    old = upstream._script
    upstream._script = newer
    reply = await ask(node, ["a", "b", "c"])
    upstream._script = old
    assert [asked_for(request) for request in upstream.requests] == [["a", "b"], ["c"], ["a", "b"]]
    assert reply.json()["model"] == "e-3-new" and len(embeddings(reply)) == 3
    assert (await ask(node, ["a", "b", "c"])).json()["model"] == "e-3-new"
    assert len(upstream.requests) == 3


async def test_other_callers_have_their_own(node: Node, upstream: ScriptedUpstream) -> None:
    for name in ("sk-one", "sk-two"):
        assert (await ask(node, "a", headers={"Authorization": f"Bearer {name}"})).headers["X-Cache"] == "MISS"
    assert len(upstream.requests) == 2


async def test_the_operators_key_needs_a_token(tmp_path: Path, upstream: ScriptedUpstream) -> None:
    async with running_node(tmp_path, upstream=upstream, policy=RULE, key="sk-operator") as node:
        refused = await ask(node, "a", headers={"Authorization": "Bearer sk-own"})
        assert refused.status == 401 and not upstream.requests
        token = await node.token("team")
        headers = {"Authorization": f"Bearer {token}"}
        for outcome in ("MISS", "HIT"):
            assert (await ask(node, "a", headers=headers)).headers["X-Cache"] == outcome
        assert upstream.requests[0].header("Authorization") == "Bearer sk-operator"
        zipped = await node.ask("POST", PATH, b"x", headers={**headers, "Content-Encoding": "gzip"})
        assert zipped.status == 415


async def test_metrics(node: Node) -> None:
    for value in ("a", "a", ["a", "b"]):
        await ask(node, value)
    text = (await node.ask("GET", "/metrics", admin=True)).body.decode()
    assert 'edgecache_requests_total{outcome="exact",route="embeddings"} 1' in text
    assert 'edgecache_requests_total{outcome="miss",route="embeddings"} 2' in text


async def test_many_at_once(node: Node, upstream: ScriptedUpstream) -> None:
    """Every pair of 12 texts, in whatever order they come: each gets its own, none is asked for twice."""
    texts = [f"t{number}" for number in range(12)]
    pairs = [[one, other] for one in texts for other in texts if one != other]
    replies = await asyncio.gather(*(ask(node, pair) for pair in pairs))
    for pair, reply in zip(pairs, replies, strict=True):
        assert embeddings(reply) == [numbers(text) for text in pair]
    asked = [text for request in upstream.requests for text in asked_for(request)]
    assert sorted(asked) == sorted(texts)


async def test_the_clock_moves_on(node: Node, upstream: ScriptedUpstream, clock: Clock) -> None:
    await ask(node, "a")
    clock.now += 1_800
    await ask(node, "b")
    hit = await ask(node, ["a", "b"])
    assert hit.headers["Age"] == "1800" and "ttl=1800" in hit.headers["Cache-Status"], "as old as the oldest"
    clock.now += 1_801
    reply = await ask(node, ["a", "b"])
    assert reply.headers["X-Cache"] == "MISS" and "fwd=stale" in reply.headers["Cache-Status"]
    assert asked_for(upstream.requests[2]) == ["a"]
