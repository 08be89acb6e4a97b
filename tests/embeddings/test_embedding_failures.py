"""Wrong answers, leaving clients, and requests that wait for each other's inputs."""

import asyncio
import json
from typing import Any

import aiohttp
import pytest
from embedding_provider import PATH, ask, asked_for, embed, embeddings, holding, numbers

from edgecache.flow import embedding_calls
from edgecache.testing.node import JSON, Node
from edgecache.testing.scripted_upstream import Answer, ScriptedUpstream, Step


def item(at: int, embedding: Any = (1.0,)) -> dict[str, Any]:
    return {"object": "embedding", "index": at, "embedding": embedding}


def answer(*items: Any, **more: Any) -> bytes:
    return json.dumps({"object": "list", "data": list(items), "model": "e-3", **more}).encode()


WRONG = {
    "too few": answer(item(0)),
    "too many": answer(item(0), item(1), item(2)),
    "out of order": answer(item(1), item(0)),
    "twice": answer(item(0), item(0)),
    "no number": answer({"embedding": [1]}, {"embedding": [2]}),
    "no embedding": answer(item(0), item(1, None)),
    "an error": answer(item(0), item(1), error={"message": "m"}),
    "not JSON": b"<html>",
    "empty": b"",
}


@pytest.mark.parametrize("name", WRONG)
async def test_a_wrong_answer_is_passed_on_and_not_stored(node: Node, upstream: ScriptedUpstream, name: str) -> None:
    upstream.enqueue(Answer(body=WRONG[name]))
    reply = await ask(node, ["a", "b"])
    assert (reply.status, reply.body) == (200, WRONG[name])
    assert "stored=?0" in reply.headers["Cache-Status"]
    assert await node.stored() == 0
    assert (await ask(node, ["a", "b"])).headers["X-Cache"] == "MISS"


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500])
async def test_a_refusal_is_passed_on(node: Node, upstream: ScriptedUpstream, status: int) -> None:
    refused = Answer(status=status, headers=(*JSON.items(), ("Retry-After", "7")), body=b'{"error":{"message":"m"}}')
    upstream.enqueue(refused)
    reply = await ask(node, ["a", "b"])
    assert (reply.status, reply.body, reply.headers["Retry-After"]) == (status, refused.body, "7")
    assert await node.stored() == 0 and len(upstream.requests) == 1


@pytest.mark.parametrize(
    ("status", "body"), [(200, answer(item(0), item(1))), (200, b"x"), (400, b'{"error":{"message":"$.input[0]"}}')]
)
async def test_what_is_said_of_a_part_is_not_told_of_the_whole(
    node: Node, upstream: ScriptedUpstream, status: int, body: bytes
) -> None:
    """The client's own question is asked instead: `input[0]` of its words, and not of what was missing."""
    await ask(node, ["a"])
    upstream.enqueue(Answer(status=status, body=body))
    reply = await ask(node, ["a", "b"])
    assert embeddings(reply) == [numbers("a"), numbers("b")]
    assert [asked_for(request) for request in upstream.requests] == [["a"], ["b"], ["a", "b"]]
    assert await node.stored() == 1


@pytest.mark.parametrize("status", [429, 503])
async def test_limits_and_failures_are_told_of_a_part_too(node: Node, upstream: ScriptedUpstream, status: int) -> None:
    await ask(node, ["a"])
    upstream.enqueue(*[Answer(status=status, body=b'{"error":{"message":"m"}}')] * 3)
    reply = await ask(node, ["a", "b"])
    assert reply.status == status and reply.error["message"] == "m"
    assert all(asked_for(request) == ["b"] for request in upstream.requests[1:])


async def test_an_answer_that_is_cut(node: Node, upstream: ScriptedUpstream) -> None:
    whole = answer(item(0), item(1))
    upstream.enqueue(Answer(chunks=[whole[:40], Step.CUT]))
    reply = await ask(node, ["a", "b"])
    assert reply.status == 502 and await node.stored() == 0
    assert (await ask(node, ["a", "b"])).status == 200


