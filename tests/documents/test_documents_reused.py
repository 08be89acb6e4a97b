"""Documents over HTTP: which are stored, when they are served, what they say (RFC 9111)."""

import asyncio
from pathlib import Path

import pytest
from pages import URL, at, filled, get, is_hit, page, said, settled

from edgecache.testing.node import Clock, Node, running_node
from edgecache.testing.scripted_upstream import Answer, ScriptedUpstream, Step


async def test_a_fresh_page_is_served_without_asking(node: Node, origin: ScriptedUpstream, clock: Clock) -> None:
    """RFC 9111 sections 4 and 5.1: with its age, its date and its fields as they came."""
    date = at(clock)
    first = await filled(node, origin, page(b"\xff\x00", Date=date, X_Own="1", Content_Language="en"))
    clock.now += 7
    second = await get(node)
    assert len(origin.requests) == 1
    assert (second.status, second.body) == (200, first.body) == (200, b"\xff\x00")
    assert second.headers["Age"] == "7" and second.headers["Date"] == date
    assert second.headers["X-Own"] == "1" and second.headers["Content-Language"] == "en"
    assert said(second) == "edgecache; hit; ttl=53"
    assert second.headers["X-Edgecache-Id"] == first.headers["X-Edgecache-Id"]


async def test_a_stale_page_is_asked_for_again(node: Node, origin: ScriptedUpstream, clock: Clock) -> None:
    await filled(node, origin, page(b"old"))
    clock.now += 60
    assert (await filled(node, origin, page(b"new"))).body == b"new"
    assert (await get(node)).body == b"new" and len(origin.requests) == 2


async def test_age_on_arrival_counts(node: Node, origin: ScriptedUpstream, clock: Clock) -> None:
    """RFC 9111 section 4.2.3."""
    first = await filled(node, origin, page(Age="50"))
    assert first.headers["Age"] == "50"
    clock.now += 9
    assert (await get(node)).headers["Age"] == "59"
    clock.now += 1
    origin.enqueue(page(b"new"))
    assert (await get(node)).body == b"new"


@pytest.mark.parametrize(
    "answer",
    [
        page(control="no-store"),
        page(control="private, max-age=60"),
        page(control="max-age=0"),
        page(control=""),
        page(Vary="*"),
        page(Set_Cookie="a=b"),
        page(b"part", status=206, Content_Range="bytes 0-3/9"),
        page(status=403, control=""),
    ],
)
async def test_what_is_not_stored(node: Node, origin: ScriptedUpstream, answer: Answer) -> None:
    """RFC 9111 section 3."""
    origin.enqueue(answer, page(b"again"))
    first = await get(node)
    assert (first.status, first.body) == (answer.status, answer.body) and "stored=?0" in said(first)
    await settled(node)
    assert (await get(node)).body == b"again"
    assert await node.stored() == 1, "the second one only"


@pytest.mark.parametrize("status", [204, 301, 404, 410, 500, 599])
async def test_any_status_with_a_lifetime_is_stored(node: Node, origin: ScriptedUpstream, status: int) -> None:
    body = b"" if status == 204 else b"whatever"
    await filled(node, origin, page(body, status=status))
    second = await get(node)
    assert (second.status, second.body, len(origin.requests)) == (status, body, 1)


async def test_fields_of_the_connection_and_tags_are_not_shown(node: Node, origin: ScriptedUpstream) -> None:
    """RFC 9111 section 3.1, RFC 9110 section 7.6.1; tags are never shown to clients."""
    answer = page(Connection="x-mine", X_Mine="1", Keep_Alive="9", Surrogate_Key="k", Cache_Tag="t", X_Own="1")
    first = await filled(node, origin, answer)
    second = await get(node)
    for reply in (first, second):
        assert not {"x-mine", "keep-alive", "surrogate-key", "cache-tag"} & {name.lower() for name in reply.headers}
        assert reply.headers["X-Own"] == "1"


async def test_queries_are_told_apart(node: Node, origin: ScriptedUpstream) -> None:
    await filled(node, origin, page(b"none"))
    origin.enqueue(page(b"a"), page(b"b"))
    assert [(await get(node, f"{URL}?{query}")).body for query in ("a", "b", "a")] == [b"a", b"b", b"a"]
    assert [request.query for request in origin.requests] == ["", "a", "b"]


async def test_scopes_are_told_apart(node: Node, origin: ScriptedUpstream) -> None:
    """Whoever calls with another credential never gets what was fetched for this one (RFC 9111 section 3.5)."""
    await filled(node, origin, page(b"anyone"))
    origin.enqueue(page(b"hers", control="public, max-age=60"), page(b"his", control="max-age=60"), page(b"his 2"))
    hers = [await get(node, Authorization="Bearer hers") for _ in range(2)]
    his = [await get(node, Authorization="Bearer his") for _ in range(2)]
    assert [reply.body for reply in (*hers, *his)] == [b"hers", b"hers", b"his", b"his 2"]
    assert (await get(node)).body == b"anyone"


