"""The graph in onnxruntime, with the keys and values of all rows in buffers that are allocated once.

A sequence is a row. Prefill runs on the slice of its row, decoding on the first `n` rows at once. The same memory is
bound as past and as present, so a step writes one position and copies nothing. To rewind is to call again with a
smaller length.
"""

import math
import mmap
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from edgecache.errors import ModelSourceError, ModelUnavailable
from edgecache.slm.description import Description

Floats = npt.NDArray[np.float32]


class Session:
    """`rows` sequences of up to `capacity` tokens. Used by one thread; only `stop` may be called from another.

    Raises:
        ModelSourceError: onnxruntime cannot load the graph.
    """

    def __init__(self, graph: Path, shape: Description, *, rows: int, capacity: int, threads: int) -> None:
        self.rows = rows
        self.capacity = capacity
        self._session = _load(graph, threads)
        size = (rows, shape.kv_heads, capacity, shape.head_size)
        names = [f"{part}_{layer}" for layer in range(shape.layers) for part in ("key", "value")]
        self._buffers = {name: _lazy_zeros(size) for name in names}
        self._decoders = [_Decoder(self._bind(0, count), count, shape.vocabulary) for count in range(1, rows + 1)]
        self._readers = [_Reader(self._bind(row, row + 1), shape.vocabulary) for row in range(rows)]
        self._options = ort.RunOptions()

    def __repr__(self) -> str:
        return f"<Session rows={self.rows} capacity={self.capacity} buffers={len(self._buffers)}>"

    def read(self, row: int, tokens: list[int], length: int) -> Floats:
        """Take in `tokens` after the first `length` of `row`; logits `[vocabulary]` after the last of them.

        The result is overwritten by the next call for this row.

        Raises:
            ModelUnavailable: it was stopped, or onnxruntime failed.
        """
        self._check(length + len(tokens))
        reader = self._readers[row]
        reader.prepare(tokens, length)
        self._run(reader.binding)
        logits: Floats = reader.logits[0, 0]
        return logits

    def decode(self, tokens: list[int], lengths: list[int]) -> Floats:
        """Take in one token for each of the first `len(tokens)` rows, which hold `lengths`; logits `[n, vocabulary]`.

        The result is overwritten by the next call for as many rows.

        Raises:
            ModelUnavailable: it was stopped, or onnxruntime failed.
        """
        self._check(max(lengths) + 1)
        decoder = self._decoders[len(tokens) - 1]
        decoder.prepare(tokens, lengths)
        self._run(decoder.binding)
        return decoder.logits[:, 0]

    def move(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` positions of a row over those of another."""
        for buffer in self._buffers.values():
            buffer[target, :, :length] = buffer[source, :, :length]

    def stop(self) -> None:
        """End the run that is under way, within a millisecond or two. Safe from any thread."""
        self._options.terminate = True

    def resume(self) -> None:
        """Allow runs again after `stop`."""
        self._options.terminate = False

    def _check(self, length: int) -> None:
        """Beyond the capacity, GroupQueryAttention writes out of range."""
        if not 0 < length <= self.capacity:
            raise AssertionError(f"{length} tokens in rows of {self.capacity}")

    def _run(self, binding: ort.IOBinding) -> None:
        try:
            self._session.run_with_iobinding(binding, self._options)
        except Exception as error:  # onnxruntime's errors have no other base
            raise ModelUnavailable(f"The local model could not go on: {error}") from error

    def _bind(self, first: int, end: int) -> ort.IOBinding:
        binding = self._session.io_binding()
        for name, buffer in self._buffers.items():
            part = buffer[first:end]
            binding.bind_input(f"past_{name}", "cpu", 0, np.float32, part.shape, part.ctypes.data)
            binding.bind_output(f"present_{name}", "cpu", 0, np.float32, part.shape, part.ctypes.data)
        return binding


class _Bound:
    """A binding with the small arrays that it reads and writes. The arrays live as long as the binding."""

    def __init__(self, binding: ort.IOBinding, rows: int, vocabulary: int) -> None:
        self.binding = binding
        self.logits: Floats = np.zeros((rows, 1, vocabulary), np.float32)
        self._lengths = np.zeros(rows, np.int32)
        self._total = np.zeros((), np.int32)
        self._last = np.zeros(1, np.int64)
        self._give("seqlens_k", self._lengths)
        self._give("total_length", self._total)
        self._give("last", self._last)
        logits = self.logits
        binding.bind_output("logits", "cpu", 0, np.float32, logits.shape, logits.ctypes.data)

    def _give(self, name: str, array: npt.NDArray[np.int32] | npt.NDArray[np.int64]) -> None:
        self.binding.bind_input(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)


class _Decoder(_Bound):
    """One token for each of the first rows."""

    def __init__(self, binding: ort.IOBinding, rows: int, vocabulary: int) -> None:
        super().__init__(binding, rows, vocabulary)
        self._ids = np.zeros((rows, 1), np.int64)
        self._give("ids", self._ids)

    def prepare(self, tokens: list[int], lengths: list[int]) -> None:
        self._ids[:, 0] = tokens
        self._lengths[:] = lengths
        self._total[()] = max(lengths) + 1


class _Reader(_Bound):
    """Any number of tokens for one row."""

    def __init__(self, binding: ort.IOBinding, vocabulary: int) -> None:
        super().__init__(binding, 1, vocabulary)
        self._ids = np.zeros((1, 1), np.int64)

    def prepare(self, tokens: list[int], length: int) -> None:
        self._ids = np.array([tokens], np.int64)
        self._give("ids", self._ids)
        self._lengths[0] = length + len(tokens) - 1
        self._total[()] = length + len(tokens)
        self._last[0] = len(tokens) - 1


def _lazy_zeros(shape: tuple[int, ...]) -> Floats:
    """Zeros of which a page takes memory when a sequence first reaches it.

    numpy asks for huge pages, and one of those is longer than a row: 8 short answers took 600 MB more.
    """
    pages = mmap.mmap(-1, 4 * math.prod(shape))
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        pages.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(pages, np.float32).reshape(shape)


def _load(graph: Path, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Spinning between operators gains nothing on an idle machine, and on a busy one takes the core from others.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        return ort.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no other base
        raise ModelSourceError(f"The converted model at {graph.parent} cannot be loaded; remove it: {error}") from error
