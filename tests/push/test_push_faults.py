"""What goes wrong between taking an old answer back and putting the new one in its place."""

import asyncio
import itertools
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from edgecache.core.entry import Entry, Scope, Source
from edgecache.core.ledger import Ledger
from edgecache.core.ports import AuditLine
from edgecache.core.purges import Logged, PurgeRecord
from edgecache.core.tags import Tag
from edgecache.errors import StoreUnavailable
from edgecache.flow.push import Outcome, Push
from edgecache.flow.pushed import Rights
from edgecache.policy_book import PolicyBook
from edgecache.purge.roll import Nodes, Ordered
from edgecache.testing.node import DEADLINE_S
from edgecache.testing.shared_store import SharedAudit, SharedStore

ANSWER = {"question": "How?", "model": "gpt-4o", "answer": "So."}
OWNER = Rights(who="owner", scope=Scope("token:shop"), scope_of=Scope, may_push=bool, may_tag=bool, limited=False)


class FakeLog:
    """Orders take effect in `ledger`; `wait_all` sets `asked`, waits for `everyone`, and fails where told."""

    def __init__(self) -> None:
        self.ledger = Ledger("log")
        self.asked, self.everyone = asyncio.Event(), asyncio.Event()
        self.everyone.set()
        self.lost = self.refuses = False

    async def order(self, tags: Sequence[Tag], *, record_id: str) -> Ordered:
        if self.refuses:
            raise StoreUnavailable("away")
        record = PurgeRecord(record_id, tuple(tags), 0.0)
        self.ledger.apply(Logged(self.ledger.applied + 1, record))
        return Ordered(record, self.ledger.applied, 0.0, "log")

    async def wait_all(self, ordered: Ordered) -> Nodes:
        self.asked.set()
        await self.everyone.wait()
        if self.lost:
            raise StoreUnavailable("the log was lost")
        return Nodes(2, 0)


class Protocol(SharedAudit):
    async def write(self, line: AuditLine) -> None:
        if self.away:
            raise StoreUnavailable("away")
        await super().write(line)


class Side:
    """One node's way of pushing, on a store that others write to."""

    def __init__(self, folder: Path) -> None:
        ids = (f"{number:032x}" for number in itertools.count(1))
        self.log, self.store, self.audit = FakeLog(), SharedStore(), Protocol()
        self.why_not: str | None = None
        self.kept = asyncio.Event()
        book = PolicyBook(folder, ())
        (folder / "policy.toml").write_text('[[route]]\nname = "chat"\n')
        book.load()
        self.push = Push(
            book,
            self.log.ledger,
            self.log,  # type: ignore[arg-type]
            self.keep,
            self.store,
            None,
            self.audit,
            secret=b"secret",
            clock=lambda: 1_000.0,
            new_id=lambda: next(ids),
        )

    async def keep(self, entry: Entry) -> str | None:
        if self.why_not is None:
            await self.store.put(entry)
        self.kept.set()
        return self.why_not

    async def __call__(self, *, wait: bool = True) -> Outcome:
        return await self.push.push(msgspec.json.encode(ANSWER), OWNER, wait=wait)

    def standing(self) -> Entry:
        (entry,) = self.store.entries.values()
        return entry


@pytest.fixture
def side(tmp_path: Path) -> Side:
    return Side(tmp_path)


async def test_what_another_node_wrote_over_it_is_put_right(side: Side) -> None:
    """A fill that ended there before it had heard of the push: it is dead now, and the answer must not be gone."""
    side.log.everyone.clear()
    pushing = asyncio.create_task(side())
    await side.log.asked.wait()
    older = msgspec.structs.replace(side.standing().horizon, sequence=0)
    side.store.entries[side.standing().key] = msgspec.structs.replace(
        side.standing(), horizon=older, source=Source.UPSTREAM
    )
    side.log.everyone.set()
    assert (await pushing).results[0].status == "ok"
    assert side.standing().source is Source.PUSHED
    assert side.log.ledger.killer_of(side.standing()) is None


async def test_a_later_push_is_left_alone(side: Side) -> None:
    side.log.everyone.clear()
    pushing = asyncio.create_task(side())
    await side.log.asked.wait()
    later = msgspec.structs.replace(side.standing(), body=b"later", stored_at=2_000.0)
    side.store.entries[later.key] = later
    side.log.everyone.set()
    await pushing
    assert side.standing() == later


@pytest.mark.parametrize("why", ["purged", "store unavailable"])
async def test_what_cannot_be_stored_is_told_with_what_is_gone(side: Side, why: str) -> None:
    side.why_not = why
    (result,) = (await side()).results
    assert (result.code, result.id is not None) == (503, True)
    assert why in result.status and "is gone" in result.status
    assert side.push.statistics().failed == 1


async def test_nothing_is_stored_where_the_log_takes_nothing(side: Side) -> None:
    side.log.refuses = True
    with pytest.raises(StoreUnavailable):
        await side()
    assert not side.store.entries
    (line,) = await side.audit.lines()
    assert line.sequence == 0


async def test_a_log_that_is_lost_meanwhile(side: Side) -> None:
    side.log.lost = True
    outcome = await side()
    assert outcome.results[0].code == 503 and outcome.nodes is None


async def test_who_hangs_up_leaves_no_gap(side: Side) -> None:
    side.store.hold("put")
    pushing = asyncio.create_task(side())
    await side.store.reached("put")  # what stood there is gone by now
    pushing.cancel()
    await asyncio.gather(pushing, return_exceptions=True)
    side.store.go("put")
    async with asyncio.timeout(DEADLINE_S):
        await side.kept.wait()
    assert side.standing().source is Source.PUSHED


async def test_without_the_audit_log(side: Side) -> None:
    side.audit.away = True
    assert (await side()).results[0].status == "ok"