async def test_a_head_request_is_answered_from_a_stored_page(node: Node, origin: ScriptedUpstream) -> None:
    """RFC 9110 section 9.3.2."""
    await filled(node, origin, page(b"12345"))
    head = await node.ask("HEAD", URL)
    assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", "5")
    assert is_hit(head) and len(origin.requests) == 1


async def test_a_head_request_without_one_is_passed_on(node: Node, origin: ScriptedUpstream) -> None:
    origin.enqueue(page(b""), page(b"all"))
    assert said(await node.ask("HEAD", URL)) == "edgecache; fwd=bypass; fwd-status=200; detail=head"
    assert (await get(node)).body == b"all"
    assert [request.method for request in origin.requests] == ["HEAD", "GET"]


async def test_pages_survive_a_restart(tmp_path: Path, origin: ScriptedUpstream, clock: Clock) -> None:
    policy = '[[route]]\nname = "pages"\npath = "/pages/*"\nmode = "http"\n'
    async with running_node(tmp_path, upstream=origin, policy=policy, clock=clock) as node:
        await filled(node, origin, page(b"kept", Vary="Foo"), Foo="1")
    async with running_node(tmp_path, upstream=origin, policy=policy, clock=clock) as node:
        assert (await get(node, Foo="1")).body == b"kept" and len(origin.requests) == 1


async def test_a_long_page_is_passed_on_as_it_comes_and_not_kept(node: Node, origin: ScriptedUpstream) -> None:
    """Over `max_answer`; its first bytes arrive before its last are there."""
    gate, piece = asyncio.Event(), b"x" * 65_536
    origin.enqueue(page(chunks=[piece, gate, *[piece] * 7], Content_Length=str(8 * len(piece))))
    async with node.session.get(node.url + URL) as response:
        assert await response.content.readexactly(len(piece)) == piece
        gate.set()
        assert len(await response.read()) == 7 * len(piece)
    await settled(node)
    assert await node.stored() == 0


async def test_a_page_that_breaks_off_is_not_stored(node: Node, origin: ScriptedUpstream) -> None:
    origin.enqueue(page(chunks=[b"abc", Step.CUT], Content_Length="9"))
    broken = await get(node)
    assert broken.status == 502
    await settled(node)
    assert await node.stored() == 0


async def test_where_our_key_is_used_callers_need_one_of_ours(tmp_path: Path, origin: ScriptedUpstream) -> None:
    """Never an open relay; our key goes to the origin, the caller's token does not."""
    policy = '[[route]]\nname = "pages"\npath = "/pages/*"\nmode = "http"\n'
    async with running_node(tmp_path, upstream=origin, policy=policy, key="our-key") as node:
        for headers in ({}, {"Authorization": "Bearer theirs"}):
            assert (await get(node, **headers)).status == 401
        mine = {"Authorization": f"Bearer {await node.token('me')}"}
        assert not origin.requests
        await filled(node, origin, page(control="public, max-age=60"), **mine)
        assert is_hit(await get(node, **mine))
        assert origin.requests[0].header("Authorization") == "Bearer our-key" and len(origin.requests) == 1


async def test_a_blind_node_serves_and_stores_nothing(node: Node, origin: ScriptedUpstream) -> None:
    """It may have missed a purge."""
    await filled(node, origin, page(b"kept"))
    node.app._fence.blind = lambda: True
    origin.enqueue(page(b"1"), page(b"2"))
    replies = [await get(node), await get(node, f"{URL}?other")]
    assert [reply.body for reply in replies] == [b"1", b"2"] and "detail=blind" in said(replies[0])
    node.app._fence.blind = lambda: False
    assert (await get(node)).body == b"kept" and await node.stored() == 1


async def test_the_origin_is_told_who_asks(node: Node, origin: ScriptedUpstream) -> None:
    """RFC 9110 section 7.6.3; what asks for a form of one's own is left out of a shared fill."""
    await filled(node, origin, page(), Accept_Encoding="br", If_None_Match='"x"', Surrogate_Key="mine")
    sent = {name.lower(): value for name, value in origin.requests[0].headers}
    assert sent["via"] == "1.1 edgecache" and sent["surrogate-capability"] == 'edgecache="Surrogate/1.0"'
    assert sent["accept-encoding"] == "br" and not {"if-none-match", "surrogate-key"} & set(sent)
