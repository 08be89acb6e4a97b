"""A Llama-family GGUF as what the graph is built from: hyperparameters, and weights in the half-split rotary layout."""

import math
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from edgecache.errors import ModelSourceError
from edgecache.slm.gguf_file import GgufFile

Floats = npt.NDArray[np.float32]


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """Hyperparameters. `context` is the longest sequence that the model was trained for, in tokens."""

    layers: int
    width: int
    hidden: int
    heads: int
    kv_heads: int
    head_size: int
    vocabulary: int
    context: int
    epsilon: float
    rotary_base: float
    rotary_scale: float


class Checkpoint:
    """Hyperparameters and weights of one file.

    Raises:
        ModelSourceError: not a GGUF file, not of the Llama family, or with parts that the graph has no place for.
    """

    def __init__(self, path: Path) -> None:
        self.file = GgufFile(path)
        self.shape = _read_shape(self.file)
        _check(self.file, self.shape)

    def __repr__(self) -> str:
        return f"<Checkpoint {self.file.path.name} {self.shape}>"

    def norm(self, name: str) -> Floats:
        """The scale of a normalisation, `[width]`."""
        return self._load(f"{name}.weight", (self.shape.width,))

    def embedding(self) -> Floats:
        """`[vocabulary, width]`."""
        return self._load("token_embd.weight", (self.shape.vocabulary, self.shape.width))

    def head(self) -> Floats:
        """The output head, `[vocabulary, width]`; the embedding where the two are tied."""
        if "output.weight" not in self.file.tensors:
            return self.embedding()
        return self._load("output.weight", (self.shape.vocabulary, self.shape.width))

    def attention_in(self, layer: int) -> Floats:
        """Query, key and value rows of a layer, stacked: `[(heads + 2 * kv_heads) * head_size, width]`."""
        shape = self.shape
        query = self._projection(layer, "attn_q", shape.heads)
        key = self._projection(layer, "attn_k", shape.kv_heads)
        value = self._projection(layer, "attn_v", shape.kv_heads)
        return np.concatenate([_half_split(query, shape.heads), _half_split(key, shape.kv_heads), value])

    def attention_out(self, layer: int) -> Floats:
        """`[width, heads * head_size]`."""
        return self._load(
            f"blk.{layer}.attn_output.weight", (self.shape.width, self.shape.heads * self.shape.head_size)
        )

    def feed_in(self, layer: int) -> Floats:
        """Gate and up rows of a layer, stacked: `[2 * hidden, width]`."""
        parts = (f"blk.{layer}.ffn_{part}.weight" for part in ("gate", "up"))
        return np.concatenate([self._load(name, (self.shape.hidden, self.shape.width)) for name in parts])

    def feed_out(self, layer: int) -> Floats:
        """`[width, hidden]`."""
        return self._load(f"blk.{layer}.ffn_down.weight", (self.shape.width, self.shape.hidden))

    def rotary(self, positions: int) -> tuple[Floats, Floats]:
        """Cosines and sines, each `[positions, head_size / 2]` (RoFormer, arXiv 2104.09864, equation 15)."""
        half = self.shape.head_size // 2
        frequencies = self.shape.rotary_base ** (-np.arange(half) / half) / self.shape.rotary_scale
        if "rope_freqs.weight" in self.file.tensors:
            frequencies = frequencies / self._load("rope_freqs.weight", (half,))
        angles = np.outer(np.arange(positions), frequencies)
        return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)

    def _projection(self, layer: int, part: str, heads: int) -> Floats:
        return self._load(f"blk.{layer}.{part}.weight", (heads * self.shape.head_size, self.shape.width))

    def _load(self, name: str, shape: tuple[int, ...]) -> Floats:
        found = self.file.info(name).shape
        if found != shape:
            raise ModelSourceError(f"{self.file.path.name}: tensor {name} has the shape {found}, not {shape}.")
        values = self.file.load(name)
        if not np.isfinite(values).all():
            raise ModelSourceError(f"{self.file.path.name}: tensor {name} holds values that are not numbers.")
        return values


def _half_split(rows: Floats, heads: int) -> Floats:
    """Undo the permutation by which GGUF stores rows for interleaved rotary: pairs (2i, 2i+1) become (i, i + half)."""
    by_pair = rows.reshape(heads, -1, 2, rows.shape[1])
    return by_pair.swapaxes(1, 2).reshape(rows.shape)


def _read_shape(file: GgufFile) -> Shape:
    fields = _Fields(file)
    if fields.text("general.architecture") != "llama":
        known = fields.text("general.architecture")
        raise ModelSourceError(f"{file.path.name} is of the architecture {known!r}; only 'llama' can be run here.")
    width, heads = fields.count("llama.embedding_length"), fields.count("llama.attention.head_count")
    scaled = file.metadata.get("llama.rope.scaling.type") == "linear"
    return Shape(
        layers=fields.count("llama.block_count"),
        width=width,
        hidden=fields.count("llama.feed_forward_length"),
        heads=heads,
        kv_heads=fields.count("llama.attention.head_count_kv", heads),
        head_size=fields.count("llama.attention.key_length", width // heads),
        vocabulary=file.info("token_embd.weight").shape[0],
        context=fields.count("llama.context_length"),
        epsilon=fields.number("llama.attention.layer_norm_rms_epsilon"),
        rotary_base=fields.number("llama.rope.freq_base", 10_000.0),
        rotary_scale=fields.number("llama.rope.scaling.factor", 1.0) if scaled else 1.0,
    )


class _Fields:
    """Metadata with its type checked."""

    def __init__(self, file: GgufFile) -> None:
        self._file = file

    def text(self, key: str) -> str:
        value = self._file.metadata.get(key)
        return value if isinstance(value, str) else ""

    def count(self, key: str, default: int | None = None) -> int:
        value = self._file.metadata.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 1 << 24:
            raise ModelSourceError(f"{self._file.path.name}: {key} is {value!r}, not a count.")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        value = self._file.metadata.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
            raise ModelSourceError(f"{self._file.path.name}: {key} is {value!r}, not a positive number.")
        return float(value)


def _check(file: GgufFile, shape: Shape) -> None:
    """Refuse what would be built into a graph that answers wrongly."""
    if shape.heads % shape.kv_heads or shape.head_size % 8:
        raise ModelSourceError(
            f"{file.path.name}: {shape.heads} heads of {shape.head_size} cannot share {shape.kv_heads}."
        )
    if file.metadata.get("llama.rope.dimension_count", shape.head_size) != shape.head_size:
        raise ModelSourceError(f"{file.path.name}: rotary positions on a part of a head only are not supported.")
    if file.metadata.get("llama.rope.scaling.type", "none") not in ("none", "linear"):
        raise ModelSourceError(f"{file.path.name}: only linear scaling of rotary positions is supported.")
    known = ("attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", "ffn_gate", "ffn_up", "ffn_down")
    layers = {f"blk.{layer}.{part}.weight" for layer in range(shape.layers) for part in known}
    outside = {"token_embd.weight", "output.weight", "output_norm.weight", "rope_freqs.weight"}
    strange = sorted(file.tensors.keys() - layers - outside)
    if strange:
        raise ModelSourceError(f"{file.path.name}: tensors that this architecture has no place for: {strange[:3]}.")
