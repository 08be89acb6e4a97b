"""Tombstones against a dict that forgets nothing: they may say later than it was, never earlier."""

import random
from itertools import pairwise

import pytest

from edgecache.core import tombstones as module
from edgecache.core.floors import FLOORS, GENERATION, Floors, FrozenFloors
from edgecache.core.tags import EVERYTHING, Kind, Tag, apart, keys, within
from edgecache.core.tombstones import Tombstones

NAMED = keys(f"k{number}" for number in range(2_000))


def may_be_purged(tombstones: Tombstones, tag: Tag, after: int) -> bool:
    """As an entry with this tag, narrowed or not, finds it."""
    narrow = apart(tag)
    carried = [tag] if narrow is None else [Tag(Kind.SCOPE, narrow[0]), narrow[1]]
    return tombstones.newer(carried, after) is not None


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
    assert all(may_be_purged(tombstones, tag, sequence - 1) for tag, sequence in exact.items())
    assert all(tombstones.exact(tag) in (0, exact.get(tag, 0)) for tag in NAMED)
    if room >= len(NAMED):
        assert all(tombstones.exact(tag) == exact.get(tag, 0) for tag in NAMED)
        assert not any(may_be_purged(tombstones, tag, sequence) for tag, sequence in exact.items())


@pytest.mark.parametrize("room", [0, 3, 40, 5_000])
@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_forgotten_of_many_scopes(room: int, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """More scopes, models and routes than are told apart."""
    monkeypatch.setattr(module, "SHARES", 8)
    monkeypatch.setattr(module, "BROAD_OF_SCOPE", 2)
    monkeypatch.setattr(module, "BROAD_OF_ALL", 5)
    randomness = random.Random(seed)
    kinds = (Kind.KEY, Kind.KEY, Kind.ID, Kind.URL, Kind.ROUTE, Kind.MODEL)
    tombstones, exact = Tombstones(room), dict[Tag, int]()
    for sequence in range(1, 1_500):
        tag = Tag(randomness.choice(kinds), str(randomness.randrange(20)))
        inner = EVERYTHING if sequence < 100 else tag  # later it would hide that another tag was forgotten
        scoped = within(f"s{randomness.randrange(12)}", inner)
        purged = randomness.choice([tag, scoped, scoped])
        tombstones.put([purged], sequence)
        exact[purged] = sequence
        assert len(tombstones) <= room
        if sequence % 300 == 0:
            frozen = tombstones.frozen()
            tombstones = Tombstones(room)
            tombstones.unpack(frozen)
    assert all(may_be_purged(tombstones, tag, sequence - 1) for tag, sequence in exact.items())


@pytest.mark.parametrize("room", [3, 5_000])
def test_what_is_frozen_comes_back(room: int) -> None:
    one, other = Tombstones(room), Tombstones(room)
    for sequence, tag in enumerate(NAMED, 1):
        one.put([tag, within("team", tag)], sequence)
    other.unpack(one.frozen())
    assert other.frozen() == one.frozen()
    assert (len(one), one.floored, repr(one)) == (len(other), other.floored, repr(other))


def test_the_newest_are_remembered_one_by_one() -> None:
    tombstones = Tombstones(100)
    for sequence, tag in enumerate(NAMED, 1):
        tombstones.put([tag], sequence)
    assert 90 <= len(tombstones) <= 100
    assert all(tombstones.exact(tag) for tag in NAMED[-90:])
    tombstones.put([NAMED[-90]], 9_999)  # purged again: now the newest
    tombstones.put(keys(f"new{number}" for number in range(50)), 10_000)
    assert tombstones.exact(NAMED[-90]) == 9_999


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
    assert tombstones.newer([Tag(Kind.KEY, "\udcff")], 6) is not None
    assert 0 < tombstones.floored <= 4


def test_a_tag_within_a_scope_comes_apart() -> None:
    tag = Tag(Kind.KEY, "a\0b")
    assert apart(within("team", tag)) == ("team", tag)
    assert apart(tag) is None
    assert apart(Tag(Kind.WITHIN, "nothing of ours")) is None


def test_purges_of_all_scopes_and_within_one_keep_half_of_the_room_each() -> None:
    tombstones = Tombstones(1_000)
    tombstones.put(NAMED[:500], 1)
    for sequence in range(2, 50):
        tombstones.put((within("busy", *keys([f"{sequence} {number}"])) for number in range(100)), sequence)
    assert all(tombstones.exact(tag) == 1 for tag in NAMED[:500])
    for sequence in range(50, 100):
        tombstones.put(keys(f"{sequence} {number}" for number in range(100)), sequence)
    assert tombstones.exact(within("busy", *keys(["49 99"]))) == 49


# --- floors --------------------------------------------------------------------------------------------------------


def test_floors_never_sink() -> None:
    """More than 255 generations, and sequences that go back."""
    randomness = random.Random(5)
    floors, exact = Floors("log"), dict[Tag, int]()
    for number in range(300 * GENERATION):
        tag, sequence = Tag(Kind.KEY, str(number % 3_000)), max(1, number + randomness.randrange(-5_000, 5_000))
        if number % 13 == 0:
            floors.put("", tag, sequence)
            exact[tag] = max(exact.get(tag, 0), sequence)
    for tag, sequence in exact.items():
        assert floors.last("", tag) >= sequence


def test_many_generations_become_fewer_and_stay_in_order() -> None:
    floors = Floors("log")
    for number in range(600):
        floors._latest = GENERATION  # each begins one
        floors.put("", Tag(Kind.KEY, str(number)), number + 1)
        assert all(one <= other for one, other in pairwise(floors.frozen().tops))
        assert floors.frozen().is_sound()
    for number in range(600):
        assert number + 1 <= floors.last("", Tag(Kind.KEY, str(number))) <= max(number + 1 + 8, 2 * number)


def test_places_depend_on_the_log() -> None:
    """Who may purge cannot find tags that share floors without its name, which only nodes and admins know."""
    one, other = Floors("log-1"), Floors("log-2")
    differ = [one._of("", tag) != other._of("", tag) for tag in NAMED]
    assert all(differ)
    assert one._of("", NAMED[0]) == Floors("log-1")._of("", NAMED[0])


@pytest.mark.parametrize(("folded", "expected"), [(5_000, 0.00003), (20_000, 0.005), (65_536, 0.16), (200_000, 0.82)])
def test_how_many_others_seem_purged(folded: int, expected: float) -> None:
    """(1 - exp(-m / 65,536))^4: the share of tags that floors guess wrong, in docs/purge.md."""
    floors = Floors("seed 1")
    for number in range(folded):
        floors.put("", Tag(Kind.KEY, f"folded-{number}"), 1)
    others = 20_000
    wrong = sum(floors.last("", Tag(Kind.KEY, f"other-{number}")) > 0 for number in range(others))
    assert wrong / others == pytest.approx(expected, rel=0.15, abs=0.0003)


@pytest.mark.parametrize(
    ("behind", "expected"), [(190_000, 0.0), (210_000, 0.005), (220_000, 0.021), (250_000, 0.299), (300_000, 0.859)]
)
def test_how_long_entries_outlive_what_is_remembered(
    full: tuple[Tombstones, int], behind: int, expected: float
) -> None:
    """Entries with four tags of their own, and purges of other tags; the share that is dead is in docs/purge.md."""
    tombstones, newest = full
    broad = (EVERYTHING, Tag(Kind.SCOPE, "team"), Tag(Kind.ROUTE, "r"), Tag(Kind.MODEL, "m"))
    own = [(*broad, Tag(Kind.URL, f"/{n}"), Tag(Kind.ID, f"{n:032x}"), *keys([f"a{n}", f"b{n}"])) for n in range(3_000)]
    dead = sum(tombstones.newer(tags, newest - behind // 100) is not None for tags in own) / len(own)
    print(f"{behind:,} tags purged since: {100 * dead:.1f} % dead")
    assert dead == pytest.approx(expected, abs=0.0006)


@pytest.fixture(scope="module")
def full() -> tuple[Tombstones, int]:
    """600,000 different tags were purged, a hundred at a time."""
    tombstones = Tombstones(200_000, "seed 1")
    for sequence in range(1, 6_001):
        tombstones.put(keys(f"purged-{sequence}-{number}" for number in range(100)), sequence)
    return tombstones, 6_000


@pytest.mark.parametrize(
    "damaged",
    [
        FrozenFloors(b"1", (0,)),
        FrozenFloors(bytes(FLOORS - 1) + b"\1", (0,)),
        FrozenFloors(b"", ()),
        FrozenFloors(b"", (1,)),
        FrozenFloors(b"", (0, 2, 1)),
        FrozenFloors(b"", tuple(range(257))),
    ],
)
def test_damaged_floors_are_noticed(damaged: FrozenFloors) -> None:
    assert not damaged.is_sound()
    assert FrozenFloors(bytes(FLOORS - 1) + b"\1", (0, 7), 1).is_sound()
