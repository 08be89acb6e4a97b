"""What the index says of its keys, for those who hold it against a store that changes meanwhile."""

from collections.abc import AsyncIterator

import pytest

from edgecache.cache.semantic import SemanticIndex
from edgecache.core.entry import Scope

ALICE, BOB = Scope("alice"), Scope("bob")
P, Q = b"p" * 16, b"q" * 16
VECTOR = b"\0\0\x80\x3f" + bytes(12)


@pytest.fixture
async def index() -> AsyncIterator[SemanticIndex]:
    made = SemanticIndex(4)
    await made.open()
    yield made
    await made.close()


async def test_what_it_knows(index: SemanticIndex) -> None:
    await index.add(ALICE, P, b"1", VECTOR)
    await index.add(ALICE, P, b"2", VECTOR)
    await index.add(BOB, Q, b"1", VECTOR)
    assert [(scope, partition, sorted(keys)) for scope, partition, keys in index.all_keys()] == [
        (ALICE, P, [b"1", b"2"]),
        (BOB, Q, [b"1"]),
    ]
    assert index.knows(ALICE, P, b"1")
    assert not index.knows(BOB, P, b"1")
    assert not index.knows(BOB, Q, b"2")
    index.discard(ALICE, P, b"1")
    assert not index.knows(ALICE, P, b"1")


async def test_partitions_that_go_while_all_keys_are_read(index: SemanticIndex) -> None:
    await index.add(ALICE, P, b"1", VECTOR)
    await index.add(BOB, Q, b"1", VECTOR)
    read = index.all_keys()
    next(read)
    index.discard(BOB, Q, b"1")
    await index.add(BOB, P, b"1", VECTOR)
    assert list(read) == []


async def test_additions_and_discards_are_changes_also_of_what_is_not_there(index: SemanticIndex) -> None:
    mark = index.mark()
    assert not index.changed(ALICE, P, b"1", mark)
    await index.add(ALICE, P, b"1", VECTOR)
    assert index.changed(ALICE, P, b"1", mark)
    assert not index.changed(ALICE, P, b"2", mark)
    assert not index.changed(BOB, P, b"1", mark)
    mark = index.mark()
    index.discard(ALICE, P, b"1")
    assert index.changed(ALICE, P, b"1", mark)
    mark = index.mark()
    index.discard(ALICE, P, b"1")
    assert index.changed(ALICE, P, b"1", mark)


async def test_what_is_refused_for_want_of_room_changes_too() -> None:
    index = SemanticIndex(4, budget=0)
    mark = index.mark()
    await index.add(ALICE, P, b"1", VECTOR)
    assert not index.knows(ALICE, P, b"1")
    assert index.changed(ALICE, P, b"1", mark)
