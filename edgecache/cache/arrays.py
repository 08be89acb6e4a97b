"""The arrays of the semantic index, and how vectors enter as bytes. Arrays never leave this room."""

from typing import Any, TypeAlias

import faiss as _faiss
import numpy as np
import numpy.typing as npt

faiss: Any = _faiss
"""FAISS untyped: the stubs that it ships lack functions used here, and give others wrong parameters."""

Floats: TypeAlias = npt.NDArray[np.float32]
Tickets: TypeAlias = npt.NDArray[np.int64]
"""A row's name inside its partition: ascending, never used again. Rows move, tickets stay."""
Marks: TypeAlias = npt.NDArray[np.bool_]

UNIT_TOLERANCE = 1e-2


def parse_vector(vector: bytes, dimensions: int) -> Floats:
    """The unit vector (dimensions,) in `vector`, little-endian float32.

    Raises:
        ValueError: the length is not 4 * dimensions bytes, or it is no unit vector (NaN and infinity are none).
    """
    if len(vector) != 4 * dimensions:
        raise ValueError(f"a vector of {len(vector)} bytes, {4 * dimensions} expected")
    parsed = np.frombuffer(vector, dtype="<f4").astype(np.float32)
    square = float(np.vdot(parsed, parsed))
    if not abs(square - 1.0) <= UNIT_TOLERANCE:
        raise ValueError(f"a vector of squared length {square}, 1 expected")
    return parsed
