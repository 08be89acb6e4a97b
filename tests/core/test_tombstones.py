"""Tombstones against a dict that forgets nothing: they may say later than it was, never earlier."""

import random

import pytest

from edgecache.core.tags import Kind, Tag, keys
from edgecache.core.tombstones import FLOORS, Tombstones

NAMED = keys(f"k{number}" for number in range(2_000))


@pytest.mark.parametrize("room", [0, 1, 2, 5, 16, 100, 1_000, 5_000])
@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_forgotten(room: int, seed: int) -> None:
    randomness = random.Random(seed)
    tombstones, exact = Tombstones(room), dict[Tag, int]()
    for sequence in range(1, 1_500):
        tags = randomness.choices(NAMED, k=randomness.choice([1, 1, 1, 50]))
        tombstones.put(tags, sequence)
        exact.update(dict.fromkeys(tags, sequence))
        assert len(tombstones) <= room
    assert all(tombstones.last(tag) >= sequence for tag, sequence in exact.items())
    if room >= len(NAMED):
        assert all(tombstones.last(tag) == exact.get(tag, 0) for tag in NAMED)
    assert tombstones.floored == sum(1 for floor in tombstones._floors if floor)


@pytest.mark.parametrize("room", [3, 5_000])
def test_what_is_frozen_comes_back(room: int) -> None:
    one, other = Tombstones(room), Tombstones(room)
    for sequence, tag in enumerate(NAMED, 1):
        one.put([tag], sequence)
    other.unpack(*one.frozen())
    assert all(one.last(tag) == other.last(tag) for tag in NAMED)
    assert (len(one), one.floored, repr(one)) == (len(other), other.floored, repr(other))


def test_the_newest_are_remembered_one_by_one() -> None:
    tombstones = Tombstones(100)
    for sequence, tag in enumerate(NAMED, 1):
        tombstones.put([tag], sequence)
    assert 90 <= len(tombstones) <= 100
    assert all(tag in tombstones.frozen()[0] for tag in NAMED[-90:])
    tombstones.put([NAMED[-90]], 9_999)  # purged again: now the newest
    tombstones.put(keys(f"new{number}" for number in range(50)), 10_000)
    assert NAMED[-90] in tombstones.frozen()[0]


def test_all_that_is_newer_in_the_order_of_the_tags() -> None:
    tombstones = Tombstones(10)
    tombstones.put(keys("ab"), 1)
    tombstones.put(keys("bc"), 2)
    assert list(tombstones.all_newer(keys("dcba"), 0)) == [*keys("cba")]
    assert list(tombstones.all_newer(keys("dcba"), 1)) == [*keys("cb")]
    assert tombstones.newer(keys("dcba"), 2) is None


def test_tags_that_are_not_text_have_a_floor_too() -> None:
    tombstones = Tombstones(0)
    tombstones.put([Tag(Kind.KEY, "\udcff")], 7)
    assert tombstones.last(Tag(Kind.KEY, "\udcff")) == 7
    assert tombstones.floored == 1 < FLOORS
