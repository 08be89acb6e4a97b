"""Pushed answers are served on every node before anyone asks, replace each other, and go as all others do."""

import asyncio
from pathlib import Path

import pytest
from push_calls import NEVER_FORWARDED, OTHER_WORDS, QUESTION, answer, call, limited, push

from edgecache.testing.node import DEADLINE_S, SEMANTIC, Clock, Node, RawConnection, running_node
from edgecache.testing.scripted_upstream import Answer, ScriptedUpstream

PURGE = "/service/edgecache/purge/"


async def purge(node: Node, path: str) -> None:
    assert (await node.ask("POST", f"{path}?wait=all", headers={"Fastly-Key": node.admin_token})).status == 200


async def soon_found(node: Node, question: str) -> None:
    """Other nodes are told of vectors a moment after the answer is there."""
    async with asyncio.timeout(DEADLINE_S):
        while (await node.chat(question, headers=NEVER_FORWARDED)).status != 200:
            pass


async def test_served_on_every_node_before_anyone_asks(two: list[Node], upstream: ScriptedUpstream) -> None:
    told = await push(two[0], answer())
    assert told["nodes"]["applied"] == 2
    (item,) = told["answers"]
    assert item == {"item": 0, "status": "ok", "id": item["id"], "semantic": True}
    for node in two:
        for stream in (False, True):
            found = await node.chat(QUESTION, stream=stream)
            assert (found.text, found.headers["X-Cache"]) == ("Press the moon.", "HIT")
            assert found.headers["X-Edgecache-Id"] == item["id"]
    assert upstream.requests == []


async def test_found_in_other_words_on_every_node(two: list[Node], upstream: ScriptedUpstream) -> None:
    await push(two[0], answer())
    for node in two:
        await soon_found(node, OTHER_WORDS)
        found = await node.chat(OTHER_WORDS)
        assert found.text == "Press the moon."
        assert "semantic" in found.headers["Cache-Status"]
    assert upstream.requests == []


@pytest.mark.parametrize("news", [True, False])
async def test_replaced_on_every_node(two: list[Node], upstream: ScriptedUpstream, news: bool) -> None:
    """Also where a node hears nothing from the others but their purges."""
    for node in two if not news else ():
        node.app.storage.feed.tell = lambda news: None  # type: ignore[method-assign]
    for version in range(5):
        told = await push(two[version % 2], answer(f"version {version}"))
        assert told["nodes"]["applied"] == 2
        for node in two:
            for _ in range(2):
                assert (await node.chat(QUESTION)).text == f"version {version}"
    assert upstream.requests == []


async def test_what_a_provider_answered_is_replaced(two: list[Node], upstream: ScriptedUpstream) -> None:
    for node in two:
        assert (await node.chat(QUESTION)).text != "Press the moon."
    await push(two[1], answer())
    for node in two:
        assert (await node.chat(QUESTION)).text == "Press the moon."
    assert len(upstream.requests) == 1


async def test_a_fill_in_flight_does_not_come_over_it(two: list[Node], upstream: ScriptedUpstream) -> None:
    barrier = asyncio.Event()
    upstream.enqueue(Answer(before_head=barrier, body=_completion()))
    asking = asyncio.create_task(two[1].chat(QUESTION))
    await upstream.wait_requests(1)
    await push(two[0], answer())
    for node in two:  # who asks now does not wait for it either
        assert (await node.chat(QUESTION)).text == "Press the moon."
    barrier.set()
    await asking
    await two[1].landed()
    for node in two:
        assert (await node.chat(QUESTION)).text == "Press the moon."
    assert len(upstream.requests) == 1


async def test_a_fill_that_was_overtaken_is_not_stored(node: Node, upstream: ScriptedUpstream) -> None:
    barrier = asyncio.Event()
    upstream.enqueue(Answer(before_head=barrier, body=_completion()))
    asking = asyncio.create_task(node.chat(QUESTION))
    await upstream.wait_requests(1)
    await push(node, answer())
    barrier.set()
    assert (await asking).text == "From the provider."
    assert (await node.chat(QUESTION)).text == "Press the moon."


@pytest.mark.parametrize("path", [PURGE + "docs", "/purge/id/{id}", "/service/edgecache/purge_all"])
async def test_purged_as_all_others(two: list[Node], upstream: ScriptedUpstream, path: str) -> None:
    told = await push(two[0], answer(tags=["docs"]))
    for node in two:
        assert (await node.chat(QUESTION)).headers["X-Cache"] == "HIT"
    await purge(two[1], path.format(id=told["answers"][0]["id"]))
    for node in two:
        assert (await node.chat(QUESTION, headers=NEVER_FORWARDED)).status == 504
    assert upstream.requests == []


async def test_expires(tmp_path: Path, upstream: ScriptedUpstream) -> None:
    clock = Clock()
    async with running_node(tmp_path, upstream=upstream, policy=SEMANTIC, clock=clock) as node:
        await push(node, answer(ttl="90s"))
        clock.now += 89
        assert (await node.chat(QUESTION)).text == "Press the moon."
        clock.now += 2
        assert (await node.chat(QUESTION, headers=NEVER_FORWARDED)).status == 504


