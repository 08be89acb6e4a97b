"""Soft purges, purges within one scope and purges by meaning, as the ledger keeps them."""

import struct
from collections.abc import Sequence

import pytest

from edgecache.core import meanings
from edgecache.core.entry import Entry, Framing, Horizon, Scope, Source
from edgecache.core.ledger import NEVER_FRESH, UNCOMPARED, Ledger
from edgecache.core.meaning import Meaning, similarity
from edgecache.core.meanings import MEANT, MEANT_IN_ALL
from edgecache.core.purges import Effect, Logged, PurgeRecord
from edgecache.core.tags import EVERYTHING, Kind, Tag, keys, within

LOG, TEAM, OTHER = "log-1", Scope("team"), Scope("other")
NORTH, EAST, NEARLY_NORTH = (struct.pack("<2f", *pair) for pair in ((0.0, 1.0), (1.0, 0.0), (0.28, 0.96)))


def soft(sequence: int, at: float, *tags: Tag) -> Logged:
    return Logged(sequence, PurgeRecord(f"p{sequence}", tags, at, Effect.SOFT))


def hard(sequence: int, *tags: Tag) -> Logged:
    return Logged(sequence, PurgeRecord(f"p{sequence}", tags, 0.0))


def meant(sequence: int, vector: bytes, radius: float, *, embedder: str = "e", scope: str = "") -> Logged:
    return Logged(sequence, PurgeRecord(f"p{sequence}", (), 0.0, meaning=Meaning(vector, embedder, radius, scope)))


def ledger(records: Sequence[Logged], **options: int) -> Ledger:
    made = Ledger(LOG, **options)
    for record in records:
        made.apply(record)
    return made


def at(sequence: int) -> Horizon:
    return Horizon(LOG, sequence)


def entry(vector: bytes | None, sequence: int = 0, *, scope: Scope = TEAM, compared_to: int = 0) -> Entry:
    return Entry(
        key=b"k" * 16,
        scope=scope,
        partition=b"p" * 16,
        question="?",
        vector=vector,
        embedder="e",
        tags=(EVERYTHING, Tag(Kind.SCOPE, scope)),
        horizon=at(sequence),
        stored_at=0.0,
        ttl=1.0,
        source=Source.UPSTREAM,
        route="r",
        model="m",
        dialect="openai",
        framing=Framing.JSON,
        content_type="application/json",
        headers=(),
        body=b"{}",
        compared_to=compared_to,
    )


# --- soft ---------------------------------------------------------------------------------------------------------


def test_a_soft_purge_makes_stale_and_kills_nothing() -> None:
    found = ledger([soft(1, 10.0, *keys("a"))])
    assert found.softened(keys("a"), at(0)) == 10.0
    assert found.softened(keys("b"), at(0)) is None
    assert found.softened(keys("a"), at(1)) is None
    assert found.killer(keys("a"), at(0)) is None


def test_what_several_soft_purges_name_is_stale_since_the_first_of_them() -> None:
    """It was that of the first tag: a later purge of another one made the answer servable again for a while."""
    found = ledger([soft(1, 10.0, *keys("b")), soft(2, 1_000.0, *keys("a"))])
    assert found.softened(keys("ab"), at(0)) == 10.0
    assert found.softened(keys("ab"), at(1)) == 1_000.0


def test_a_hard_purge_after_a_soft_one_kills() -> None:
    found = ledger([soft(1, 10.0, *keys("a")), hard(2, *keys("a"))])
    assert found.killer(keys("a"), at(0)) == Tag(Kind.KEY, "a")
    assert found.killer(keys("a"), at(1)) == Tag(Kind.KEY, "a")
    assert found.killer(keys("a"), at(2)) is None


def test_soft_purges_that_were_folded_are_stale_since_ever() -> None:
    found = ledger([soft(number, float(number), *keys([f"k{number}"])) for number in range(1, 50)], max_tombstones=3)
    assert found.softened(keys(["k49"]), at(0)) == 49.0
    assert found.softened(keys(["k1"]), at(0)) == NEVER_FRESH
    assert found.statistics().soft <= 3


def test_a_soft_purge_stops_a_joiner() -> None:
    found = ledger([soft(1, 10.0, *keys("a"))])
    assert found.stops_joiner(keys("a"), at(0), arrival=1)
    assert not found.stops_joiner(keys("a"), at(0), arrival=0)
    assert not found.stops_joiner(keys("b"), at(0), arrival=1)


# --- within a scope -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("room", [100, 1, 0])
def test_a_purge_within_a_scope_kills_there_only(room: int) -> None:
    found = ledger([hard(1, within(TEAM, *keys("a")))], max_tombstones=room)
    assert found.killer((*keys("a"), Tag(Kind.SCOPE, TEAM)), at(0)) is not None
    assert found.killer((*keys("a"), Tag(Kind.SCOPE, OTHER)), at(0)) is None
    assert found.killer((*keys("b"), Tag(Kind.SCOPE, TEAM)), at(0)) is None
    assert found.killer(keys("a"), at(0)) is None
    again = Ledger(LOG, max_tombstones=room)
    again.restore(found.snapshot())
    assert again.killer((*keys("a"), Tag(Kind.SCOPE, TEAM)), at(0)) is not None


def test_everything_of_a_scope() -> None:
    found = ledger([hard(1, within(TEAM, EVERYTHING))])
    assert found.killer((EVERYTHING, Tag(Kind.SCOPE, TEAM)), at(0)) == Tag(Kind.SCOPE, TEAM)
    assert found.killer((EVERYTHING, Tag(Kind.SCOPE, OTHER)), at(0)) is None


# --- by meaning ---------------------------------------------------------------------------------------------------


