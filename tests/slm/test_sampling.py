"""Properties of choosing a token."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecache.slm.sampling import choose, seeded

logits_lists = st.lists(st.floats(-50, 50, width=32), min_size=1, max_size=600)
draws = st.floats(0, 1, exclude_max=True)
temperatures = st.floats(1e-30, 5)


def _array(values: list[float]) -> np.ndarray:
    return np.array(values, np.float32)


@given(logits_lists, draws)
def test_greedy_is_the_largest(values: list[float], draw: float) -> None:
    assert choose(_array(values), 0, 0.5, draw) == int(np.argmax(values))


@given(logits_lists, temperatures, st.floats(0, 1), draws)
def test_chosen_token_is_in_the_nucleus(values: list[float], temperature: float, top_p: float, draw: float) -> None:
    """Those strictly likelier than the chosen one hold less than `top_p` together."""
    token = choose(_array(values), temperature, top_p, draw)
    exact = _array(values).astype(np.float64)
    scaled = (exact - exact.max()) / temperature
    weights = np.exp(scaled) / np.exp(scaled).sum()
    likelier = weights[scaled > scaled[token]].sum()
    assert likelier < top_p or likelier == 0 or top_p >= 1 or likelier == pytest.approx(top_p)


@given(logits_lists, draws)
def test_no_top_p_takes_the_likeliest_only(values: list[float], draw: float) -> None:
    token = choose(_array(values), 1.0, 0.0, draw)
    assert values[token] == pytest.approx(max(values), abs=1e-5)


@given(logits_lists, temperatures, st.floats(0, 1), draws)
def test_same_arguments_same_token(values: list[float], temperature: float, top_p: float, draw: float) -> None:
    logits = _array(values)
    assert choose(logits, temperature, top_p, draw) == choose(logits.copy(), temperature, top_p, draw)


def test_frequencies_follow_the_probabilities() -> None:
    logits = np.log(np.array([0.5, 0.3, 0.2], np.float32))
    picks = [choose(logits, 1.0, 1.0, (i + 0.5) / 1_000) for i in range(1_000)]
    assert [picks.count(token) for token in range(3)] == pytest.approx([500, 300, 200], abs=1)


def test_nucleus_cuts_the_tail() -> None:
    logits = np.log(np.array([0.2, 0.5, 0.3], np.float32))
    picks = {choose(logits, 1.0, 0.7, i / 100) for i in range(100)}
    assert picks == {1, 2}


def test_flat_distribution_wider_than_the_first_try() -> None:
    logits = np.zeros(5_000, np.float32)
    assert choose(logits, 1.0, 0.9, 0.999) in (4_495, 4_496)
    assert choose(logits, 1.0, 0.9, 0.0) == 0


@pytest.mark.parametrize("seed", [0, -1, 2**63, 2**80])
def test_any_integer_is_a_seed(seed: int) -> None:
    assert seeded(seed).random() == seeded(seed).random()


def test_no_seed_is_another_every_time() -> None:
    assert seeded(None).random() != seeded(None).random()
