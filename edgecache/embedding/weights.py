"""Reads a BERT checkpoint as it is published: `config.json` and `model.safetensors`."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from edgecache.errors import ModelSourceError

T = TypeVar("T")
Array = npt.NDArray[np.float32]

_DTYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2")}


class Shape(msgspec.Struct, frozen=True):
    """What of `config.json` makes the graph. The defaults are all-MiniLM-L6-v2's."""

    model_type: str = "bert"
    hidden_act: str = "gelu"
    hidden_size: int = 384
    num_attention_heads: int = 12
    num_hidden_layers: int = 6
    max_position_embeddings: int = 512
    layer_norm_eps: float = 1e-12


class _SentenceConfig(msgspec.Struct, frozen=True):
    max_seq_length: int = 256


class _PoolingConfig(msgspec.Struct, frozen=True):
    pooling_mode_mean_tokens: bool


class Weights(Mapping[str, Array]):
    """The tensors of a safetensors file as float32, mapped, not read.

    Format: 8 bytes little-endian length of a JSON header, the header, then the tensors' bytes; offsets in the header
    count from its end (https://huggingface.co/docs/safetensors, section Format).

    Raises:
        ModelSourceError: the file cannot be read, or a tensor asked for is not in it as F32 or F16.
    """

    def __init__(self, path: Path) -> None:
        try:
            data = np.memmap(path, dtype=np.uint8, mode="r")
            start = 8 + int.from_bytes(data[:8].tobytes(), "little")
            header: dict[str, dict[str, Any]] = json.loads(data[8:start].tobytes())
        except (OSError, ValueError) as error:
            raise ModelSourceError(f"{path} is no safetensors file: {error}") from error
        self._tensors = {name: about for name, about in header.items() if name != "__metadata__"}
        self._data = data[start:]

    def __repr__(self) -> str:
        return f"<Weights tensors={len(self)} bytes={self._data.size}>"

    def __getitem__(self, name: str) -> Array:
        about = self._tensors.get(name)
        if about is None or about["dtype"] not in _DTYPES:
            raise ModelSourceError(f"The weights have no tensor {name!r} of type F32 or F16.")
        begin, end = about["data_offsets"]
        values = self._data[begin:end].view(_DTYPES[about["dtype"]]).reshape(about["shape"])
        return np.asarray(values, dtype=np.float32)

    def __contains__(self, name: object) -> bool:
        return name in self._tensors

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


def read_shape(source: Path, weights: Weights) -> Shape:
    """The shape of the encoder in folder `source`. A folder without `config.json` (the pinned package, of which only
    weights and tokenizer are kept) is taken for all-MiniLM-L6-v2.

    Raises:
        ModelSourceError: it is no BERT encoder with GELU, its vectors are not means over all pieces, or the weights
            have another shape than the configuration says.
    """
    shape = _read(source / "config.json", Shape) or Shape()
    if (shape.model_type, shape.hidden_act) != ("bert", "gelu"):
        raise ModelSourceError(f"{source} holds a {shape.model_type} with {shape.hidden_act}, not a BERT with gelu.")
    pooling = _read(source / "1_Pooling" / "config.json", _PoolingConfig)
    if pooling is not None and not pooling.pooling_mode_mean_tokens:
        raise ModelSourceError(f"The vectors of {source} are not means over the word pieces.")
    _check(shape, weights)
    return shape


def _check(shape: Shape, weights: Weights) -> None:
    width = weights["embeddings.word_embeddings.weight"].shape[1]
    if width != shape.hidden_size or f"encoder.layer.{shape.num_hidden_layers}.output.dense.bias" in weights:
        raise ModelSourceError(f"The weights (width {width}) do not fit the configuration: {shape}.")


def read_limit(source: Path, shape: Shape) -> int:
    """The most word pieces the model reads, special ones included. Position embeddings beyond the length that its
    authors trained it with (`max_seq_length`) exist, and are not used."""
    said = _read(source / "sentence_bert_config.json", _SentenceConfig) or _SentenceConfig()
    return min(said.max_seq_length, shape.max_position_embeddings)


def _read(path: Path, kind: type[T]) -> T | None:
    if not path.exists():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.MsgspecError) as error:
        raise ModelSourceError(f"{path} cannot be read: {error}") from error
