"""Attacks on pages, a test named after each: who poisons them, who gets another's, who makes a node hold too much."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pages import URL, asked, filled, get, is_hit, page, said, settled

from edgecache.core.entry import MAX_TAGS
from edgecache.core.reuse import LONGEST_VALUE, MAX_NAMES
from edgecache.flow import document_answers
from edgecache.testing.node import Clock, Node, RawConnection, running_node
from edgecache.testing.raw_upstream import RawUpstream
from edgecache.testing.scripted_upstream import Answer, ScriptedUpstream

PUBLIC = "public, max-age=60"
TOLD = """
[[route]]
name = "pages"
path = "/pages/*"
mode = "http"
forward_headers = ["X-Forwarded-Proto"]
max_answer = "2MiB"
"""
UNTOLD = (
    "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Prefix", "Forwarded", "X-Host",
    "X-Original-URL", "X-Rewrite-URL", "X-HTTP-Method-Override", "Fastly-SSL", "Fastly-Client-IP", "True-Client-IP",
    "X-Real-IP", "CF-Connecting-IP", "X-Middleware-Subrequest",
)  # fmt: skip


@pytest.fixture
async def telling(tmp_path: Path, origin: ScriptedUpstream, clock: Clock) -> AsyncGenerator[Node, None]:
    async with running_node(tmp_path, upstream=origin, policy=TOLD, clock=clock) as node:
        yield node


# --- poison -------------------------------------------------------------------------------------------------------


async def test_what_is_no_part_of_the_key_does_not_reach_the_origin_of_a_shared_page(
    node: Node, origin: ScriptedUpstream
) -> None:
    """Attack: `X-Forwarded-Host: evil` made a page whose scripts come from there, for everybody."""
    await filled(node, origin, page(), **{name.replace("-", "_"): "evil" for name in (*UNTOLD, "Surrogate-Capability")})
    assert not [pair for pair in origin.requests[0].headers if "evil" in pair[1]]
    assert origin.requests[0].header("Surrogate-Capability") == 'edgecache="Surrogate/1.0"'
    origin.enqueue(page(b"alone"))
    await get(node, Cache_Control="no-store", X_Forwarded_Host="mine")
    assert asked(origin).header("X-Forwarded-Host") == "mine", "nobody else gets what is not shared"


async def test_what_a_rule_tells_the_origin_is_part_of_the_key(telling: Node, origin: ScriptedUpstream) -> None:
    await filled(telling, origin, page(b"http"), X_Forwarded_Proto="http", X_Forwarded_Host="evil")
    assert asked(origin).header("x-forwarded-proto") == "http" and asked(origin).header("x-forwarded-host") is None
    await filled(telling, origin, page(b"https"), X_Forwarded_Proto="https")
    found = [await get(telling, X_Forwarded_Proto=proto) for proto in ("http", "https")]
    assert [reply.body for reply in found] == [b"http", b"https"] and len(origin.requests) == 2


async def test_no_cache_validates_and_does_not_replace(node: Node, origin: ScriptedUpstream) -> None:
    """Attack: one `no-cache` of anybody took a page's place with what that request made of it."""
    await filled(node, origin, page(b"kept", ETag='"1"'))
    origin.enqueue(page(b"", status=304, control="", ETag='"1"'))
    assert (await get(node, Cache_Control="no-cache", X_Forwarded_Host="evil")).body == b"kept"
    assert asked(origin).header("If-None-Match") == '"1"' and asked(origin).header("X-Forwarded-Host") is None
    assert (await get(node)).body == b"kept" and len(origin.requests) == 2


async def test_a_field_that_the_request_says_ends_here_tells_nothing_apart(
    node: Node, origin: ScriptedUpstream
) -> None:
    """Attack: `Connection: x-lang` took the field from the origin, and the page was kept under its value."""
    await filled(node, origin, page(b"default", Vary="X-Lang"), X_Lang="de", Connection="x-lang")
    assert asked(origin).header("X-Lang") is None
    await filled(node, origin, page(b"deutsch", Vary="X-Lang"), X_Lang="de")
    found = [await get(node), await get(node, X_Lang="de"), await get(node, X_Lang="de", Connection="X-Lang")]
    assert [reply.body for reply in found] == [b"default", b"deutsch", b"default"] and len(origin.requests) == 2


