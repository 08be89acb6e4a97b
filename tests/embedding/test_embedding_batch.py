"""The choice of what shares a pass."""

from hypothesis import given
from hypothesis import strategies as st

from edgecache.embedding.batch import MOST_PIECES, MOST_ROWS, choose, cost

lengths = st.lists(st.integers(2, 512), min_size=1, max_size=80)


@given(lengths)
def test_the_oldest_always_goes(waiting: list[int]) -> None:
    chosen = choose(waiting)
    assert chosen[0] == 0
    assert len(set(chosen)) == len(chosen)


@given(lengths)
def test_a_pass_is_bounded_and_never_dearer_than_one_each(waiting: list[int]) -> None:
    batch = [waiting[position] for position in choose(waiting)]
    assert len(batch) <= MOST_ROWS
    assert len(batch) * max(batch) <= MOST_PIECES
    assert cost(len(batch), max(batch)) <= sum(cost(1, length) for length in batch)


@given(st.integers(2, 24), st.integers(1, 40))
def test_equal_short_texts_fill_the_batch(length: int, waiting: int) -> None:
    assert len(choose([length] * waiting)) == min(waiting, MOST_ROWS)


def test_a_short_text_is_not_padded_to_a_long_one() -> None:
    assert choose([12, 200, 14, 12, 210, 9]) == [0, 3, 2, 5]
    assert choose([200, 12, 14, 205]) == [0, 3]
