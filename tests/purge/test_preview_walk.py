"""What a walk counts: living entries that the purge hits by the ledger's own rules, and no others."""

import asyncio
from array import array
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
import pytest
from purge_entries import SCOPE, entry

from edgecache.core.entry import Entry
from edgecache.core.ledger import Ledger
from edgecache.core.meaning import Meaning
from edgecache.core.purges import Effect, Logged, PurgeRecord
from edgecache.core.tags import Kind, Tag, keys, within
from edgecache.purge.preview import EXAMPLES, Preview, Walk

EAST, NORTH = array("f", (1, 0, 0, 0)).tobytes(), array("f", (0, 1, 0, 0)).tobytes()


class Store:
    """Entries in batches; where there is a barrier, the last batch never comes."""

    def __init__(self, *batches: Sequence[Entry], stuck: bool = False) -> None:
        self._batches = batches
        self._stuck = stuck

    async def scan(self) -> AsyncIterator[Sequence[Entry]]:
        for batch in self._batches:
            yield batch
        if self._stuck:
            await asyncio.Event().wait()


@pytest.fixture
def ledger() -> Ledger:
    return Ledger("log")


def record(*tags: str, effect: Effect = Effect.PURGE, name: str = "new") -> PurgeRecord:
    return PurgeRecord(name, keys(tags), 0.0, effect)


def meaning(vector: bytes = EAST, scope: str = "", name: str = "new", embedder: str = "e") -> PurgeRecord:
    return PurgeRecord(name, (), 0.0, meaning=Meaning(vector, embedder, 0.1, scope))


async def walk(ledger: Ledger, records: Sequence[PurgeRecord], *batches: Sequence[Entry], **options: Any) -> Preview:
    store: Any = Store(*batches, **options)
    return await Walk(store, ledger, records, now=50.0).run(5)


def ids(preview: Preview) -> list[int]:
    return [int(example.id, 16) for example in preview.examples]


@pytest.mark.parametrize("effect", [Effect.PURGE, Effect.SOFT])
async def test_what_carries_a_tag_in_every_batch(ledger: Ledger, effect: Effect) -> None:
    found = await walk(
        ledger, [record("a", "b", effect=effect)], [entry(1, "a"), entry(2, "c")], [], [entry(3, "b", "a")]
    )
    assert (found.count, ids(found), found.uncompared, found.complete) == (2, [1, 3], 0, True)


async def test_what_was_purged_before_is_not_hit_again(ledger: Ledger) -> None:
    ledger.apply(Logged(1, record("old", name="before")))
    found = await walk(ledger, [record("a")], [entry(1, "a", "old"), entry(2, "a", "old", sequence=1), entry(3, "a")])
    assert ids(found) == [2, 3]


async def test_what_is_stale_is_still_there(ledger: Ledger) -> None:
    ledger.apply(Logged(1, record("a", effect=Effect.SOFT, name="before")))
    assert (await walk(ledger, [record("a")], [entry(1, "a")])).count == 1


async def test_what_nobody_could_be_given_any_more_does_not_count(ledger: Ledger) -> None:
    expired, kept = entry(1, "a", ttl=50), msgspec.structs.replace(entry(2, "a", ttl=50), grace=10)
    assert ids(await walk(ledger, [record("a")], [expired, kept])) == [2]


async def test_within_a_scope(ledger: Ledger) -> None:
    tagged = msgspec.structs.replace(entry(1), tags=(*keys(["a"]), Tag(Kind.SCOPE, SCOPE)))
    for scope, count in ((SCOPE, 1), ("other", 0)):
        narrowed = PurgeRecord("new", (within(scope, keys(["a"])[0]),), 0.0)
        assert (await walk(ledger, [narrowed], [tagged])).count == count


async def test_by_meaning(ledger: Ledger) -> None:
    entries = [entry(1, vector=EAST), entry(2, vector=NORTH), entry(3, vector=None)]
    found = await walk(ledger, [meaning()], entries)
    assert (ids(found), found.uncompared) == ([1], 1)
    assert (await walk(ledger, [meaning(embedder="another")], entries)).uncompared == 3
    assert await walk(ledger, [meaning(scope="other")], entries) == Preview(0, 0, (), complete=True)
    found = await walk(ledger, [meaning(scope="other"), meaning(scope=SCOPE, vector=NORTH)], entries)
    assert (ids(found), found.uncompared) == ([2], 1)


async def test_a_purge_that_is_already_in_force_counts_what_it_hits(ledger: Ledger) -> None:
    """As where the answer to one tells how many went."""
    ledger.apply(Logged(1, meaning(name="before")))
    assert (await walk(ledger, [meaning()], [entry(1, vector=EAST)])).count == 0
    ledger.reset("log")
    ledger.apply(Logged(1, meaning()))
    assert (await walk(ledger, [meaning()], [entry(1, vector=EAST)])).count == 1


async def test_few_examples_and_all_counted(ledger: Ledger) -> None:
    found = await walk(ledger, [record("a")], [entry(number, "a") for number in range(EXAMPLES + 3)])
    assert (found.count, len(found.examples)) == (EXAMPLES + 3, EXAMPLES)
    assert {example.tags for example in found.examples} == {keys(["a"])}


async def test_when_the_time_is_up_it_tells_what_it_has(ledger: Ledger) -> None:
    store: Any = Store([entry(1, "a")], stuck=True)
    found = await Walk(store, ledger, [record("a")], now=50.0).run(0.05)
    assert (found.count, found.complete) == (1, False)


async def test_others_have_their_turn_while_it_walks(ledger: Ledger) -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(others())
    await walk(ledger, [meaning()], [entry(1, vector=EAST)] * 3_000)
    other.cancel()
    assert turns > 3
