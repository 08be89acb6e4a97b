"""The budget of retries: what it gives over any stretch, whatever is asked of it when."""

import random

from asking import Clock
from hypothesis import given
from hypothesis import strategies as st

from edgecache.upstream import RetryBudget

STEPS = st.lists(st.tuples(st.sampled_from(["request", "retry", "given back"]), st.floats(0, 10)), max_size=60)


@given(STEPS)
def test_the_budget_never_gives_more_than_it_was_brought(steps: list[tuple[str, float]]) -> None:
    clock = Clock()
    budget = RetryBudget(clock, ratio=0.2, per_second=1.0, burst=3.0)
    requests = retries = 0
    for step, seconds in steps:
        clock.now += seconds
        if step == "request":
            budget.deposit()
            requests += 1
        elif step == "retry":
            retries += budget.withdraw()
        elif retries:
            budget.restore()
            retries -= 1
        assert 0 <= budget.tokens <= 3
        assert retries <= 0.2 * requests + (clock.now - 1_000.0) + 3 + 1e-9


def test_the_budget_fills_with_requests_and_with_time() -> None:
    clock = Clock()
    budget = RetryBudget(clock, ratio=0.2, per_second=1.0, burst=2.0)
    assert [budget.withdraw() for _ in range(3)] == [True, True, False]
    for _ in range(5):
        budget.deposit()
    assert [budget.withdraw() for _ in range(2)] == [True, False]
    clock.now += 1.0
    budget.deposit()
    assert [budget.withdraw() for _ in range(2)] == [True, False]


def test_what_was_not_used_is_given_back_but_never_more_than_fits() -> None:
    budget = RetryBudget(Clock(), burst=1.0)
    budget.restore()
    assert budget.tokens == 1
    assert budget.withdraw()
    assert not budget.withdraw()
    budget.restore()
    assert budget.withdraw()
    assert repr(budget) == "<RetryBudget 0.0 of 1>"


@given(st.integers(0, 2**32), st.floats(0, 0.599), st.integers(0, 3_000))
def test_attempts_are_at_most_1_2_a_request_over_any_thousand_requests(seed: int, pace: float, before: int) -> None:
    """Of the pool's own budget, within ten minutes: each request asks for as many retries as it can get, after any
    time in which it asked for none.
    """
    chance, clock = random.Random(seed), Clock()
    budget = RetryBudget(clock)
    for _ in range(before):
        budget.deposit()
        clock.now += 1.0
    attempts = 0
    for _ in range(1_000):
        clock.now += chance.uniform(0, pace)
        budget.deposit()
        attempts += 1
        while budget.withdraw():
            attempts += 1
    assert attempts <= 1_200
