"""Conversion happens once per version of the code and of the files."""

import threading
from pathlib import Path

import pytest

from edgecache.errors import ModelSourceError
from edgecache.models import Progress, Silent, default_cache, prepare


class Build:
    """Counts its calls; copies the source in upper case."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, source: Path, out: Path, progress: Progress) -> None:
        self.calls += 1
        text = (source if source.is_file() else source / "model.txt").read_text()
        (out / "built.txt").write_text(text.upper())


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "model.txt").write_text("weights")
    return folder


def test_built_once(source: Path, tmp_path: Path) -> None:
    build = Build()
    folders = {prepare(source, tmp_path / "cache", "m", "1", build, Silent()) for _ in range(3)}
    assert build.calls == 1
    assert (folders.pop() / "built.txt").read_text() == "WEIGHTS"
    assert not folders


def test_new_version_and_new_files_are_built_again(source: Path, tmp_path: Path) -> None:
    build = Build()
    first = prepare(source, tmp_path / "cache", "m", "1", build, Silent())
    second = prepare(source, tmp_path / "cache", "m", "2", build, Silent())
    (source / "model.txt").write_text("other weights")
    third = prepare(source, tmp_path / "cache", "m", "2", build, Silent())
    assert len({first, second, third}) == 3
    assert (third / "built.txt").read_text() == "OTHER WEIGHTS"


def test_one_file_as_source(source: Path, tmp_path: Path) -> None:
    folder = prepare(source / "model.txt", tmp_path / "cache", "m", "1", Build(), Silent())
    assert (folder / "built.txt").read_text() == "WEIGHTS"


def test_failed_build_leaves_nothing_and_can_be_tried_again(source: Path, tmp_path: Path) -> None:
    def broken(source: Path, out: Path, progress: Progress) -> None:
        (out / "half").write_text("half")
        raise ModelSourceError("not a model")

    with pytest.raises(ModelSourceError, match="not a model"):
        prepare(source, tmp_path / "cache", "m", "1", broken, Silent())
    assert not [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]
    assert prepare(source, tmp_path / "cache", "m", "1", Build(), Silent()).is_dir()


def test_threads_at_once_build_once(source: Path, tmp_path: Path) -> None:
    build, barrier = Build(), threading.Barrier(4)
    results: list[Path] = []

    def work() -> None:
        barrier.wait()
        results.append(prepare(source, tmp_path / "cache", "m", "1", build, Silent()))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert build.calls == 1
    assert len(set(results)) == 1
    assert len(results) == 4


def test_no_source(tmp_path: Path) -> None:
    with pytest.raises(ModelSourceError, match="no model at"):
        prepare(tmp_path / "absent", tmp_path / "cache", "m", "1", Build(), Silent())


def test_prepared_folder_needs_no_right_to_write(source: Path, tmp_path: Path) -> None:
    """Nothing is written beside it, so that the cache may be a read-only volume."""
    cache = tmp_path / "cache"
    first = prepare(source, cache, "m", "1", Build(), Silent())
    for path in cache.iterdir():
        if path != first:
            path.unlink()
    assert prepare(source, cache, "m", "1", Build(), Silent()) == first
    assert list(cache.iterdir()) == [first]


def test_default_cache() -> None:
    assert default_cache({"EDGECACHE_MODELS": "/somewhere"}) == Path("/somewhere")
    assert default_cache({}).name == "models"
