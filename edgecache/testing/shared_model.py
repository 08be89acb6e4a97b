"""The built-in embedding model, loaded once for all nodes that tests start in one process: loading it takes longer than
all the rest of a start.
"""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from edgecache.app import App
from edgecache.embedding.encoder import Encoder, Row
from edgecache.embedding.onnx_embedder import OnnxEmbedder

_loaded: dict[Path, "_Shared"] = {}
_loading = threading.Lock()


class _Shared:
    """An encoder whose users have a thread each."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._one = threading.Lock()
        self.identity, self.dimensions, self.longest = encoder.identity, encoder.dimensions, encoder.longest

    def read(self, text: str) -> Row | None:
        with self._one:
            return self._encoder.read(text)

    def encode(self, rows: Sequence[Row]) -> Sequence[bytes]:
        with self._one:
            return self._encoder.encode(rows)


def share_model(app: App) -> None:
    """Call it before `app.open`. Another embedder than the built-in one stays as it is."""
    embedder = app._embedder
    if isinstance(embedder, OnnxEmbedder):
        load = embedder._load
        embedder._load = lambda: _once(app._cache, load)


def _once(cache: Path, load: Callable[[], Encoder]) -> Encoder:
    """In the thread of an embedder."""
    with _loading:
        if cache not in _loaded:
            _loaded[cache] = _Shared(load())
        return _loaded[cache]
