"""Who purged what, and when: written before it happens, completed after, and never in its way."""

import asyncio
import re
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

import pytest
from purging import KEYS, PURGE_ALL, SIMILAR, call, fill, purged, token

from edgecache.core.ports import AuditLine
from edgecache.core.purges import Effect, PurgeRecord
from edgecache.core.tags import Kind, Tag, keys, within
from edgecache.edge import purge_audit
from edgecache.edge.purge_audit import Order, Protocolled
from edgecache.errors import StoreUnavailable
from edgecache.purge.roll import Nodes, Ordered, Standing
from edgecache.testing.node import SEMANTIC, Clock, Node, running_node
from edgecache.testing.scripted_upstream import ScriptedUpstream

DARK = "How do I enable dark mode?"


class Lines:
    """An audit log that may fail, or never answer."""

    def __init__(self, happened: list[Any]) -> None:
        self.happened = happened
        self.error: Exception | None = None
        self.hangs = False

    async def write(self, line: AuditLine) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error
        self.happened.append(line)


class Purges:
    """A purge log that may fail, or wait before it takes one."""

    def __init__(self, happened: list[Any]) -> None:
        self.happened = happened
        self.error: Exception | None = None
        self.reached = asyncio.Event()
        self.go = asyncio.Event()
        self.go.set()

    @property
    def blind(self) -> bool:
        return False

    async def order(self, tags: Sequence[Tag], *, record_id: str, effect: Effect, **more: Any) -> Ordered:
        self.reached.set()
        await self.go.wait()
        if self.error is not None:
            raise self.error
        record = PurgeRecord(record_id, tuple(tags), 1.0, effect)
        self.happened.append(record)
        return Ordered(record, 7, 1.0)

    async def wait_all(self, ordered: Ordered) -> Nodes:
        raise NotImplementedError

    def progress(self, record_id: str) -> Standing | None:
        raise NotImplementedError


@pytest.fixture
def happened() -> list[Any]:
    return []


@pytest.fixture
def lines(happened: list[Any]) -> Lines:
    return Lines(happened)


@pytest.fixture
def purges(happened: list[Any]) -> Purges:
    return Purges(happened)


@pytest.fixture
def protocolled(purges: Purges, lines: Lines, happened: list[Any]) -> Protocolled:
    return Protocolled(purges, lines, clock=lambda: 5.0, ordered=happened.append)  # type: ignore[arg-type]


ORDER = Order(id="an id", tags=keys(["a", "b"]), effect=Effect.SOFT)
BEFORE = AuditLine(id="an id", at=5.0, who="ops", what=("key:a", "key:b"), of=2, effect="soft")
AFTER = AuditLine(id="an id", at=5.0, who="ops", what=("key:a", "key:b"), of=2, effect="soft", sequence=7)
RECORD = PurgeRecord("an id", keys(["a", "b"]), 1.0, Effect.SOFT)


async def test_before_and_after(protocolled: Protocolled, happened: list[Any]) -> None:
    assert (await protocolled.order("ops", ORDER)).sequence == 7
    assert happened == [BEFORE, RECORD, "an id", AFTER]


async def test_the_nodes_own_log_shows_no_question(protocolled: Protocolled, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "edgecache.purge")
    await protocolled.order("ops", ORDER)
    await protocolled.order("ops", Order(id="other", tags=(), effect=Effect.PURGE, words="meaning of 'a question'"))
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        "purge an id by 'ops', sequence 7: 2 tags: key:a, key:b",
        "purge other by 'ops', sequence 7: 0 tags: by meaning",
    ]


