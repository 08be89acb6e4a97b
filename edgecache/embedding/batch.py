"""Which of the waiting texts share one pass of the model. Pure."""

from collections.abc import Sequence

MOST_ROWS = 16
MOST_PIECES = 512
"""Per pass, padding included. Larger passes outgrow the processor's caches and cost more for each text."""

PASS_COST = 8
"""What a pass costs besides its pieces, in pieces: a text of 3 pieces takes as long as 11 pieces of a long one."""


def cost(rows: int, longest: int) -> int:
    """Of one pass over `rows` texts padded to `longest` pieces, in pieces."""
    return PASS_COST + rows * longest


def choose(lengths: Sequence[int]) -> list[int]:
    """Positions of the texts that go into the next pass; `lengths` are those of all that wait, oldest first.

    The oldest always goes, so nobody waits for ever. Others join it, most similar in length first, where padding
    costs less than a pass of their own.
    """
    chosen, longest = [0], lengths[0]
    for position in sorted(range(1, len(lengths)), key=lambda at: abs(lengths[at] - lengths[0])):
        rows, grown = len(chosen) + 1, max(longest, lengths[position])
        apart = cost(len(chosen), longest) + cost(1, lengths[position])
        if rows <= MOST_ROWS and rows * grown <= MOST_PIECES and cost(rows, grown) <= apart:
            chosen.append(position)
            longest = grown
    return chosen
