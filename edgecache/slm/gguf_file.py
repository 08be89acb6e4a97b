"""The header of a GGUF file, read with every length checked against the file.

The reader of the `gguf` package trusts lengths: a file that claims 2^40 array items keeps it busy for ever. Format:
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3, little-endian.
"""

import math
import mmap
import struct
from pathlib import Path

import gguf
import msgspec
import numpy as np
import numpy.typing as npt

from edgecache.errors import ModelSourceError

Value = bool | int | float | str | list[str] | npt.NDArray[np.generic] | None

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_MAX_DIMENSIONS = 4


class TensorInfo(msgspec.Struct, frozen=True):
    """Where a tensor lies. `shape` is outermost first; `start` and `size` are bytes of the file."""

    shape: tuple[int, ...]
    kind: int
    start: int
    size: int


class GgufFile:
    """Metadata and tensors of a GGUF file, mapped into memory.

    Raises:
        ModelSourceError: the file cannot be read, is cut, or is not a GGUF file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise ModelSourceError(f"Cannot read the model file {path}: {error}.") from error
        cursor = _Cursor(self._bytes, path)
        tensors, fields = _read_counts(cursor)
        self.metadata: dict[str, Value] = {}
        for _ in range(fields):
            key = cursor.string()
            self.metadata[key] = cursor.value(cursor.scalar("I"))
        self.tensors = _read_tensors(cursor, tensors, self.metadata.get("general.alignment", 32))

    def __repr__(self) -> str:
        return f"<GgufFile {self.path.name} fields={len(self.metadata)} tensors={len(self.tensors)}>"

    def load(self, name: str) -> npt.NDArray[np.float32]:
        """The tensor as float32, outermost dimension first.

        Raises:
            ModelSourceError: there is no such tensor.
        """
        info = self.info(name)
        raw = np.frombuffer(self._bytes, np.uint8, info.size, info.start)
        kind = gguf.GGMLQuantizationType(info.kind)
        if kind == gguf.GGMLQuantizationType.F32:
            return raw.view(np.float32).reshape(info.shape)
        rows = raw.reshape(*info.shape[:-1], -1)
        values: npt.NDArray[np.float32] = gguf.quants.dequantize(rows, kind)
        return values.reshape(info.shape)

    def info(self, name: str) -> TensorInfo:
        """Where tensor `name` lies.

        Raises:
            ModelSourceError: there is no such tensor.
        """
        info = self.tensors.get(name)
        if info is None:
            raise ModelSourceError(f"{self.path.name} has no tensor {name}; it is not a complete Llama-family model.")
        return info


class _Cursor:
    """Reads on from a place in the file, never beyond its end."""

    def __init__(self, data: mmap.mmap, path: Path) -> None:
        self._data = data
        self._path = path
        self.place = 0

    def wrong(self, what: str) -> ModelSourceError:
        return ModelSourceError(f"{self._path.name} is not a usable GGUF file: {what} at byte {self.place}.")

    def take(self, size: int) -> int:
        """Move past `size` bytes; where they start."""
        start = self.place
        if size > len(self._data) - start:
            raise self.wrong(f"{size} bytes are announced, {len(self._data) - start} are left")
        self.place = start + size
        return start

    def scalar(self, code: str) -> int:
        value: int = struct.unpack_from(f"<{code}", self._data, self.take(struct.calcsize(f"<{code}")))[0]
        return value

    def string(self) -> str:
        size = self.scalar("Q")
        start = self.take(size)
        return self._data[start : start + size].decode("utf-8", "replace")

    def value(self, kind: int) -> Value:
        if kind == _STRING:
            return self.string()
        if kind == _ARRAY:
            return self._array()
        if kind not in _SCALARS:
            raise self.wrong(f"there is no value type {kind}")
        return self.scalar(_SCALARS[kind])

    def _array(self) -> Value:
        kind, count = self.scalar("I"), self.scalar("Q")
        if kind == _STRING:
            if count * 8 > len(self._data):
                raise self.wrong(f"an array of {count} strings")
            return [self.string() for _ in range(count)]
        if kind not in _SCALARS:
            raise self.wrong(f"an array of type {kind}")
        dtype = np.dtype(f"<{_SCALARS[kind]}" if kind != 7 else "?")
        return np.frombuffer(self._data, dtype, count, self.take(count * dtype.itemsize))


def _read_counts(cursor: _Cursor) -> tuple[int, int]:
    if cursor.scalar("I") != gguf.GGUF_MAGIC:
        raise cursor.wrong("no GGUF magic")
    version = cursor.scalar("I")
    if version not in (2, 3):
        raise cursor.wrong(f"version {version}, where 2 and 3 are known")
    return cursor.scalar("Q"), cursor.scalar("Q")


def _read_tensors(cursor: _Cursor, count: int, alignment: Value) -> dict[str, TensorInfo]:
    if not isinstance(alignment, int) or not 0 < alignment <= 1 << 20:
        raise cursor.wrong(f"alignment {alignment!r}")
    found = {cursor.string(): _read_info(cursor) for _ in range(count)}
    base = cursor.place + -cursor.place % alignment
    for name, info in found.items():
        cursor.place = base
        cursor.take(info.start + info.size)
        found[name] = msgspec.structs.replace(info, start=base + info.start)
    return found


def _read_info(cursor: _Cursor) -> TensorInfo:
    dimensions = cursor.scalar("I")
    if not 0 < dimensions <= _MAX_DIMENSIONS:
        raise cursor.wrong(f"a tensor of {dimensions} dimensions")
    shape = tuple(reversed([cursor.scalar("Q") for _ in range(dimensions)]))
    kind, start = cursor.scalar("I"), cursor.scalar("Q")
    try:
        block, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType(kind)]
    except (KeyError, ValueError) as error:
        raise cursor.wrong(f"a tensor of unknown type {kind}") from error
    if shape[-1] % block:
        raise cursor.wrong(f"rows of {shape[-1]} values in blocks of {block}")
    return TensorInfo(shape, kind, start, math.prod(shape) // block * size)