@pytest.mark.parametrize("field", [b"Cache-Control: no-store", b"Set-Cookie: a=b", b"Vary: *"])
async def test_the_origins_connection_field_takes_nothing_from_what_is_judged(tmp_path: Path, field: bytes) -> None:
    """Attack, or mistake: `Connection: set-cookie`, and the page was stored."""
    head = b"HTTP/1.1 200 OK\r\nExpires: Fri, 01 Jan 2100 00:00:00 GMT\r\nContent-Length: 1\r\n"
    named = field.partition(b":")[0]
    upstream = RawUpstream(head + field + b"\r\nConnection: close, " + named + b"\r\n\r\nx")
    rule = '[[route]]\nname = "pages"\npath = "/pages/*"\nmode = "http"\n'
    async with upstream, running_node(tmp_path, upstream=upstream.url, policy=rule) as node:
        for _ in range(2):
            assert (await get(node)).body == b"x"
        assert await node.stored() == 0 and len(upstream.requests) == 2


# --- another's ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["X-Api-Key", "Authorization", "Api-Key"])
async def test_a_cookie_beside_a_key_is_looked_at(node: Node, origin: ScriptedUpstream, key: str) -> None:
    """Attack: callers of one application got one another's pages."""
    shown = {key.replace("-", "_"): "application"}
    await filled(node, origin, page(b"of alice", control=PUBLIC), Cookie="alice", **shown)
    await filled(node, origin, page(b"of bob", control=PUBLIC), Cookie="bob", **shown)
    await filled(node, origin, page(b"of nobody", control=PUBLIC), **shown)
    found = [await get(node, Cookie=name, **shown) for name in ("alice", "bob")]
    assert [reply.body for reply in found] == [b"of alice", b"of bob"] and len(origin.requests) == 3


@pytest.mark.parametrize(
    "key", ["Authorization", "X-Api-Key", "Api-Key", "X-Goog-Api-Key", "Ocp-Apim-Subscription-Key"]
)
async def test_any_key_counts_as_authorization(node: Node, origin: ScriptedUpstream, key: str) -> None:
    """RFC 9111 section 3.5."""
    origin.enqueue(page(b"1"), page(b"2", control="max-age=60, must-revalidate"))
    shown = {key.replace("-", "_"): "mine"}
    assert "detail=authorization" in said(await get(node, **shown))
    assert said(await get(node, **shown)).endswith("; stored") and is_hit(await get(node, **shown))


async def test_a_cookie_that_is_set_is_not_kept_with_a_public_page(node: Node, origin: ScriptedUpstream) -> None:
    """Attack, or mistake: `public` on a page that begins a session, and everybody had that session."""
    gate = asyncio.Event()
    answer = page(b"public", control=PUBLIC, Set_Cookie="session=alice")
    origin.enqueue(Answer(headers=answer.headers, body=answer.body, before_head=gate))
    asking = [asyncio.create_task(get(node)) for _ in range(3)]
    while (await node.statistics())["documents"]["passengers"] < 3:
        pass
    gate.set()
    replies = await asyncio.gather(*asking)
    assert sorted(reply.headers.get("Set-Cookie", "") for reply in replies) == ["", "", "session=alice"]
    assert "Set-Cookie" not in (await get(node)).headers and len(origin.requests) == 1


async def test_what_pages_vary_by_is_nowhere_kept(tmp_path: Path, origin: ScriptedUpstream, clock: Clock) -> None:
    """Attack: `Vary: Cookie`, and who reads the store reads sessions and keys."""
    async with running_node(tmp_path, upstream=origin, policy=TOLD, clock=clock) as node:
        secrets = {"Cookie": "A-SECRET-COOKIE", "Authorization": "Bearer A-SECRET-KEY"}
        await filled(node, origin, page(control=PUBLIC, Vary="Cookie, Authorization"), **secrets)
        assert is_hit(await get(node, **secrets))
        assert "A-SECRET" not in repr(list(node.app._exact))
    stored = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert b"vary" in stored.lower() and b"A-SECRET" not in stored


# --- too much -----------------------------------------------------------------------------------------------------


