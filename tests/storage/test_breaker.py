"""After three timeouts in a row calls fail at once for a second, then one is tried."""

import asyncio

import pytest

from edgecache.errors import StoreUnavailable
from edgecache.storage.breaker import REST, TIMEOUTS, Breaker, BreakerStatistics, TimedOut


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker("a server", clock)


def attempt(breaker: Breaker, outcome: BaseException | None = None) -> bool:
    """Whether a call that ends so was made."""
    made = False
    try:
        with breaker.attempt():
            made = True
            if outcome is not None:
                raise outcome
    except (StoreUnavailable, asyncio.CancelledError) as error:
        assert not made or error is outcome
    return made


def hang(breaker: Breaker, times: int = TIMEOUTS) -> None:
    for _ in range(times):
        assert attempt(breaker, TimedOut("no answer"))


def test_timeouts_in_a_row_open_it(breaker: Breaker) -> None:
    hang(breaker)
    assert not attempt(breaker)
    assert breaker.statistics() == BreakerStatistics(opened=1, refused=1)
    assert repr(breaker) == "<Breaker a server open, 3 timeouts in a row, 1 refused>"


@pytest.mark.parametrize("answer", [None, StoreUnavailable("wrong password")])
def test_any_answer_between_them_counts(breaker: Breaker, answer: StoreUnavailable | None) -> None:
    for _ in range(3):
        hang(breaker, TIMEOUTS - 1)
        assert attempt(breaker, answer)


def test_a_cancelled_call_says_nothing(breaker: Breaker) -> None:
    hang(breaker, TIMEOUTS - 1)
    assert attempt(breaker, asyncio.CancelledError())
    hang(breaker, 1)
    assert not attempt(breaker)


def test_after_a_rest_one_is_tried(breaker: Breaker, clock: Clock) -> None:
    hang(breaker)
    clock.now += REST - 0.01
    assert not attempt(breaker)
    clock.now += 0.01
    with breaker.attempt():
        assert "half open" in repr(breaker)
        assert not attempt(breaker)
    assert attempt(breaker)
    assert "closed" in repr(breaker)


def test_a_trial_that_hangs_is_followed_by_another_rest(breaker: Breaker, clock: Clock) -> None:
    hang(breaker)
    for _ in range(3):
        clock.now += REST
        hang(breaker, 1)
        assert not attempt(breaker)
    assert breaker.statistics().opened == 1


def test_a_trial_that_is_cancelled_is_followed_by_another(breaker: Breaker, clock: Clock) -> None:
    hang(breaker)
    clock.now += REST
    assert attempt(breaker, asyncio.CancelledError())
    assert attempt(breaker)
