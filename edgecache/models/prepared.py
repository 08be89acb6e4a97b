"""Models as the node runs them: converted once from the form in which they come."""

import hashlib
from collections.abc import Callable
from pathlib import Path

from edgecache.errors import ModelSourceError
from edgecache.models.folders import fill_once
from edgecache.models.progress import Progress

Build = Callable[[Path, Path, Progress], None]
"""Reads the source (folder or file), writes into the empty folder given second."""


def prepare(source: Path, cache: Path, name: str, version: str, build: Build, progress: Progress) -> Path:
    """The folder that `build` made of `source`: now, or in an earlier call with the same name, version and files.

    `version` is that of the conversion, so that a newer edgecache converts again. Source files are told apart by name,
    size and second of change: reading gigabytes at every start would tell no more about files that nobody edits.

    Raises:
        ModelSourceError: there is no such source, it cannot be converted, or the cache cannot be written.
    """
    target = cache / f"{name}-{version}-{_digest(source)}"
    return fill_once(target, lambda folder: build(source, folder, progress))


def _digest(source: Path) -> str:
    try:
        files = [source] if source.is_file() else sorted(path for path in source.rglob("*") if path.is_file())
        if not files:
            raise ModelSourceError(f"There is no model at {source}. Give the path of a model file or folder.")
        facts = [(path.name, path.stat().st_size, int(path.stat().st_mtime)) for path in files]
    except OSError as error:
        raise ModelSourceError(f"Cannot read the model at {source}: {error}.") from error
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
