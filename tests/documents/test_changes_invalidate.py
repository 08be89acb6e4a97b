"""What requests that change something invalidate, and what they do not: attacks, and RFC 9111 section 4.4."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import pytest
from pages import URL, filled, get, is_hit, page, said

from edgecache.core.entry import Scope
from edgecache.core.tags import MAX_KEYS_PER_PURGE, Tag
from edgecache.errors import StoreUnavailable
from edgecache.flow.changes import Changes
from edgecache.policy_book import PolicyBook
from edgecache.purge.orders import document_tag, url_tag
from edgecache.purge.roll import REMEMBERED
from edgecache.testing.node import CHAT, Clock, Node, running_node
from edgecache.testing.scripted_upstream import Answer, ScriptedUpstream

RULES = """
[[route]]
name = "everybody"
path = "/pages/everybody/*"
mode = "http"
invalidate = "all"

[[route]]
name = "nobody"
path = "/pages/nobody/*"
mode = "http"
invalidate = "off"

[[route]]
name = "pages"
path = "/pages/*"
mode = "http"

[[route]]
name = "answers"
models = ["m*"]

[[route]]
name = "rest"
path = "/*"
mode = "http"
"""
OTHER = {"Authorization": "Bearer other"}
ANSWER = b'{"id":"1","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},'
ANSWER += b'"finish_reason":"stop"}]}'
PUBLIC = "public, max-age=60"


@pytest.fixture
async def ruled(tmp_path: Path, origin: ScriptedUpstream, clock: Clock) -> AsyncGenerator[Node, None]:
    async with running_node(tmp_path, upstream=origin, policy=RULES, clock=clock) as node:
        yield node


async def change(node: Node, origin: ScriptedUpstream, url: str = URL, **headers: str) -> str:
    """A request of nobody in particular that succeeds; how its answer came about."""
    origin.enqueue(Answer(status=303, headers=tuple(headers.items())))
    changed = await node.ask("POST", url, b"")
    assert changed.status == 303
    return said(changed)


async def filled_for(node: Node, origin: ScriptedUpstream, url: str, **headers: str) -> None:
    origin.enqueue(page(b"old", control=PUBLIC))
    assert said(await get(node, url, **headers)).endswith("; stored")


async def held(node: Node, origin: ScriptedUpstream, url: str, **headers: str) -> bool:
    """Whether what was stored is served."""
    before = len(origin.requests)
    reply = await get(node, url, **headers)
    assert (len(origin.requests) == before) is is_hit(reply)
    return is_hit(reply)


@pytest.mark.parametrize(
    "location", [CHAT, "/v1/chat%2Fcompletions", "/%761/chat/completions", "/x/../v1/chat/completions"]
)
async def test_a_redirect_that_names_a_path_of_answers_purges_none(
    ruled: Node, origin: ScriptedUpstream, location: str
) -> None:
    """Attack: `POST /pages/login?next=/v1/chat/completions` by anybody took everybody's answers."""
    for headers in (OTHER, {}):
        origin.enqueue(Answer(body=ANSWER))
        assert (await ruled.chat("a question", model="m1", headers=headers)).status == 200
        assert (await ruled.chat("a question", model="m1", headers=headers)).headers["X-Cache"] == "HIT"
    await change(ruled, origin, "/pages/login?next=" + location, Location=location)
    for headers in (OTHER, {}):
        assert (await ruled.chat("a question", model="m1", headers=headers)).headers["X-Cache"] == "HIT"


async def test_a_change_takes_what_is_stored_in_its_own_scope_only(ruled: Node, origin: ScriptedUpstream) -> None:
    for url in (URL, "/pages/two"):
        await filled_for(ruled, origin, url)
        await filled_for(ruled, origin, url, **OTHER)
    assert "detail=invalidated" in await change(ruled, origin, Location="/pages/two")
    for url in (URL, "/pages/two"):
        assert not await held(ruled, origin, url)
        assert await held(ruled, origin, url, **OTHER)


async def test_a_rule_may_say_that_a_change_is_everybodys_or_nobodys(ruled: Node, origin: ScriptedUpstream) -> None:
    """The rule of each path decides for it, whoever names it."""
    everybody, nobody = "/pages/everybody/1", "/pages/nobody/1"
    for url in (everybody, nobody):
        await filled_for(ruled, origin, url)
        await filled_for(ruled, origin, url, **OTHER)
    assert "invalidated" not in await change(ruled, origin, nobody)
    await change(ruled, origin, "/pages/x", Location=everybody)
    assert not await held(ruled, origin, everybody) and not await held(ruled, origin, everybody, **OTHER)
    assert await held(ruled, origin, nobody) and await held(ruled, origin, nobody, **OTHER)


