"""The graph computes what the reference computes, from every kind of file."""

from pathlib import Path

import numpy as np
import pytest
from tiny_llama import Reference, tokens, write_tiny

from edgecache.models import Silent
from edgecache.slm import Recipe, build, description
from edgecache.slm.graph import MODEL
from edgecache.slm.session import Session

IDS = [int(token) for token in np.random.default_rng(7).integers(0, len(tokens()), 40)]


def _session(folder: Path, rows: int = 3) -> Session:
    return Session(folder / MODEL, description.read(folder), rows=rows, capacity=64, threads=1)


def _built(folder: Path, recipe: Recipe, **options: object) -> tuple[Session, Reference]:
    path = write_tiny(folder / "tiny.gguf", **options)
    (folder / "built").mkdir()
    build(path, folder / "built", Silent(), recipe)
    return _session(folder / "built"), Reference(path, recipe)


@pytest.mark.parametrize("kind", ["F32", "F16", "Q8_0", "Q4_0", "Q4_1"])
@pytest.mark.parametrize("tied", [True, False])
def test_same_logits_as_the_reference(kind: str, tied: bool, tmp_path: Path) -> None:
    session, reference = _built(tmp_path, Recipe(accuracy=0), kind=kind, tied=tied)
    expected = reference.logits(IDS)
    np.testing.assert_allclose(session.read(1, IDS, 0), expected[-1], atol=1e-3)
    for length in range(30, 40):
        found = session.read(0, IDS[length : length + 1], length) if length > 30 else session.read(0, IDS[:31], 0)
        np.testing.assert_allclose(found, expected[length], atol=1e-3)


def test_four_bit_layers(tmp_path: Path) -> None:
    session, reference = _built(tmp_path, Recipe(bits=4, block=32, accuracy=0))
    np.testing.assert_allclose(session.read(0, IDS, 0), reference.logits(IDS)[-1], atol=1e-3)


def test_fast_products_are_close(tmp_path: Path) -> None:
    """The default: products in 8-bit integers are a little off, and no more."""
    session, reference = _built(tmp_path, Recipe())
    expected = reference.logits(IDS)[-1]
    assert np.abs(session.read(0, IDS, 0) - expected).max() < 0.05 * np.abs(expected).max()


def test_ragged_batch_is_each_row_alone(tiny: Path) -> None:
    together, alone = _session(tiny), _session(tiny, rows=1)
    lengths = [5, 17, 11]
    for row, length in enumerate(lengths):
        together.read(row, IDS[:length], 0)
    batched = together.decode([IDS[length] for length in lengths], lengths).copy()
    for row, length in enumerate(lengths):
        alone.read(0, IDS[:length], 0)
        np.testing.assert_allclose(batched[row], alone.decode([IDS[length]], [length])[0], atol=1e-4)


def test_rewinding_is_calling_with_a_smaller_length(tiny: Path) -> None:
    session = _session(tiny)
    first = session.read(0, IDS[:20], 0).copy()
    session.read(0, IDS[20:40], 20)
    np.testing.assert_allclose(session.read(0, IDS[10:20], 10), first, atol=1e-5)


def test_moved_row_goes_on_as_if_it_had_stayed(tiny: Path) -> None:
    session = _session(tiny)
    session.read(2, IDS[:20], 0)
    expected = session.read(2, IDS[20:21], 20).copy()
    session.move(2, 0, 20)
    np.testing.assert_array_equal(session.read(0, IDS[20:21], 20), expected)


def test_nothing_is_run_beyond_the_capacity(tiny: Path) -> None:
    session = _session(tiny)
    with pytest.raises(AssertionError, match="65 tokens in rows of 64"):
        session.read(0, [1], 64)
    with pytest.raises(AssertionError, match="65 tokens in rows of 64"):
        session.decode([1, 1], [3, 64])


def test_rotary_scaling_changes_positions(tmp_path: Path) -> None:
    options: dict[str, object] = {"llama__rope__scaling__type": "linear", "llama__rope__scaling__factor": 2.0}
    session, reference = _built(tmp_path, Recipe(accuracy=0), **options)
    assert np.abs(session.read(0, IDS, 0) - reference.logits(IDS)[-1]).max() > 1e-2
