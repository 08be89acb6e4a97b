"""The ledger against a model that remembers everything: what the model says is dead never lives."""

import random

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from edgecache.core.entry import Horizon
from edgecache.core.floors import FrozenFloors
from edgecache.core.ledger import Ledger, Snapshot
from edgecache.core.purges import Effect, Logged, PurgeRecord
from edgecache.core.tags import EVERYTHING, Kind, Tag, keys, within
from edgecache.core.tombstones import BROAD_OF_SCOPE, Frozen

LOG = "log-1"
TAGS = (*keys("abcdefgh"), Tag(Kind.ID, "a"), Tag(Kind.ROUTE, "a"), Tag(Kind.MODEL, "a"), EVERYTHING)
tags = st.lists(st.sampled_from(TAGS), min_size=1, max_size=3).map(tuple)


def purge(sequence: int, *purged: Tag) -> Logged:
    return Logged(sequence, PurgeRecord(f"p{sequence}", purged, 0.0))


def ledger(*records: Logged, max_tombstones: int = 200_000) -> Ledger:
    found = Ledger(LOG, max_tombstones=max_tombstones)
    for record in records:
        found.apply(record)
    return found


def at(sequence: int) -> Horizon:
    return Horizon(LOG, sequence)


class Naive:
    """Every record ever seen, and the floor that a gap leaves."""

    def __init__(self) -> None:
        self.records: list[Logged] = []
        self.applied = self.floor = 0

    def apply(self, logged: Logged) -> None:
        if logged.sequence <= self.applied:
            return
        if logged.sequence > self.applied + 1:
            self.floor = logged.sequence
        self.applied = logged.sequence
        self.records.append(logged)

    def dead(self, carried: tuple[Tag, ...], horizon: Horizon) -> bool:
        if horizon.log != LOG or horizon.sequence < self.floor:
            return True
        later = (logged for logged in self.records if logged.sequence > horizon.sequence)
        return any(tag in carried for logged in later for tag in logged.record.tags)

    def purged_between(self, carried: tuple[Tag, ...], begun: int, arrival: int) -> bool:
        between = (logged for logged in self.records if begun < logged.sequence <= arrival)
        return any(tag in carried for logged in between for tag in logged.record.tags)