async def test_a_page_asked_for_between_two_changes_goes_too(node: Node, origin: ScriptedUpstream) -> None:
    for _ in range(3):
        await filled(node, origin, page(b"old"))
        assert "detail=invalidated" in await change(node, origin)
    origin.enqueue(page(b"new"))
    assert (await get(node)).body == b"new"


async def test_changes_take_no_purges_place_in_the_progress(
    node: Node, origin: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack: as many anonymous requests as orders are remembered, and nobody learned how far a purge had come."""
    monkeypatch.setattr("edgecache.flow.changes.PAUSE", 0.0)
    purged = (await node.manage("POST", "/service/edgecache/purge/k")).json()["id"]
    before = (await node.statistics())["purges"]
    for number in range(REMEMBERED + 2):
        await node.app._purge_log.order((document_tag(f"/{number}"),), tracked=False)
    await change(node, origin)
    assert (await node.manage("GET", f"/purge/progress/{purged}")).status == 200
    after = (await node.statistics())["purges"]
    assert after["ordered"] == before["ordered"] and after["invalidations"] == before["invalidations"] + REMEMBERED + 3


def test_the_tag_of_a_long_path_is_short() -> None:
    """Attack: paths of 8 KB filled the ledger and its snapshots."""
    for make in (url_tag, document_tag):
        assert make("/" + 1_023 * "p").value.endswith("/" + 1_023 * "p")
        long = make("/" + 1_024 * "p")
        assert len(long.value) < 100 and long == make("/%70" + 1_023 * "p") != make("/" + 1_025 * "p")


# --- few orders ---------------------------------------------------------------------------------------------------


class Ordering:
    """Counts orders, and holds them until it is told to go on."""

    def __init__(self) -> None:
        self.orders: list[Sequence[Tag]] = []
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()
        self.fails = False

    async def order(self, tags: Sequence[Tag]) -> None:
        self.orders.append(tags)
        self.begun.set()
        await self.go_on.wait()
        if self.fails:
            raise StoreUnavailable("no log")


def tags(*numbers: int) -> tuple[Tag, ...]:
    return tuple(document_tag(f"/{number}") for number in numbers)


def changes(ordering: Ordering) -> Changes:
    return Changes(PolicyBook(Path("nowhere"), ()), ordering.order)


async def test_many_changes_at_once_are_two_orders() -> None:
    """Who comes while one is under way waits for the next one, which begins after it came."""
    ordering = Ordering()
    own = changes(ordering)
    first = asyncio.create_task(own.invalidate(tags(0)))
    await ordering.begun.wait()
    others = [asyncio.create_task(own.invalidate(tags(number % 50))) for number in range(200)]
    await asyncio.sleep(0)
    ordering.go_on.set()
    assert await first and all(await asyncio.gather(*others))
    assert ordering.orders == [tags(0), tags(*range(50))]


async def test_an_order_has_no_more_tags_than_a_purge_may_have() -> None:
    ordering = Ordering()
    ordering.go_on.set()
    assert await changes(ordering).invalidate(tags(*range(MAX_KEYS_PER_PURGE + 1)))
    assert list(map(len, ordering.orders)) == [MAX_KEYS_PER_PURGE, 1]


async def test_a_change_is_invalidated_also_when_its_caller_has_left() -> None:
    ordering = Ordering()
    own = changes(ordering)
    waiting = asyncio.create_task(own.invalidate(tags(1)))
    await ordering.begun.wait()
    later = asyncio.create_task(own.invalidate(tags(2)))
    await asyncio.sleep(0)
    waiting.cancel()
    later.cancel()
    ordering.go_on.set()
    await own.close()
    assert ordering.orders == [tags(1), tags(2)] and waiting.cancelled()


async def test_where_the_log_cannot_be_written_that_is_said() -> None:
    ordering = Ordering()
    ordering.fails = True
    ordering.go_on.set()
    own = changes(ordering)
    assert not await own.invalidate(tags(1))
    ordering.fails = False
    assert await own.invalidate(tags(1))


def test_only_paths_of_documents_are_invalidated(tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_text(RULES)
    book = PolicyBook(tmp_path, ())
    book.load()
    own = Changes(book, Ordering().order)
    scope = Scope("one")
    assert len(own.tags(scope, ("/pages/1", "/pages/1", "/pages/nobody/1"))) == 1
    assert own.tags(scope, ("/pages/everybody/1",)) == (document_tag("/pages/everybody/1"),)
    assert Changes(PolicyBook(tmp_path, ()), Ordering().order).tags(scope, ("/pages/1",)) == ()
