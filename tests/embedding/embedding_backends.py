"""What makes the embedders that one battery of tests is run against."""

import importlib.util
import json
import shutil
from pathlib import Path
from typing import ClassVar, Protocol

import pytest

from edgecache.embedding import OnnxEmbedder, SentenceTransformersEmbedder
from edgecache.embedding.batching import BatchingEmbedder

_MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
]

_FILES: dict[str, object] = {
    "modules.json": _MODULES,
    "sentence_bert_config.json": {"max_seq_length": 256, "do_lower_case": False},
    "1_Pooling/config.json": {"word_embedding_dimension": 384, "pooling_mode_mean_tokens": True},
    "tokenizer_config.json": {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 512},
    "config.json": {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "hidden_act": "gelu",
        "hidden_size": 384,
        "intermediate_size": 1536,
        "num_attention_heads": 12,
        "num_hidden_layers": 6,
        "max_position_embeddings": 512,
        "type_vocab_size": 2,
        "vocab_size": 30522,
        "layer_norm_eps": 1e-12,
    },
}


def write_published_folder(source: Path, folder: Path) -> None:
    """all-MiniLM-L6-v2 as its authors publish it, from the weights and the tokenizer of the pinned package."""
    for name in ("model.safetensors", "tokenizer.json"):
        shutil.copyfile(source / name, folder / name)
    for name, content in _FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content))


class Backend(Protocol):
    name: ClassVar[str]

    def make(self, folder: Path | None = None) -> BatchingEmbedder:
        """Over the model in `folder`, by default the pinned one."""


class Onnx:
    name: ClassVar = "onnx"

    def __init__(self, request: pytest.FixtureRequest, folder: Path) -> None:
        self._folder: Path = request.getfixturevalue("converted")

    @staticmethod
    def missing() -> str:
        return ""

    def make(self, folder: Path | None = None) -> BatchingEmbedder:
        return OnnxEmbedder(lambda: folder or self._folder)


class SentenceTransformers:
    name: ClassVar = "sentence-transformers"

    def __init__(self, request: pytest.FixtureRequest, folder: Path) -> None:
        write_published_folder(request.getfixturevalue("source"), folder)
        self._folder = folder

    @staticmethod
    def missing() -> str:
        found = importlib.util.find_spec("sentence_transformers")
        return "" if found else "the extra sentence-transformers is not installed"

    def make(self, folder: Path | None = None) -> BatchingEmbedder:
        return SentenceTransformersEmbedder(str(folder or self._folder))


BACKENDS = (Onnx, SentenceTransformers)