async def test_survives_a_restart(tmp_path: Path, upstream: ScriptedUpstream) -> None:
    async with running_node(tmp_path, upstream=upstream, policy=SEMANTIC) as node:
        await push(node, answer())
    async with running_node(tmp_path, upstream=upstream, policy=SEMANTIC) as node:
        assert (await node.chat(QUESTION)).text == "Press the moon."
    assert upstream.requests == []


async def test_of_one_tenant(node: Node, upstream: ScriptedUpstream) -> None:
    pusher = await limited(node, "shop")
    caller = await node.token("caller", scope="shop")
    stranger = await node.token("stranger", scope="bakery")
    item = answer()
    del item["scope"]
    await push(node, item, token=pusher)
    found = await node.chat(QUESTION, headers={"Authorization": f"Bearer {caller}"})
    assert found.text == "Press the moon."
    for headers in ({}, {"Authorization": f"Bearer {stranger}"}):
        assert (await node.chat(QUESTION, headers={**NEVER_FORWARDED, **headers})).status == 504


async def test_limits_of_a_token(node: Node, upstream: ScriptedUpstream) -> None:
    pusher = await limited(node, "pusher", tags=["shop-*"], tenants=["local"])
    await push(node, answer(tags=["shop-1"]), token=pusher)
    for item in (answer(), answer(tags=["x"]), answer(tags=["shop-1"], scope="bakery")):
        assert (await call(node, item, token=pusher)).status == 403
    await push(node, answer("Another's.", tags=["docs"]))
    refused = await call(node, answer(tags=["shop-1"]), token=pusher)
    assert refused.status == 403 and "may not replace" in refused.json()["detail"]
    assert (await node.chat(QUESTION)).text == "Another's."


async def test_one_bad_answer_hinders_no_other(node: Node, upstream: ScriptedUpstream) -> None:
    items = [answer(id="good"), answer(id="bad", ttl=0), "text", answer("Two.", question="Two?")]
    reply = await call(node, {"answers": items})
    assert reply.status == 200
    told = reply.json()
    assert (told["stored"], told["refused"]) == (2, 2)
    assert [item["item"] for item in told["answers"]] == ["good", "bad", 2, 3]
    assert [item["status"] == "ok" for item in told["answers"]] == [True, False, False, True]
    assert (await node.chat(QUESTION)).text == "Press the moon."
    assert (await node.chat("Two?")).text == "Two."


async def test_of_two_answers_to_one_question_the_last_stays(node: Node) -> None:
    told = await push(node, answer("First."), answer("Second."))
    assert [item.get("replaced", False) for item in told["answers"]] == [True, False]
    assert (await node.chat(QUESTION, headers=NEVER_FORWARDED)).text == "Second."


async def test_is_in_the_audit_log(node: Node) -> None:
    told = await push(node, answer(), answer(question="Two?"))
    line = (await node.manage("GET", "/admin/audit")).json()["lines"][0]
    assert (line["id"], line["effect"], line["who"], line["of"]) == (told["id"], "push", "admin", 2)
    assert line["what"] == [f"id:{item['id']}" for item in told["answers"]]
    assert line["sequence"] == 1


@pytest.mark.parametrize("admin", [False, True])
async def test_on_both_listeners(node: Node, admin: bool) -> None:
    assert (await call(node, answer(), admin=admin)).status == 200
    assert (await node.chat(QUESTION, headers=NEVER_FORWARDED)).text == "Press the moon."


async def refused(node: Node, status: int, content: object, **options: object) -> None:
    reply = await call(node, content, **options)  # type: ignore[arg-type]
    assert reply.status == status, reply
    assert {"msg", "detail"} <= reply.json().keys()
    assert (await node.statistics())["ledger"]["applied"] == 0
    assert await node.stored() == 0


@pytest.mark.parametrize("content", [b"", b"{", {}, [], answer(ttl=0), {"answers": [answer()] * 257}, b"\xff" * 50])
async def test_what_cannot_be_pushed(node: Node, content: object) -> None:
    await refused(node, 400, content)


async def test_who_may_not_push(node: Node) -> None:
    await refused(node, 401, answer(), token="edgecache-" + "0" * 64)
    await refused(node, 401, answer(), token="")
    for grants in (["traffic"], ["purge"]):
        await refused(node, 403, answer(), token=await node.token(grants[0], grants=grants))


async def test_wait_is_all_or_left_out(node: Node) -> None:
    await refused(node, 400, answer(), query="?wait=some")


async def test_a_body_that_is_too_large(node: Node) -> None:
    async with RawConnection(node.port) as connection:
        head = f"POST /push HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {node.admin_token}\r\n"
        await connection.send(head.encode() + b"Content-Length: 4194305\r\n\r\n")
        assert (await connection.until(b"\r\n")).startswith(b"HTTP/1.1 413 ")


def _completion() -> bytes:
    return (
        b'{"id":"c","object":"chat.completion","created":1,"model":"gpt-4o","choices":[{"index":0,"message":'
        b'{"role":"assistant","content":"From the provider."},"finish_reason":"stop"}]}'
    )
