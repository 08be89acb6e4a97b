"""When a target is left alone, and when it is asked again."""

from asking import Clock
from hypothesis import given
from hypothesis import strategies as st

from edgecache.upstream.breaker import Breaker, Breaking, Pass, State

RULES = Breaking(window=10.0, least=4, share=0.5, rest=5.0)


def leave(breaker: Breaker) -> Pass:
    given_leave = breaker.admit()
    assert given_leave is not None
    return given_leave


def end(breaker: Breaker, *outcomes: bool | None) -> None:
    for ok in outcomes:
        breaker.settle(leave(breaker), ok=ok)


def opened(clock: Clock) -> Breaker:
    breaker = Breaker(RULES, clock)
    end(breaker, False, False, False, False)
    assert breaker.state is State.OPEN
    return breaker


def test_it_opens_by_the_share_that_fails() -> None:
    breaker = Breaker(RULES, Clock())
    end(breaker, True, True, True, False, False)
    assert (breaker.state, repr(breaker)) == (State.CLOSED, "<Breaker closed: 2 of 5 failed>")
    end(breaker, False)
    assert (breaker.state, breaker.wait, breaker.admit()) == (State.OPEN, 5.0, None)


def test_a_few_failures_say_nothing_nor_do_old_ones_nor_callers_who_left() -> None:
    clock = Clock()
    breaker = Breaker(RULES, clock)
    end(breaker, False, False, False, None, None)
    assert breaker.state is State.CLOSED
    clock.now += 10.0
    end(breaker, False, False, False)
    assert breaker.state is State.CLOSED
    end(breaker, False)
    assert breaker.state is State.OPEN


def test_half_open_lets_one_request_through() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += 4.9
    assert (breaker.state, breaker.admit()) == (State.OPEN, None)
    clock.now += 0.2
    assert (breaker.state, breaker.wait) == (State.HALF_OPEN, 0.0)
    trial = leave(breaker)
    assert (breaker.state, breaker.admit()) == (State.HALF_OPEN, None)
    breaker.settle(trial, ok=True)
    assert breaker.state is State.CLOSED
    end(breaker, False, False, False)
    assert breaker.state is State.CLOSED, "what failed before is forgotten"


def test_a_trial_that_fails_keeps_it_open() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += 5.0
    end(breaker, False)
    assert (breaker.state, breaker.wait) == (State.OPEN, 5.0)


def test_a_trial_whose_caller_left_is_followed_by_another_at_once() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += 5.0
    end(breaker, None)
    assert breaker.state is State.HALF_OPEN
    end(breaker, True)
    assert breaker.state is State.CLOSED


def test_a_trial_that_takes_long_does_not_hold_up_the_next_one() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += 5.0
    slow = leave(breaker)
    clock.now += 5.0
    end(breaker, True)
    assert breaker.state is State.CLOSED
    breaker.settle(slow, ok=False)
    assert (breaker.state, repr(breaker)) == (State.CLOSED, "<Breaker closed: 0 of 0 failed>")


def test_what_began_before_it_opened_tells_nothing_afterwards() -> None:
    clock = Clock()
    breaker = Breaker(RULES, clock)
    old = [leave(breaker) for _ in range(3)]
    end(breaker, False, False, False, False)
    breaker.settle(old[0], ok=True)
    assert breaker.state is State.OPEN
    clock.now += 5.0
    breaker.settle(old[1], ok=False)
    assert breaker.state is State.HALF_OPEN
    end(breaker, True)
    breaker.settle(old[2], ok=False)
    assert repr(breaker) == "<Breaker closed: 0 of 0 failed>"


def test_answers_that_break_later_count_too() -> None:
    breaker = Breaker(RULES, Clock())
    for _ in range(2):
        end(breaker, True)
        breaker.broke()
    assert breaker.state is State.OPEN
    breaker.broke()
    assert breaker.state is State.OPEN


STEPS = st.lists(st.tuples(st.sampled_from(["begin", "ok", "failed", "left"]), st.floats(0, 6)), max_size=80)


@given(STEPS)
def test_it_can_always_be_asked_again_once_its_rest_is_over(steps: list[tuple[str, float]]) -> None:
    clock = Clock()
    breaker = Breaker(RULES, clock)
    under_way: list[Pass] = []
    for step, seconds in steps:
        clock.now += seconds
        if step == "begin":
            is_open = breaker.state is State.OPEN
            admitted = breaker.admit()
            assert admitted is None or not is_open
            under_way += [admitted] if admitted else []
        elif under_way:
            breaker.settle(under_way.pop(0), ok={"ok": True, "failed": False, "left": None}[step])
        assert 0 <= breaker.wait <= RULES.rest
    clock.now += RULES.rest
    assert breaker.admit() is not None