def test_similarity_is_the_cosine_of_unit_vectors() -> None:
    assert similarity(NORTH, NORTH) == 1.0
    assert similarity(NORTH, EAST) == 0.0
    assert similarity(NORTH, NEARLY_NORTH) == pytest.approx(0.96)


@pytest.mark.parametrize(("radius", "covered"), [(0.0, False), (0.03, False), (0.05, True), (1.0, True)])
def test_what_is_within_the_radius_is_dead(radius: float, covered: bool) -> None:
    found = ledger([meant(1, NORTH, radius)])
    assert (found.killer_of(entry(NEARLY_NORTH)) == Tag(Kind.MEANING, "p1")) is covered
    assert found.killer_of(entry(NORTH)) == Tag(Kind.MEANING, "p1")
    assert found.killer_of(entry(NEARLY_NORTH, sequence=1)) is None


def test_meaning_stays_within_its_scope() -> None:
    found = ledger([meant(1, NORTH, 0.1, scope=TEAM)])
    assert found.killer_of(entry(NORTH)) is not None
    assert found.killer_of(entry(NORTH, scope=OTHER)) is None
    assert found.killer_of(entry(None, scope=OTHER)) is None


def test_what_cannot_be_compared_is_not_served() -> None:
    found = ledger([meant(1, NORTH, 0.1)])
    assert found.killer_of(entry(None)) == UNCOMPARED
    assert found.killer_of(entry(None, compared_to=1)) is None
    assert ledger([meant(1, NORTH, 0.1, embedder="another")]).killer_of(entry(NORTH)) == UNCOMPARED


def test_what_was_compared_is_not_compared_again() -> None:
    found = ledger([meant(1, NORTH, 0.1), meant(2, EAST, 0.1)])
    assert found.killer_of(entry(EAST, compared_to=1)) == Tag(Kind.MEANING, "p2")
    assert found.killer_of(entry(EAST, compared_to=2)) is None


def test_old_ones_are_forgotten_by_killing_what_was_not_compared_with_them() -> None:
    found = ledger([meant(number, EAST, 0.0) for number in range(1, MEANT + 2)])
    assert found.statistics().meanings == MEANT
    assert found.killer_of(entry(NORTH)) == EVERYTHING
    assert found.killer_of(entry(NORTH, compared_to=1)) is None


def test_many_purges_by_meaning_of_one_scope_cost_no_other_scopes_entries() -> None:
    """They did: 70 calls of a token limited to one tenant killed all answers of all tenants."""
    found = ledger([meant(1, EAST, 0.0, scope=OTHER)])
    for number in range(2, 2 * MEANT_IN_ALL):
        found.apply(meant(number, EAST, 0.0, scope=f"token:m{number % 64}"))
    assert found.statistics().meanings <= MEANT_IN_ALL
    assert found.killer_of(entry(NORTH, scope=TEAM)) is None
    assert found.killer_of(entry(NORTH, scope=OTHER)) is None
    assert found.killer_of(entry(EAST, scope=OTHER)) == Tag(Kind.MEANING, "p1")
    assert found.killer_of(entry(NORTH, scope=Scope("token:m7"))) == EVERYTHING
    assert found.last_meant(TEAM) == 0
    assert found.last_meant(OTHER) == 1


def test_more_scopes_with_purges_by_meaning_than_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those not told apart share a floor; purges of every scope stay what they are."""
    monkeypatch.setattr(meanings, "SCOPES", 3)
    found = ledger([meant(number, EAST, 0.0, scope=f"s{number}") for number in range(1, 6)])
    found.apply(meant(6, EAST, 0.0))
    assert found.killer_of(entry(NORTH, sequence=1, scope=Scope("s5"))) is None
    found = ledger([meant(1, EAST, 0.0)])
    for number in range(2, 8):
        found.apply(meant(number, EAST, 0.0, scope=f"s{number}"))
    assert found.killer_of(entry(NORTH, sequence=4, scope=Scope("s2"))) == EVERYTHING
    assert found.killer_of(entry(NORTH, sequence=5, scope=Scope("s2"))) is None
    assert found.killer_of(entry(NORTH, sequence=5, scope=Scope("s7"))) is None
    assert found.killer_of(entry(EAST, sequence=5, scope=Scope("s7"))) == Tag(Kind.MEANING, "p7")
    found.apply(meant(8, EAST, 0.0))
    assert found.killer_of(entry(NORTH, sequence=7, scope=Scope("s2"))) is None
    assert found.killer_of(entry(EAST, sequence=7, scope=Scope("s2"))) == Tag(Kind.MEANING, "p8")
    again = Ledger(LOG)
    again.restore(found.snapshot())
    assert again.snapshot() == found.snapshot()
    assert again.statistics() == found.statistics()


def test_a_snapshot_brings_all_of_it_back() -> None:
    records = [soft(1, 10.0, *keys("a")), meant(2, NORTH, 0.1), hard(3, within(TEAM, *keys("b")))]
    found = ledger([*records, *(meant(number, EAST, 0.0) for number in range(4, MEANT + 5))])
    again = Ledger(LOG)
    again.restore(found.snapshot())
    assert again.statistics() == found.statistics()
    assert again.snapshot() == found.snapshot()
    assert again.softened(keys("a"), at(0)) == 10.0
    assert again.killer_of(entry(NORTH)) == found.killer_of(entry(NORTH)) == EVERYTHING


def test_a_snapshot_that_is_being_written_is_of_one_moment() -> None:
    found = ledger([hard(1, *keys("a")), soft(2, 5.0, *keys("s")), meant(3, NORTH, 0.1)])
    frozen, before = found.frozen(), found.snapshot()
    for sequence in range(4, 40):
        found.apply(hard(sequence, *keys([f"k{sequence}"])))
        found.apply(soft(sequence + 1, 6.0, *keys("t")))
    assert frozen.encode() == before