class Machine(RuleBasedStateMachine):
    """Rules 1, 2, 4, 6 and 7 of the promise. With room for all tombstones both must agree exactly."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Naive()
        self.ledger = Ledger(LOG)
        self.room = 200_000
        self.entries: list[tuple[tuple[Tag, ...], Horizon]] = []

    @initialize(room=st.sampled_from([0, 1, 2, 5, 200_000]))
    def size(self, room: int) -> None:
        self.room = room
        self.ledger = Ledger(LOG, max_tombstones=room)

    @rule(carried=tags)
    def fill(self, carried: tuple[Tag, ...]) -> None:
        self.entries.append((carried, self.ledger.horizon()))

    @rule(carried=tags, sequence=st.integers(0, 40), log=st.sampled_from([LOG, "log-2"]))
    def entry_from_elsewhere(self, carried: tuple[Tag, ...], sequence: int, log: str) -> None:
        self.entries.append((carried, Horizon(log, sequence)))

    def apply(self, logged: Logged) -> None:
        self.model.apply(logged)
        self.ledger.apply(logged)

    @rule(purged=tags)
    def purge(self, purged: tuple[Tag, ...]) -> None:
        self.apply(purge(self.model.applied + 1, *purged))

    @rule(purged=tags, missed=st.integers(1, 3))
    def gap(self, purged: tuple[Tag, ...], missed: int) -> None:
        self.apply(purge(self.model.applied + 1 + missed, *purged))

    @rule(purged=tags, back=st.integers(0, 5))
    def repeat(self, purged: tuple[Tag, ...], back: int) -> None:
        before = self.ledger.snapshot()
        self.apply(purge(max(0, self.model.applied - back), *purged))
        assert self.ledger.snapshot() == before

    @rule()
    def restart(self) -> None:
        snapshot, before = self.ledger.snapshot(), self.ledger.statistics()
        self.ledger = Ledger(LOG, max_tombstones=self.room)
        self.ledger.restore(snapshot)
        assert self.ledger.statistics() == before
        assert self.ledger.snapshot() == snapshot

    @invariant()
    def nothing_dead_lives(self) -> None:
        for carried, horizon in self.entries:
            killer = self.ledger.killer(carried, horizon)
            dead = self.model.dead(carried, horizon)
            assert killer is not None or not dead
            assert self.room < 200_000 or (killer is not None) == dead
            assert killer is None or killer in (*carried, EVERYTHING)

    @invariant()
    def no_joiner_gets_what_was_purged_before_it_came(self) -> None:
        for carried, horizon in self.entries:
            for arrival in {horizon.sequence, self.model.applied}:
                purged = self.model.purged_between(carried, horizon.sequence, arrival)
                assert self.ledger.stops_joiner(carried, horizon, arrival) or not purged

    @invariant()
    def memory_is_bounded(self) -> None:
        assert self.ledger.statistics().tombstones <= self.room
        assert self.ledger.applied == self.model.applied


Machine.TestCase.settings = settings(max_examples=100, stateful_step_count=30, deadline=None, derandomize=True)
TestLedger = Machine.TestCase


def test_unrelated_purges_kill_nothing() -> None:
    found = ledger(purge(1, *keys("a")))
    assert found.killer(keys("b"), at(0)) is None
    assert found.killer(keys("ba"), at(0)) == Tag(Kind.KEY, "a")


def test_kinds_are_apart() -> None:
    found = ledger(purge(1, Tag(Kind.KEY, "")))
    assert found.killer([EVERYTHING], at(0)) is None


def test_the_tags_are_not_even_looked_at_when_nothing_came_since() -> None:
    """The hot path of a hit: no purge since the fill, no work."""

    class Untouched:
        def __iter__(self) -> "Untouched":
            raise AssertionError("asked for tags")

    found = ledger(purge(1, *keys("a")), purge(2, *keys("b")))
    assert found.killer(Untouched(), found.horizon()) is None  # type: ignore[arg-type]


def test_the_fast_path_does_not_take_another_logs_horizon() -> None:
    found = ledger(purge(1, *keys("a")))
    assert found.killer([], Horizon("log-2", 1)) == EVERYTHING


def test_a_gap_kills_all_that_is_older_and_nothing_newer() -> None:
    found = ledger(purge(1, *keys("a")), purge(5, *keys("b")))
    assert [found.killer(keys("z"), at(sequence)) for sequence in (0, 1, 4, 5)] == [EVERYTHING] * 3 + [None]
    assert found.statistics().floor == 5


def test_a_log_that_begins_in_its_middle_is_a_gap() -> None:
    found = ledger(purge(7, *keys("b")))
    assert found.killer(keys("z"), at(0)) == EVERYTHING


def test_purges_after_a_joiner_arrived_do_not_stop_it() -> None:
    found = ledger(purge(1, *keys("a")))
    arrival = found.applied
    found.apply(purge(2, *keys("b")))
    assert found.stops_joiner(keys("b"), at(0), arrival=0) is False
    assert found.stops_joiner(keys("a"), at(0), arrival) is True
    assert found.stops_joiner(keys("c"), at(0), arrival) is False
    assert found.stops_joiner(keys("b"), at(1), arrival) is False


def test_folded_tombstones_kill_at_least_what_they_did() -> None:
    random.seed(7)
    named = [Tag(Kind.KEY, f"k{number}") for number in range(3_000)]
    exact, folded = ledger(), ledger(max_tombstones=10)
    for sequence in range(1, 3_001):
        logged = purge(sequence, named[sequence - 1], random.choice(named))
        exact.apply(logged)
        folded.apply(logged)
    for tag in named:
        last = exact.last_purge(tag)
        assert folded.killer([tag], at(last - 1)) == exact.killer([tag], at(last - 1)) == tag
    fresh = [Tag(Kind.KEY, f"fresh{number}") for number in range(3_000)]
    assert sum(folded.killer([tag], at(0)) is not None for tag in fresh) < 10


@pytest.mark.parametrize("room", [0, 3, 100])
def test_a_snapshot_brings_back_the_same_ledger(room: int) -> None:
    found = ledger(*(purge(sequence, *keys(["x", f"k{sequence}"])) for sequence in range(1, 20)), max_tombstones=room)
    again = Ledger(LOG, max_tombstones=room)
    again.restore(found.snapshot())
    assert again.statistics() == found.statistics()
    assert all(again.last_purge(tag) == found.last_purge(tag) for tag in keys(f"k{number}" for number in range(40)))
    for one in (found, again):
        one.apply(purge(20, *keys("y")))
    assert again.snapshot() == found.snapshot()


def test_restoring_forgets_no_purge() -> None:
    old = ledger(purge(1, *keys("a"))).snapshot()
    found = ledger(purge(1, *keys("a")), purge(2, *keys("b")))
    found.restore(old)
    assert found.killer(keys("b"), at(1)) == Tag(Kind.KEY, "b")


def test_a_snapshot_of_another_log_changes_nothing() -> None:
    found = Ledger("log-2")
    found.restore(ledger(purge(1, *keys("a"))).snapshot())
    assert found.statistics() == Ledger("log-2").statistics()


def test_a_damaged_snapshot_changes_nothing() -> None:
    whole = ledger(purge(1, *keys("ab")), max_tombstones=1).snapshot()
    empty = Ledger(LOG).statistics()
    damaged = [whole[:length] for length in range(60)]
    damaged += [whole[:number] + b"\xff" + whole[number + 1 :] for number in range(40)]
    damaged += [Snapshot(LOG, 9, 0, Frozen(floors=FrozenFloors(b"12345678"))).encode()]
    damaged += [Snapshot(LOG, 9, 0, Frozen(narrow=FrozenFloors(tops=(0, 3, 2)))).encode()]
    damaged += [msgspec.msgpack.encode((LOG, 9, 0, {}, b"\1" * 524_288, {}, b"", {}, (), 0))]  # as it was once
    for content in damaged:
        found = Ledger(LOG)
        found.restore(content)
        assert found.statistics() == empty or len(content) == len(whole)


def test_a_joiner_of_a_flight_that_began_under_another_log_is_stopped() -> None:
    """It was not: the new log counts from 1, and its sequences were held against the old one's."""
    found = Ledger("log-2")
    found.apply(purge(1, *keys("a")))
    assert found.stops_joiner(keys("a"), Horizon(LOG, 7), arrival=1)
    assert found.stops_joiner(keys("z"), Horizon(LOG, 7), arrival=1)


