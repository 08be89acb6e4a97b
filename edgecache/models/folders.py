"""Folders that are filled once, by whoever comes first, and are complete wherever they are seen."""

import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import platformdirs
from filelock import FileLock, Timeout

from edgecache.errors import ModelSourceError

logger = logging.getLogger(__name__)


def default_cache(environment: Mapping[str, str]) -> Path:
    """`EDGECACHE_MODELS`, or `models` in the platform's cache folder of edgecache."""
    chosen = environment.get("EDGECACHE_MODELS")
    return Path(chosen) if chosen else Path(platformdirs.user_cache_dir("edgecache")) / "models"


def fill_once(target: Path, fill: Callable[[Path], None]) -> Path:
    """`target`, which `fill` has written to, now or in an earlier call of any process on this machine.

    `fill` gets an empty folder beside `target`, which takes its name only when everything is on the disk; whatever an
    interrupted call left is swept away by the next. A folder that is there needs no right to write.

    Raises:
        ModelSourceError: the folder cannot be written to.
    """
    if target.is_dir():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked(target):
            if not target.is_dir():
                _fill(target, fill)
    except OSError as error:
        raise ModelSourceError(
            f"Cannot write the model folder {target}: {error}. Make it writable, free some space, or set "
            "EDGECACHE_MODELS to another folder."
        ) from error
    return target


@contextmanager
def _locked(target: Path) -> Iterator[None]:
    """Alone among threads and processes; says so where it has to wait."""
    lock = FileLock(target.with_name(f".{target.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logger.info("waiting for another process that prepares %s", target)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _fill(target: Path, fill: Callable[[Path], None]) -> None:
    part = target.with_name(f".{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    try:
        fill(part)
        _flush(part)
        part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _flush(folder: Path) -> None:
    """To the disk, so that not even a power cut leaves a complete name on half a file."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb+") as file:
                os.fsync(file.fileno())