async def test_conditional_requests_leave_nothing_behind(node: Node, origin: ScriptedUpstream) -> None:
    """Attack: `If-None-Match` and hang up, as often as there are connections to the origin."""
    never = asyncio.Event()
    origin.enqueue(*[Answer(before_head=never)] * 3)
    for number in range(3):
        async with RawConnection(node.port) as caller:
            await caller.send(b'GET /pages/%d HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: "x"\r\n\r\n' % number)
            await origin.wait_requests(number + 1)
    await origin.wait_connections(0)


async def test_few_fills_go_on_for_nobody(
    node: Node, origin: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack: as above, with `*`, which every page matches whose head has come."""
    monkeypatch.setattr("edgecache.flow.document_fills.MOST_UNATTENDED", 2)
    never = asyncio.Event()
    for number in range(5):
        origin.enqueue(page(chunks=[b"x", never], ETag='"1"'))
        assert (await get(node, f"/pages/{number}", If_None_Match="*")).status == 304
    await origin.wait_connections(2)
    never.set()
    await settled(node)


async def test_what_is_not_stored_is_not_kept_for_anybody(node: Node, origin: ScriptedUpstream) -> None:
    """Attack: private streams were kept from their beginning for each caller, up to `max_answer`."""
    never, piece = asyncio.Event(), b"x" * 60_000
    origin.enqueue(page(control="no-store", chunks=[piece, piece, never]))
    async with node.session.get(node.url + URL) as response:
        await response.content.readexactly(2 * len(piece))
        (flight,) = node.app._open_parts["documents"]._flying
        assert not flight._chunks and not flight.joinable
    never.set()
    await settled(node)


async def test_a_small_response_that_is_not_stored_is_not_held_back(node: Node, origin: ScriptedUpstream) -> None:
    gate = asyncio.Event()
    origin.enqueue(page(control="no-store", chunks=[b"first", gate, b"last"], Content_Length="9"))
    async with node.session.get(node.url + URL) as response:
        assert await response.content.readexactly(5) == b"first"
        gate.set()
        assert await response.read() == b"last"
    await settled(node)


async def test_a_long_page_goes_out_in_pieces(
    telling: Node, origin: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack: each of many callers who do not read held a copy of all of it."""
    body, taken = bytes(range(256)) * 4_096, []

    async def counted(*whole: Any) -> AsyncIterator[bytes]:
        async for piece in pieces(*whole):
            taken.append(len(piece))
            yield piece

    pieces = document_answers._pieces
    monkeypatch.setattr(document_answers, "_pieces", counted)
    await filled_streamed(telling, origin, body)
    whole = await get(telling)
    assert is_hit(whole) and whole.body == body and whole.headers["Content-Length"] == str(len(body))
    part = await get(telling, Range=f"bytes=1-{len(body) - 2}")
    assert (part.status, part.body, part.headers["Content-Length"]) == (206, body[1:-1], str(len(body) - 2))
    assert max(taken) == document_answers.PIECE and sum(taken) == 2 * len(body) - 2
    head = await telling.ask("HEAD", URL)
    assert (head.body, head.headers["Content-Length"]) == (b"", str(len(body))) and len(origin.requests) == 1
    assert (await get(telling, Range="bytes=0-9")).body == body[:10]
    assert sum(taken) == 2 * len(body) - 2, "a short part of it goes at once"


async def filled_streamed(node: Node, origin: ScriptedUpstream, body: bytes) -> None:
    origin.enqueue(page(body))
    assert (await get(node)).body == body
    await settled(node)


async def test_values_too_long_to_vary_by(node: Node, origin: ScriptedUpstream) -> None:
    """Attack: megabytes of `Accept-Language`, kept with each page of one byte and not counted."""
    long = "a" * (LONGEST_VALUE + 1)
    for _ in range(2):
        origin.enqueue(page(Vary="Accept-Language"))
        assert "vary: accept-language" in said(await get(node, Accept_Language=long))
    assert await node.stored() == 0
    await filled(node, origin, page(Vary="Accept-Language"), Accept_Language=long[:-1])


async def test_names_that_pages_vary_by_do_not_grow_without_end(node: Node, origin: ScriptedUpstream) -> None:
    await filled(node, origin, page(Vary=", ".join(f"x-{n}" for n in range(MAX_NAMES))))
    origin.enqueue(page(Vary="x-more"))
    assert "stored=?0" in said(await get(node, X_0="1"))


async def test_a_page_with_too_many_tags_is_not_stored(node: Node, origin: ScriptedUpstream) -> None:
    origin.enqueue(page(Surrogate_Key=" ".join(f"k{n}" for n in range(MAX_TAGS))))
    assert 'detail="too many tags"' in said(await get(node))
    origin.enqueue(page(Surrogate_Key="k" * 9_000, Cache_Tag=",".join(["t" * 1_000] * 17)))
    assert 'detail="too many tags"' in said(await get(node))
    assert await node.stored() == 0


# --- what else must not be taken for something --------------------------------------------------------------------


@pytest.mark.parametrize("apart", [{"Cache_Control": "no-store, only-if-cached"}, {"If_Match": '"1"'}, {"blind": ""}])
async def test_only_if_cached_asks_nobody(node: Node, origin: ScriptedUpstream, apart: dict[str, str]) -> None:
    """RFC 9111 section 5.2.1.7, whatever else is in the request, and on a node that is cut off."""
    node.app._fence.blind = lambda: apart.pop("blind", None) is not None
    headers = {"Cache_Control": "only-if-cached", **{name: value for name, value in apart.items() if value}}
    assert (await get(node, **headers)).status == 504 and not origin.requests


async def test_no_content_type_is_made_up(node: Node, origin: ScriptedUpstream) -> None:
    headers = (("Cache-Control", "max-age=60"), ("Content-Length", "1"), ("Date", ""))
    async with (
        RawUpstream(
            b"HTTP/1.1 200 OK\r\n" + b"".join(f"{name}: {value}\r\n".encode() for name, value in headers) + b"\r\nx"
        ) as upstream,
        running_node(Path(node.app._settings.folder) / "bare", upstream=upstream.url, policy=TOLD) as bare,
    ):
        for _ in range(2):
            reply = await get(bare)
            assert reply.body == b"x" and "Content-Type" not in reply.headers
        await get(bare, Cache_Control="no-store")
        assert len(upstream.requests) == 2


async def test_what_names_us_comes_from_us(node: Node, origin: ScriptedUpstream) -> None:
    """Attack: a page that says it was made by the model on this node."""
    await filled(node, origin, page(Edge_Source="slm/fake"))
    origin.enqueue(page(control="no-store", Edge_Source="slm/fake"))
    for reply in (await get(node), await get(node, "/pages/two")):
        assert "Edge-Source" not in reply.headers


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade",
        b"HTTP/1.1 099 Odd\r\nContent-Length: 0",
    ],
)
@pytest.mark.parametrize("control", ["max-age=9", "no-store"])
async def test_a_status_that_ends_no_request_is_a_broken_upstream(tmp_path: Path, head: bytes, control: str) -> None:
    upstream = RawUpstream(head + b"\r\nCache-Control: max-age=60\r\n\r\n")
    async with upstream, running_node(tmp_path, upstream=upstream.url, policy=TOLD) as node:
        assert (await get(node, Cache_Control=control)).status == 502 and await node.stored() == 0


async def test_a_status_nobody_knows_is_passed_on_and_not_stored(tmp_path: Path) -> None:
    upstream = RawUpstream(b"HTTP/1.1 999 Denied\r\nCache-Control: max-age=60\r\nContent-Length: 1\r\n\r\nx")
    async with upstream, running_node(tmp_path, upstream=upstream.url, policy=TOLD) as node:
        assert ((await get(node)).status, (await get(node)).status) == (999, 999) and await node.stored() == 0


@pytest.mark.parametrize("coding", [b"gzip, chunked", b"gzip"])
async def test_a_transfer_coding_that_is_not_undone_is_not_taken_for_the_page(tmp_path: Path, coding: bytes) -> None:
    """RFC 9112 section 7."""
    head = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: " + coding + b"\r\n\r\n"
    upstream = RawUpstream(head + b"1\r\nx\r\n0\r\n\r\n")
    async with upstream, running_node(tmp_path, upstream=upstream.url, policy=TOLD) as node:
        assert (await get(node)).status == 502 and await node.stored() == 0
