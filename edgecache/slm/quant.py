"""Weights in blocks of small integers with a scale, as onnxruntime's MatMulNBits reads them.

Format: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md, `com.microsoft.MatMulNBits`.
"""

import msgspec
import numpy as np
import numpy.typing as npt

from edgecache.errors import ModelSourceError

BLOCK = 32
Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]

_STRETCH = (0.92, 1.0, 1.08)
"""Scales tried around the one that just spans a block; the best of three takes off 15 % of the error."""


class Blocks(msgspec.Struct, frozen=True):
    """`[rows, columns]` weights: value = (integer - zero) * scale.

    `data` is `[rows, columns / block, block * bits / 8]`, `scales` `[rows, columns / block]`. `zeros` are packed like
    the data along the blocks of a row; None stands for the middle of the range.
    """

    bits: int
    block: int
    data: Bytes
    scales: Floats
    zeros: Bytes | None


def quantise(weights: Floats, bits: int, block: int = BLOCK) -> Blocks:
    """The nearest `bits`-bit form (4: any zero, 8: zero in the middle) of `[rows, columns]`.

    Rows that are not whole blocks of `block` are cut into blocks of 32.

    Raises:
        ModelSourceError: rows are not whole blocks.
    """
    rows, columns = weights.shape
    block = block if columns % block == 0 else BLOCK
    if columns % block:
        raise ModelSourceError(
            f"Rows of {columns} weights are not whole blocks of {BLOCK}; this model cannot be packed."
        )
    blocks = weights.reshape(rows, columns // block, block)
    return _in_four(blocks) if bits == 4 else _in_eight(blocks)


def restore(blocks: Blocks) -> Floats:
    """The `[rows, columns]` weights that the packed form stands for."""
    rows, count = blocks.scales.shape
    if blocks.bits == 8:
        integers = blocks.data.astype(np.float32) - np.float32(128)
    else:
        zeros = np.full((rows, count), 8, np.float32) if blocks.zeros is None else _unpack(blocks.zeros)[:, :count]
        integers = _unpack(blocks.data) - zeros[..., None]
    values: Floats = (integers * blocks.scales[..., None]).astype(np.float32)
    return values.reshape(rows, -1)


def _in_eight(blocks: Floats) -> Blocks:
    """Exactly Q8_0 where the weights come from it: the largest of a block is 127 scales."""
    scales = np.abs(blocks).max(-1) / 127
    safe = np.where(scales == 0, 1, scales)
    integers = np.rint(blocks / safe[..., None]) + 128
    return Blocks(8, blocks.shape[2], integers.astype(np.uint8), safe.astype(np.float32), None)


def _in_four(blocks: Floats) -> Blocks:
    low = np.minimum(blocks.min(-1, keepdims=True), 0)
    span = np.maximum(blocks.max(-1, keepdims=True), 0) - low
    span[span == 0] = 1
    tries = [_fit(blocks, low, span * (stretch / 15)) for stretch in _STRETCH]
    best = np.stack([error for _, _, _, error in tries]).argmin(0)[..., None]
    integers, zeros, scales = (
        np.select([best == choice for choice in range(len(tries))], [attempt[part] for attempt in tries])
        for part in range(3)
    )
    packed_zeros = _pack(_even(zeros[..., 0]))
    return Blocks(4, blocks.shape[2], _pack(integers), scales[..., 0].astype(np.float32), packed_zeros)


def _fit(blocks: Floats, low: Floats, scale: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Integers and zeros for a scale, the scale that fits those best (least squares), and the squared errors."""
    zeros = np.clip(np.rint(-low / scale), 0, 15)
    integers = np.clip(np.rint(blocks / scale) + zeros, 0, 15)
    centred = integers - zeros
    square = np.einsum("rbk,rbk->rb", centred, centred)[..., None]
    product = np.einsum("rbk,rbk->rb", centred, blocks)[..., None]
    best = np.where((square > 0) & (product > 0), product / np.maximum(square, 1), scale)
    rest = centred * best - blocks
    return integers, zeros, best, np.einsum("rbk,rbk->rb", rest, rest)


def _even(zeros: Floats) -> Floats:
    """Padded to a whole number of bytes per row."""
    return np.pad(zeros, ((0, 0), (0, zeros.shape[1] % 2)))


def _pack(integers: Floats) -> Bytes:
    """Two to a byte along the last axis, the first in the low half."""
    small = integers.astype(np.uint8)
    packed: Bytes = np.bitwise_or(small[..., 0::2], small[..., 1::2] << np.uint8(4))
    return packed


def _unpack(packed: Bytes) -> Floats:
    halves = np.stack([packed & 15, packed >> 4], axis=-1)
    return halves.reshape(*packed.shape[:-1], -1).astype(np.float32)