def test_a_joiner_is_stopped_by_a_gap_that_came_before_it() -> None:
    found = ledger(purge(1, *keys("a")), purge(5, *keys("b")))
    assert found.stops_joiner(keys("z"), at(1), arrival=5)
    assert not found.stops_joiner(keys("z"), at(5), arrival=5)


def test_a_record_that_cannot_be_read_kills_all_that_is_older() -> None:
    found = ledger(purge(1, *keys("a")), Logged(2, None), purge(3, *keys("b")))
    assert [found.killer(keys("z"), at(sequence)) for sequence in (0, 1, 2, 3)] == [EVERYTHING, EVERYTHING, None, None]
    assert found.statistics().unknown == 1
    assert found.statistics().floor == 2


def test_a_claim_purges_nothing() -> None:
    found = ledger(Logged(1, PurgeRecord("c", keys("a"), 0.0, Effect.CLAIM, claimed=("team", b"k"))))
    assert found.killer(keys("a"), at(0)) is None
    assert found.softened(keys("a"), at(0)) is None
    assert found.applied == 1


def test_an_empty_ledger_of_another_name_kills_all() -> None:
    found = ledger(purge(1, *keys("a")))
    found.reset("log-2")
    assert found.killer((), at(1)) == EVERYTHING
    assert found.killer((), found.horizon()) is None
    assert found.statistics() == Ledger("log-2").statistics()


