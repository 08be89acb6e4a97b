"""Since when a row stands unchanged, by a clock that the test moves."""

from edgecache.core.ports import Member
from edgecache.storage.redis_roll import Roll, row_of


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_row_says_who_has_applied_what() -> None:
    rows = {"a": row_of(7, 2.0, 1).encode(), "b": b"0 0.25 abc"}
    assert Roll(Clock()).take(rows) == {"a": Member(7, 2.0), "b": Member(0, 0.25)}


def test_silence_is_counted_from_when_the_row_was_seen() -> None:
    clock = Clock()
    roll, row = Roll(clock), row_of(7, 2.0, 1).encode()
    assert roll.silent("a", 7) is None
    roll.take({"a": row})
    clock.now += 1.5
    roll.take({"a": row})
    clock.now += 0.5
    assert roll.silent("a", 6) is None
    assert roll.silent("a", 7) == row
    assert repr(roll) == "<Roll ['a']>"


def test_being_heard_of_begins_it_anew() -> None:
    clock = Clock()
    roll = Roll(clock)
    for beat in range(3):
        roll.take({"a": row_of(7, 2.0, beat).encode()})
        clock.now += 1.9
        assert roll.silent("a", 7) is None


def test_who_is_gone_is_forgotten() -> None:
    clock = Clock()
    roll, row = Roll(clock), row_of(7, 2.0, 1).encode()
    roll.take({"a": row})
    roll.take({})
    clock.now += 9
    assert roll.silent("a", 7) is None