async def test_an_answer_that_is_too_large_to_be_held(
    node: Node, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding_calls, "LARGEST", 100)
    reply = await ask(node, ["a", "b"])
    assert embeddings(reply) == [numbers("a"), numbers("b")]
    assert reply.headers["X-Cache"] == "BYPASS" and "too large" in reply.headers["Cache-Status"]
    assert await node.stored() == 0 and len(upstream.requests) == 2


# --- at the same time ---------------------------------------------------------------------------------------------


async def test_the_same_misses_share_one_call(node: Node, upstream: ScriptedUpstream) -> None:
    gate = holding(upstream)
    waiting = [asyncio.create_task(ask(node, ["a", "b"])) for _ in range(5)]
    await upstream.wait_requests(1)
    await asyncio.wait({asyncio.create_task(ask(node, ["c"]))})  # whoever came before it is aboard by now
    gate.set()
    replies = await asyncio.gather(*waiting)
    assert all(embeddings(reply) == [numbers("a"), numbers("b")] for reply in replies)
    assert sum("collapsed" in reply.headers["Cache-Status"] for reply in replies) == 4
    assert [asked_for(request) for request in upstream.requests] == [["a", "b"], ["c"]]


async def test_requests_that_overlap_wait_for_each_others_inputs(node: Node, upstream: ScriptedUpstream) -> None:
    gate = holding(upstream)
    first = asyncio.create_task(ask(node, ["a", "b"]))
    await upstream.wait_requests(1)
    second = asyncio.create_task(ask(node, ["b", "c", "a"]))
    await upstream.wait_requests(2)
    gate.set()
    assert embeddings(await second) == [numbers(text) for text in "bca"]
    assert embeddings(await first) == [numbers(text) for text in "ab"]
    assert [asked_for(request) for request in upstream.requests] == [["a", "b"], ["c"]]


async def test_a_failure_of_what_is_waited_for(node: Node, upstream: ScriptedUpstream) -> None:
    """A refusal may be the other's own; a limit is everybody's."""
    for status, own in ((400, 200), (429, 429)):
        gate = asyncio.Event()
        upstream.enqueue(Answer(status=status, body=b'{"error":{"message":"m"}}', before_head=gate))
        before = len(upstream.requests)
        first = asyncio.create_task(ask(node, [f"{status} a", "b"]))
        await upstream.wait_requests(before + 1)
        second = asyncio.create_task(ask(node, [f"{status} a"]))
        await asyncio.wait({asyncio.create_task(ask(node, [f"{status} other"]))})
        gate.set()
        assert ((await first).status, (await second).status) == (status, own)


async def test_who_leaves_takes_nothing_from_others(node: Node, upstream: ScriptedUpstream) -> None:
    gate = holding(upstream)
    leaving = asyncio.create_task(ask(node, ["a"]))
    await upstream.wait_requests(1)
    staying = asyncio.create_task(ask(node, ["a"]))
    await asyncio.wait({asyncio.create_task(ask(node, ["c"]))})
    leaving.cancel()
    await asyncio.wait({asyncio.create_task(ask(node, ["d"]))})
    gate.set()
    assert embeddings(await staying) == [numbers("a")]
    assert [asked_for(request) for request in upstream.requests] == [["a"], ["c"], ["d"]]


async def test_when_all_have_left_nothing_goes_on(node: Node, upstream: ScriptedUpstream) -> None:
    holding(upstream)
    async with aiohttp.ClientSession() as session:
        body = json.dumps({"model": "e-3", "input": ["a"]})
        waiting = asyncio.create_task(session.post(node.url + PATH, data=body, headers=JSON))
        await upstream.wait_requests(1)
        waiting.cancel()
    await upstream.wait_connections(0)
    assert embeddings(await ask(node, ["a"])) == [numbers("a")]
    assert len(upstream.requests) == 2 and embed(upstream.requests[1]).status == 200
