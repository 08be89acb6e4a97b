"""Documents past their lifetime: validated, served stale where that is allowed (RFC 9111 section 4.3, RFC 5861)."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from pages import URL, asked, at, confirmed, filled, get, is_hit, page, said, settled

from edgecache.testing.node import Clock, Node, running_node
from edgecache.testing.scripted_upstream import Answer, ScriptedUpstream, Step

WINDOWS = """
[[route]]
name = "pages"
path = "/pages/*"
mode = "http"
stale_while_revalidate = "30s"
stale_if_error = "10m"
"""
CUT = page(chunks=[Step.CUT], Content_Length="9")


@pytest.fixture
async def lenient(tmp_path: Path, origin: ScriptedUpstream, clock: Clock) -> AsyncGenerator[Node, None]:
    """A node whose rule allows stale pages."""
    async with running_node(tmp_path, upstream=origin, policy=WINDOWS, clock=clock) as node:
        yield node


async def test_a_304_makes_it_fresh_again(node: Node, origin: ScriptedUpstream, clock: Clock) -> None:
    """RFC 9111 sections 4.3.1, 4.3.4 and 3.2."""
    modified = at(clock, -1_000)
    await filled(node, origin, page(b"kept", ETag='"1"', Last_Modified=modified, X_Own="1", X_More="1"))
    clock.now += 61
    origin.enqueue(confirmed(ETag='"1"', X_Own="2", Cache_Control="max-age=100"))
    second = await get(node)
    assert (second.status, second.body, second.headers["X-Own"], second.headers["X-More"]) == (200, b"kept", "2", "1")
    assert asked(origin).header("If-None-Match") == '"1"' and asked(origin).header("If-Modified-Since") == modified
    assert said(second) == "edgecache; fwd=stale; fwd-status=304; stored" and second.headers["Age"] == "0"
    clock.now += 99
    third = await get(node)
    assert third.headers["Cache-Status"] == "edgecache; hit; ttl=1" and len(origin.requests) == 2


async def test_no_cache_is_validated_before_each_use(node: Node, origin: ScriptedUpstream) -> None:
    """RFC 9111 section 5.2.2.4."""
    await filled(node, origin, page(b"kept", control="no-cache, max-age=60", ETag='"1"'))
    for _ in range(2):
        origin.enqueue(confirmed(ETag='"1"'))
        assert (await get(node)).body == b"kept"
        assert asked(origin).header("If-None-Match") == '"1"'


async def test_a_304_about_another_response_counts_for_nothing(
    node: Node, origin: ScriptedUpstream, clock: Clock
) -> None:
    """RFC 9111 section 4.3.4: it is asked again, without a condition."""
    await filled(node, origin, page(b"old", ETag='"1"'))
    clock.now += 61
    origin.enqueue(confirmed(ETag='"2"'), page(b"new", ETag='"2"'))
    assert (await get(node)).body == b"new"
    assert asked(origin).header("If-None-Match") is None


async def test_a_new_response_takes_the_stale_ones_place(node: Node, origin: ScriptedUpstream, clock: Clock) -> None:
    await filled(node, origin, page(b"old", ETag='"1"'))
    clock.now += 61
    origin.enqueue(page(b"new", ETag='"2"'))
    assert [(await get(node)).body for _ in range(2)] == [b"new", b"new"]


@pytest.mark.parametrize("condition", [{"If_None_Match": '"0", W/"1"'}, {"If_Modified_Since": "date"}])
async def test_who_has_it_already_is_told_so(
    node: Node, origin: ScriptedUpstream, clock: Clock, condition: dict[str, str]
) -> None:
    """RFC 9111 section 4.3.2, RFC 9110 section 15.4.5: from a stored page, and from one that was just fetched."""
    headers = {name: at(clock) if value == "date" else value for name, value in condition.items()}
    origin.enqueue(page(ETag='"1"', Last_Modified=at(clock, -5), X_Own="1"))
    replies = [await get(node, **headers)]
    await settled(node)
    replies += [await get(node, **headers), await get(node)]
    assert [reply.status for reply in replies] == [304, 304, 200] and len(origin.requests) == 1
    assert replies[1].body == b"" and replies[1].headers["ETag"] == '"1"' and "X-Own" not in replies[1].headers


async def test_a_fill_goes_on_for_others_when_its_caller_has_it_already(node: Node, origin: ScriptedUpstream) -> None:
    gate = asyncio.Event()
    origin.enqueue(page(chunks=[b"a ", gate, b"page"], ETag='"1"'))
    assert (await get(node, If_None_Match='"1"')).status == 304
    gate.set()
    await settled(node)
    reply = await get(node)
    assert is_hit(reply) and reply.body == b"a page"


async def test_preconditions_for_the_origin_go_there(node: Node, origin: ScriptedUpstream) -> None:
    """RFC 9111 section 4.3.2."""
    await filled(node, origin, page(ETag='"1"'))
    origin.enqueue(page(b"", status=412, control=""))
    assert (await get(node, If_Match='"2"')).status == 412
    assert asked(origin).header("If-Match") == '"2"'


# --- stale --------------------------------------------------------------------------------------------------------


async def test_a_stale_page_is_not_served_unless_somebody_allows_it(
    node: Node, origin: ScriptedUpstream, clock: Clock
) -> None:
    """RFC 9111 section 4.2.4."""
    await filled(node, origin, page(b"old"))
    clock.now += 61
    origin.enqueue(page(b"failed", status=503, control=""), CUT)
    assert (await get(node)).status == 503
    assert (await get(node)).status == 502


async def test_stale_while_it_is_asked_for(lenient: Node, origin: ScriptedUpstream, clock: Clock) -> None:
    """RFC 5861 section 3: once, however many come."""
    await filled(lenient, origin, page(b"old"))
    clock.now += 72
    gate = asyncio.Event()
    new = page(b"new")
    origin.enqueue(Answer(headers=new.headers, body=b"new", before_head=gate))
    stale = [await get(lenient) for _ in range(3)]
    assert [reply.body for reply in stale] == [b"old"] * 3
    assert said(stale[0]) == "edgecache; hit; ttl=-12; detail=revalidating" and stale[0].headers["Age"] == "72"
    gate.set()
    await settled(lenient)
    assert (await get(lenient)).body == b"new" and len(origin.requests) == 2


@pytest.mark.parametrize("failure", [page(status=503, control=""), page(status=500, control="max-age=60"), CUT])
async def test_stale_if_error(lenient: Node, origin: ScriptedUpstream, clock: Clock, failure: Answer) -> None:
    """RFC 5861 section 4; a failure does not take the page's place."""
    await filled(lenient, origin, page(b"old"))
    clock.now += 100
    for _ in range(2):
        origin.enqueue(failure)
        reply = await get(lenient)
        assert (reply.status, reply.body, reply.headers["X-Cache"]) == (200, b"old", "STALE"), reply
    assert len(origin.requests) == 3


