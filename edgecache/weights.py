"""The models a node runs, from where they come to where they are loaded: fetched, checked, converted once, kept."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from edgecache import embedding, slm
from edgecache.core.ports import Embedder
from edgecache.embedding.onnx_embedder import OnnxEmbedder
from edgecache.embedding.sentence_transformers import SentenceTransformersEmbedder
from edgecache.models.fetch import fetch
from edgecache.models.folders import default_cache
from edgecache.models.pinned import MINILM, SMOLLM2
from edgecache.models.prepared import prepare
from edgecache.models.progress import Progress
from edgecache.models.sources import resolve
from edgecache.settings import EmbeddingSettings, LocalSettings
from edgecache.slm.generate import LocalModel

BUILT_IN = "smollm2-135m-instruct"
"""What the built-in local model is called."""


def cache_folder() -> Path:
    return default_cache(os.environ)


def embedding_folder(cache: Path, progress: Progress) -> Path:
    """The built-in embedding model, ready to be loaded. Blocking; the first call downloads."""
    return prepare(fetch(MINILM, cache, progress), cache, MINILM.name, embedding.VERSION, embedding.build, progress)


def local_folder(settings: LocalSettings, cache: Path, progress: Progress) -> Path:
    """The local model, ready to be loaded. Blocking; the first call downloads and converts."""
    built_in = settings.model == BUILT_IN
    source = fetch(SMOLLM2, cache, progress) if built_in else resolve(settings.model, cache, progress)
    return prepare(source, cache, SMOLLM2.name if built_in else "local-model", slm.VERSION, slm.build, progress)


def preparations(
    embedder: EmbeddingSettings, local: LocalSettings, cache: Path, progress: Progress
) -> list[Callable[[], Path]]:
    """What has to be done once before a node with these settings can start; each does nothing the second time."""
    steps: list[Callable[[], Path]] = []
    if embedder.backend == "built-in":
        steps.append(partial(embedding_folder, cache, progress))
    if local.model:
        steps.append(partial(local_folder, local, cache, progress))
    return steps


def make_embedder(settings: EmbeddingSettings, cache: Path, progress: Progress) -> Embedder:
    """Constructed, not opened."""
    if settings.backend == "sentence-transformers":
        return SentenceTransformersEmbedder(settings.model)
    return OnnxEmbedder(partial(embedding_folder, cache, progress), threads=settings.threads)


def local_names(settings: LocalSettings) -> tuple[str, ...]:
    """What callers may call the local model."""
    if not settings.model:
        return ()
    own = settings.model if settings.model == BUILT_IN else Path(settings.model).stem.lower()
    return ("local", own)


def make_local(settings: LocalSettings, cache: Path, progress: Progress) -> LocalModel | None:
    """Constructed, not opened; None where the settings want none."""
    if not settings.model:
        return None
    return LocalModel(
        local_names(settings)[-1],
        partial(local_folder, settings, cache, progress),
        rows=settings.rows,
        context=settings.context,
        queue=settings.queue,
        threads=settings.threads,
    )
