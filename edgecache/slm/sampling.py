"""Which token comes next. Pure: randomness is an argument."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
_FIRST_TRY = 256
"""The nucleus is nearly always within the few likeliest tokens; sorting 49,152 takes a third of a step."""


def choose(logits: Floats, temperature: float, top_p: float, draw: float) -> int:
    """The token that `draw`, uniform in [0, 1), picks from `logits` `[vocabulary]`.

    Temperature 0 is greedy. Otherwise the softmax of logits / temperature, cut to the nucleus: the smallest set of the
    likeliest tokens whose probabilities add up to `top_p` (arXiv 1904.09751, section 3.1), at least one.
    """
    if temperature == 0:
        return int(logits.argmax())
    weights = _softmax(logits, temperature)
    tokens = _nucleus(weights, top_p)
    if tokens is None:
        return _pick(weights, draw)
    return int(tokens[_pick(weights[tokens], draw)])


def seeded(seed: int | None) -> np.random.Generator:
    """A generator of draws for one sequence; any integer is a seed, None is a different one every time."""
    return np.random.default_rng(None if seed is None else seed % (1 << 64))


def _softmax(logits: Floats, temperature: float) -> npt.NDArray[np.float64]:
    # The largest is taken off before the division, so that a tiny temperature gives zeros and not infinities.
    with np.errstate(over="ignore"):
        scaled = (logits.astype(np.float64) - logits.max()) / temperature
    weights = np.exp(scaled)
    shares: npt.NDArray[np.float64] = weights / weights.sum()
    return shares


def _nucleus(weights: npt.NDArray[np.float64], top_p: float) -> npt.NDArray[np.intp] | None:
    """Tokens of the nucleus, likeliest first and equals by id; None for all of them."""
    if top_p >= 1:
        return None
    for size in (_FIRST_TRY, len(weights)):
        tokens = _likeliest(weights, min(size, len(weights)))
        mass = weights[tokens].cumsum()
        if mass[-1] >= top_p:
            return tokens[: int(np.searchsorted(mass, top_p)) + 1]
    return None


def _likeliest(weights: npt.NDArray[np.float64], size: int) -> npt.NDArray[np.intp]:
    # All that weigh as much as the last one are taken in, so that equals are never told apart by the partition.
    floor = np.partition(weights, len(weights) - size)[len(weights) - size]
    tokens = np.flatnonzero(weights >= floor)
    return tokens[np.argsort(-weights[tokens], kind="stable")]


def _pick(weights: npt.NDArray[np.float64], draw: float) -> int:
    edges = weights.cumsum()
    return int(min(np.searchsorted(edges, draw * edges[-1], side="right"), len(weights) - 1))