async def test_what_did_not_happen_keeps_its_line_without_a_place(
    protocolled: Protocolled, purges: Purges, happened: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Nor does the node's own log say that it happened."""
    caplog.set_level("INFO", "edgecache.purge")
    purges.error = StoreUnavailable("gone")
    with pytest.raises(StoreUnavailable):
        await protocolled.order("ops", ORDER)
    assert happened == [BEFORE]
    said = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert said == [("WARNING", "purge an id by 'ops' is not known to be in the log: gone")]


async def test_what_cannot_be_written_down_happens_all_the_same_and_is_said_aloud(
    protocolled: Protocolled, lines: Lines, happened: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    lines.error = StoreUnavailable("disk full")
    assert (await protocolled.order("ops", ORDER)).sequence == 7
    assert happened == [RECORD, "an id"]
    said = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(said) == 2
    assert all("NOT IN THE AUDIT LOG: purge an id by 'ops'" in text for text in said)


async def test_a_protocol_that_hangs_holds_no_purge_up(
    protocolled: Protocolled, lines: Lines, happened: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purge_audit, "PATIENCE", 0.01)
    lines.hangs = True
    assert (await protocolled.order("ops", ORDER)).sequence == 7
    assert happened == [RECORD, "an id"]


async def test_who_hangs_up_does_not_leave_half_a_line(
    protocolled: Protocolled, purges: Purges, happened: list[Any]
) -> None:
    purges.go.clear()
    asking = asyncio.create_task(protocolled.order("ops", ORDER))
    await purges.reached.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    purges.go.set()
    while protocolled._running:
        await asyncio.wait(protocolled._running)
    assert happened == [BEFORE, RECORD, "an id", AFTER]


@pytest.mark.parametrize(
    ("tag", "word"),
    [
        (Tag(Kind.KEY, "docs"), "key:docs"),
        (Tag(Kind.KEY, "a\nb\x1b[2J\udcff é"), "key:a\\nb\\x1b[2J\\udcff é"),
        (Tag(Kind.KEY, "x" * 500), "key:" + "x" * 200),
        (within("token:acme", Tag(Kind.KEY, "docs")), "key:docs within token:acme"),
        (within("token:acme", Tag(Kind.ALL, "")), "scope:token:acme"),
        (Tag(Kind.ALL, ""), "all:"),
    ],
)
def test_tags_in_words(tag: Tag, word: str) -> None:
    assert purge_audit.word(tag) == word


# --- in a node --------------------------------------------------------------------------------------------------------


@pytest.fixture
async def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Node, None]:
    monkeypatch.setattr(purge_audit, "PATIENCE", 60.0)  # a busy machine may stand still for some seconds
    async with (
        ScriptedUpstream() as upstream,
        running_node(tmp_path, upstream=upstream, policy=SEMANTIC, clock=Clock()) as node,
    ):
        yield node


async def audit(node: Node, path: str = "") -> Any:
    reply = await node.manage("GET", "/admin/audit" + path)
    assert reply.status == 200, reply
    return reply.json()


async def test_every_kind_of_purge_is_in_it(node: Node) -> None:
    ops = await token(node, "ops", "purge")
    many = [f"k{number}" for number in range(20)]
    last = (await purged(node, KEYS, body={"surrogate_keys": many}, Fastly_Key=ops))["k0"]
    await purged(node, "/service/edgecache/purge/docs", Fastly_Key=ops, Fastly_Soft_Purge="1")
    await purged(node, SIMILAR, body={"text": DARK, "radius": 0.25, "scope": "acme"}, Fastly_Key=ops)
    await purged(node, PURGE_ALL)
    lines = (await audit(node))["lines"]
    assert [(line["who"], line["effect"], line["sequence"]) for line in lines] == [
        ("admin", "purge", 4), ("ops", "purge", 3), ("ops", "soft", 2), ("ops", "purge", 1),
    ]  # fmt: skip
    assert [line["what"] for line in (lines[0], lines[2])] == [["all:"], ["key:docs"]]
    (meant,) = lines[1]["what"]
    assert re.fullmatch(rf"meaning within 0.25 of a text of {len(DARK)} characters, \w{{16}} within token:acme", meant)
    assert "dark" not in repr(lines)  # it may be a person's question
    assert (lines[3]["id"], lines[3]["of"]) == (last, 20)
    assert lines[3]["what"] == [f"key:{key}" for key in many[: purge_audit.SHOWN]]
    assert {line["at"] for line in lines} == {Clock().now}
    assert (await audit(node, "?limit=2"))["lines"] == lines[:2]
    assert await audit(node, f"/{last}") == lines[3]


async def test_what_was_hit_is_counted(node: Node) -> None:
    for question in (DARK, "What is the capital of France?"):
        await fill(node, question, "docs")
    identity = (await purged(node, "/service/edgecache/purge/docs"))["id"]
    async with asyncio.timeout(60):
        while (line := await audit(node, f"/{identity}"))["entries"] < 2:
            pass
    assert (line["entries"], line["sequence"]) == (2, 1)


async def test_refused_calls_are_not_in_it(node: Node) -> None:
    limited = await token(node, "ops", "purge", tags=["a"])
    for path, secret in ((PURGE_ALL, limited), (PURGE_ALL, "edgecache-none"), ("/service/none/purge_all", None)):
        headers = {"Fastly_Key": secret} if secret else {}
        assert (await call(node, path, **headers)).status >= 400
    assert (await audit(node))["lines"] == []


@pytest.mark.parametrize("limit", ["0", "-1", "x", "10001", "1e3", "", "99999999999999999999"])
async def test_limits_that_cannot_be(node: Node, limit: str) -> None:
    reply = await node.manage("GET", f"/admin/audit?limit={limit}")
    assert reply.status == 400
    assert "`limit`" in reply.error["message"]


async def test_it_is_for_administrators(node: Node) -> None:
    purger = await token(node, "ops", "purge", "push", "traffic")
    for path in ("/admin/audit", "/admin/audit/" + "0" * 32):
        assert (await node.ask("GET", path, admin=True)).status == 401
        headers = {"Authorization": f"Bearer {purger}"}
        assert (await node.ask("GET", path, headers=headers, admin=True)).status == 403
    for name in ("0" * 32, "x", ""):
        assert (await node.manage("GET", f"/admin/audit/{name}")).status == 404
