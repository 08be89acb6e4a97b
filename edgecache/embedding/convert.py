"""Converts a published checkpoint, once, into the folder that `OnnxEmbedder` opens."""

import hashlib
import shutil
from pathlib import Path
from typing import Protocol

import msgspec

from edgecache.embedding.graph import write_embedder
from edgecache.embedding.weights import Shape, Weights, read_limit, read_shape
from edgecache.errors import ModelSourceError

VERSION = "1"
"""Of the conversion. Raise it with every change to what is written, so that folders are made anew."""

GRAPH = "embedder.onnx"
TOKENIZER = "tokenizer.json"
ABOUT = "embedder.json"

_LABEL = "converting the embedding model"


class Progress(Protocol):
    """Told how far the work is."""

    def step(self, label: str, done: int, total: int) -> None: ...


class About(msgspec.Struct, frozen=True):
    """What `embedder.json` says. `digest` is hexadecimal; `limit` counts word pieces, special ones included."""

    digest: str
    dimensions: int
    limit: int


def build(source: Path, out: Path, progress: Progress) -> None:
    """Read `model.safetensors`, `tokenizer.json` and, where there are any, the JSON configurations of folder
    `source`; write graph, weights, tokenizer and facts into folder `out`. Blocks for about a second.

    Raises:
        ModelSourceError: `source` holds no BERT encoder that can be converted.
    """
    progress.step(_LABEL, 0, 3)
    tokenizer = source / TOKENIZER
    if not tokenizer.exists():
        raise ModelSourceError(f"{source} has no {TOKENIZER}.")
    shutil.copyfile(tokenizer, out / TOKENIZER)
    weights = Weights(source / "model.safetensors")
    shape = read_shape(source, weights)
    progress.step(_LABEL, 1, 3)
    write_embedder(shape, weights, out / GRAPH)
    progress.step(_LABEL, 2, 3)
    about = About(_digest(source, shape), shape.hidden_size, read_limit(source, shape))
    (out / ABOUT).write_bytes(msgspec.json.encode(about))
    progress.step(_LABEL, 3, 3)


def _digest(source: Path, shape: Shape) -> str:
    """Of what makes the vectors. Taken from the source, not from the files written: nodes with another version of the
    onnx package write other bytes, yet their vectors compare."""
    digest = hashlib.sha256(repr((VERSION, shape)).encode())
    for name in ("model.safetensors", TOKENIZER):
        with (source / name).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]
