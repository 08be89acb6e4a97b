"""Any model of sentence-transformers, for those who bring their own. Needs the extra of the same name."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from edgecache.embedding.batching import BatchingEmbedder
from edgecache.embedding.encoder import LONGEST_PIECE, Row
from edgecache.errors import EmbeddingUnavailable


class SentenceTransformersEmbedder(BatchingEmbedder):
    """`model_name_or_path` is a folder, or a name that the package fetches from its hub when the embedder opens."""

    def __init__(self, model_name_or_path: str) -> None:
        super().__init__(lambda: _SentenceTransformersEncoder(model_name_or_path), model_name_or_path)


class _SentenceTransformersEncoder:
    def __init__(self, model_name_or_path: str) -> None:
        # Imported here because it is optional, and takes seconds.
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise EmbeddingUnavailable(
                f"sentence-transformers cannot be imported ({error}): pip install 'edgecache[sentence-transformers]'"
            ) from error
        self._model: Any = SentenceTransformer(model_name_or_path)
        self._prompt = self._model.prompts.get(self._model.default_prompt_name, "")
        self.dimensions = int(self._model.encode([""]).shape[1])
        self._limit = int(self._model.max_seq_length)
        self.longest = self._limit * LONGEST_PIECE
        self.identity = f"{model_name_or_path}@{_digest(self._model)}"

    def read(self, text: str) -> Row | None:
        pieces = self._model.tokenizer(self._prompt + text, truncation=False, verbose=False)["input_ids"]
        return Row(text, tuple(pieces)) if len(pieces) <= self._limit else None

    def encode(self, rows: Sequence[Row]) -> Sequence[bytes]:
        vectors = self._model.encode(
            [row.text for row in rows], batch_size=len(rows), normalize_embeddings=True, show_progress_bar=False
        )
        return [np.asarray(vector, "<f4").tobytes() for vector in vectors]


def _digest(model: Any) -> str:
    """Of the modules as they print themselves, and of all weights."""
    digest = hashlib.sha256(repr(model).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]