@pytest.mark.parametrize("word", ["must-revalidate", "proxy-revalidate", "s-maxage=60", "no-cache"])
async def test_what_forbids_stale_answers(lenient: Node, origin: ScriptedUpstream, clock: Clock, word: str) -> None:
    """RFC 9111 section 4.2.4, even where the rule allows them."""
    await filled(lenient, origin, page(b"old", control=f"max-age=60, {word}", ETag='"1"'))
    clock.now += 61
    origin.enqueue(CUT)
    assert (await get(lenient)).status == 502


async def test_the_responses_own_window_comes_before_the_rules(
    lenient: Node, origin: ScriptedUpstream, clock: Clock
) -> None:
    await filled(lenient, origin, page(b"old", control="max-age=60, stale-while-revalidate=0, stale-if-error=5"))
    clock.now += 66
    origin.enqueue(CUT)
    assert (await get(lenient)).status == 502


# --- what requests demand -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("directive", ["no-cache", "max-age=5", "min-fresh=55", "max-age=0"])
async def test_demands_that_a_stored_page_does_not_meet(
    node: Node, origin: ScriptedUpstream, clock: Clock, directive: str
) -> None:
    """RFC 9111 section 5.2.1."""
    await filled(node, origin, page(b"kept", ETag='"1"'))
    clock.now += 10
    assert is_hit(await get(node))
    origin.enqueue(confirmed(ETag='"1"'))
    reply = await get(node, Cache_Control=directive)
    assert reply.body == b"kept" and said(reply).startswith("edgecache; fwd=") and len(origin.requests) == 2


async def test_max_stale(node: Node, origin: ScriptedUpstream, clock: Clock) -> None:
    """RFC 9111 section 5.2.1.2."""
    await filled(node, origin, page(b"old"))
    clock.now += 70
    reply = await get(node, Cache_Control="max-stale=20")
    assert reply.body == b"old" and said(reply) == "edgecache; hit; ttl=-10"


async def test_only_if_cached(node: Node, origin: ScriptedUpstream) -> None:
    """RFC 9111 section 5.2.1.7."""
    assert (await get(node, Cache_Control="only-if-cached")).status == 504 and not origin.requests
    await filled(node, origin, page())
    assert is_hit(await get(node, Cache_Control="only-if-cached"))


async def test_no_store(node: Node, origin: ScriptedUpstream) -> None:
    """RFC 9111 section 5.2.1.5."""
    origin.enqueue(page(b"1"), page(b"2"))
    assert said(await get(node, Cache_Control="no-store")) == "edgecache; fwd=bypass; fwd-status=200; detail=no-store"
    assert (await get(node)).body == b"2"


# --- parts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked_for", "status", "body", "stretch"),
    [
        ("bytes=1-2", 206, b"12", "bytes 1-2/5"),
        ("bytes=-1", 206, b"4", "bytes 4-4/5"),
        ("bytes=9-", 416, b"", "bytes */5"),
        ("bytes=0-0,2-3", 200, b"01234", None),
    ],
)
async def test_a_part_of_a_stored_page(
    node: Node, origin: ScriptedUpstream, asked_for: str, status: int, body: bytes, stretch: str | None
) -> None:
    """RFC 9110 section 14."""
    await filled(node, origin, page(b"01234", ETag='"1"'))
    reply = await get(node, Range=asked_for)
    assert (reply.status, reply.body, reply.headers.get("Content-Range")) == (status, body, stretch)
    assert len(origin.requests) == 1


async def test_a_part_of_what_is_not_stored_is_passed_on(node: Node, origin: ScriptedUpstream) -> None:
    origin.enqueue(page(b"12", status=206, Content_Range="bytes 1-2/5"), page(b"01234"))
    part = await get(node, Range="bytes=1-2")
    assert (part.status, part.body, asked(origin).header("Range")) == (206, b"12", "bytes=1-2")
    assert (await get(node, URL)).body == b"01234"
