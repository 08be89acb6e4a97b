"""Responses that vary (RFC 9111 section 4.1)."""

import asyncio

import pytest
from pages import URL, filled, get, is_hit, page, purge, settled

from edgecache.testing.node import Clock, Node
from edgecache.testing.scripted_upstream import Answer, ScriptedUpstream


async def test_variants_stand_side_by_side(node: Node, origin: ScriptedUpstream) -> None:
    await filled(node, origin, page(b"one", Vary="Foo"), Foo="1")
    await filled(node, origin, page(b"two", Vary="foo"), Foo="2")
    await filled(node, origin, page(b"none", Vary="FOO"))
    found = [await get(node, Foo="1"), await get(node, Foo="2"), await get(node)]
    assert [reply.body for reply in found] == [b"one", b"two", b"none"] and len(origin.requests) == 3


async def test_a_field_that_only_some_variants_name(node: Node, origin: ScriptedUpstream) -> None:
    """What was ever named tells them apart."""
    await filled(node, origin, page(b"a", Vary="Foo"), Foo="1", Bar="1")
    await filled(node, origin, page(b"b", Vary="Bar"), Foo="2", Bar="1")
    origin.enqueue(page(b"c", Vary="Foo"))
    assert (await get(node, Foo="2", Bar="2")).body == b"c"
    assert (await get(node, Foo="2", Bar="1")).body == b"b"


async def test_one_without_vary_leaves_the_others(node: Node, origin: ScriptedUpstream) -> None:
    await filled(node, origin, page(b"one", Vary="Foo"), Foo="1")
    await filled(node, origin, page(b"gone", status=404), Foo="2")
    assert (await get(node, Foo="1")).body == b"one" and (await get(node, Foo="2")).status == 404
    assert len(origin.requests) == 2


async def test_who_waits_gets_only_a_variant_of_its_own(node: Node, origin: ScriptedUpstream) -> None:
    """The flight is joined before anybody knows that responses vary."""
    gate = asyncio.Event()
    headers = page(Vary="Foo").headers
    answers = [Answer(headers=headers, body=body, before_head=gate) for body in (b"one", b"two")]
    origin.enqueue(*answers)
    asking = [asyncio.create_task(get(node, Foo="1"))]
    await origin.wait_requests(1)
    asking += [asyncio.create_task(get(node, Foo=value)) for value in ("1", "2")]
    while (await node.statistics())["documents"]["passengers"] < 3:
        pass
    gate.set()
    assert sorted(reply.body for reply in await asyncio.gather(*asking)) == [b"one", b"one", b"two"]
    assert {request.header("Foo") for request in origin.requests} == {"1", "2"} and len(origin.requests) == 2


@pytest.mark.parametrize("by", ["key", "url", "all"])
async def test_a_purge_takes_all_variants(node: Node, origin: ScriptedUpstream, by: str) -> None:
    for value in ("1", "2"):
        await filled(node, origin, page(value.encode(), Vary="Foo", Surrogate_Key="k"), Foo=value)
    path = {"key": "/service/edgecache/purge/k", "url": URL, "all": "/service/edgecache/purge_all"}[by]
    await purge(node, path, method="PURGE" if by == "url" else "POST")
    for value in ("1", "2"):
        origin.enqueue(page(b"new", Vary="Foo"))
        assert (await get(node, Foo=value)).body == b"new"


async def test_the_sign_post_outlives_what_it_points_at(node: Node, origin: ScriptedUpstream, clock: Clock) -> None:
    await filled(node, origin, page(b"short", Vary="Foo", control="max-age=10"), Foo="1")
    await filled(node, origin, page(b"long", Vary="Foo", control="max-age=100000"), Foo="2")
    clock.now += 99_999
    assert is_hit(await get(node, Foo="2"))
    await settled(node)
