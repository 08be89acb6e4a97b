"""The embedder of a fresh installation: a converted BERT encoder in onnxruntime."""

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
import onnxruntime

from edgecache.embedding.batching import BatchingEmbedder
from edgecache.embedding.convert import ABOUT, GRAPH, TOKENIZER, About
from edgecache.embedding.encoder import LONGEST_PIECE, Row
from edgecache.embedding.tokens import Tokens


class OnnxEmbedder(BatchingEmbedder):
    """`prepare` returns the folder that `build` wrote; `open` calls it in the worker thread, and it may take its time.

    `threads` are those of one pass. On two cores that share their arithmetic units a second one gained nothing.
    """

    def __init__(self, prepare: Callable[[], Path], *, threads: int = 1, name: str = "all-MiniLM-L6-v2") -> None:
        super().__init__(lambda: OnnxEncoder(prepare(), threads, name), name)


class OnnxEncoder:
    """The backend: tokenizer and session over the folder that `build` wrote."""

    def __init__(self, folder: Path, threads: int, name: str) -> None:
        about = msgspec.json.decode((folder / ABOUT).read_bytes(), type=About)
        self.identity = f"{name}@{about.digest}"
        self.dimensions = about.dimensions
        self.longest = about.limit * LONGEST_PIECE
        self._tokens = Tokens(folder / TOKENIZER, about.limit)
        self._session = onnxruntime.InferenceSession(
            str(folder / GRAPH), _options(threads), providers=["CPUExecutionProvider"]
        )

    def read(self, text: str) -> Row | None:
        pieces = self._tokens.read(text)
        return None if pieces is None else Row(text, pieces)

    def encode(self, rows: Sequence[Row]) -> Sequence[bytes]:
        ids = np.zeros((len(rows), max(len(row.pieces) for row in rows)), np.int32)
        mask = np.zeros_like(ids)
        for at, row in enumerate(rows):
            ids[at, : len(row.pieces)] = row.pieces
            mask[at, : len(row.pieces)] = 1
        (vectors,) = self._session.run(None, {"ids": ids, "mask": mask})
        return [vector.astype("<f4").tobytes() for vector in vectors]


def _options(threads: int) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that spin while they wait for the next request would take the cores that serve it.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options