def test_a_ledger_says_what_it_is() -> None:
    assert repr(ledger(purge(3, *keys("ab")))) == "<Ledger log-1 applied=3 floor=3 tombstones=2>"


# --- who purges what -----------------------------------------------------------------------------------------------


def of(scope: str, *others: Tag) -> tuple[Tag, ...]:
    """The tags of an entry."""
    shared = (Tag(Kind.ROUTE, "app"), Tag(Kind.MODEL, "m"), Tag(Kind.URL, "/v1/chat/completions"))
    return (EVERYTHING, Tag(Kind.SCOPE, scope), *shared, *others)


def test_what_many_entries_have_in_common_is_never_guessed() -> None:
    """It was: the first purge that folded into the floor of `all` purged the deployment."""
    found = Ledger(LOG, max_tombstones=100)
    for sequence in range(1, 2_001):
        found.apply(purge(sequence, *keys(f"k{sequence} {number}" for number in range(256))))
    assert found.killer(keys(["fresh"]), at(0)) is not None, "the floors are full"
    for tag in of("team")[:4]:
        assert found.killer([tag], at(0)) is None
    found.apply(purge(2_001, Tag(Kind.MODEL, "m")))
    assert found.killer(of("team")[:4], at(2_000)) == Tag(Kind.MODEL, "m")


def test_purges_within_a_scope_cost_no_other_scopes_entries() -> None:
    """They did: one token limited to a tenant killed all answers of all tenants by 200,000 keys of its own."""
    found = Ledger(LOG, max_tombstones=1_000)
    found.apply(purge(1, within("victim", *keys(["once"]))))
    for sequence in range(2, 1_002):
        found.apply(purge(sequence, *(within("mallory", *keys([f"k{sequence} {number}"])) for number in range(256))))
    assert found.killer(of("mallory", *keys(["fresh"])), at(1)) is not None, "its own entries pay"
    for scope in ("victim", "neighbour"):
        assert found.killer(of(scope, *keys(["fresh"])), at(0)) is None
    assert found.killer(of("victim", *keys(["once"])), at(0)) == within("victim", *keys(["once"]))
    assert found.statistics().tombstones <= 1_000


def test_names_of_models_purged_within_a_scope_are_bounded_and_cost_that_scope_alone() -> None:
    found = Ledger(LOG)
    for sequence in range(1, 10 * BROAD_OF_SCOPE):
        found.apply(purge(sequence, within("mallory", Tag(Kind.MODEL, f"m{sequence}"))))
    oldest = 9 * BROAD_OF_SCOPE
    assert found.killer(of("mallory"), at(oldest - 2)) is not None
    assert found.killer(of("mallory"), at(oldest)) is None
    assert found.killer(of("victim"), at(0)) is None
    assert found.killer((*of("mallory"), Tag(Kind.MODEL, f"m{oldest + 5}")), at(oldest + 4)) is not None


def test_a_restart_changes_nothing_of_who_purged_what() -> None:
    found = Ledger(LOG, max_tombstones=50)
    for sequence in range(1, 200):
        within_one = within("team", Tag(Kind.MODEL, f"m{sequence}"))
        found.apply(purge(sequence, *keys([f"k{sequence}"]), within("team", *keys([f"k{sequence}"])), within_one))
    again = Ledger(LOG, max_tombstones=50)
    again.restore(found.snapshot())
    assert again.snapshot() == found.snapshot()
    for number in range(0, 199, 7):
        for tags in (of("team"), of("team", *keys([f"k{number}"])), of("other", *keys([f"k{number}"]))):
            assert again.killer(tags, at(number)) == found.killer(tags, at(number))
