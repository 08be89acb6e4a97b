"""Names, paths and hub repositories."""

from pathlib import Path

import pytest

from edgecache.errors import ModelSourceError
from edgecache.models import BUILT_IN, Silent, resolve, sources


def test_built_in_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(sources, "fetch", lambda pin, cache, progress: asked.append(pin.name) or cache)
    for name in BUILT_IN:
        assert resolve(name, tmp_path, Silent()) == tmp_path
    assert asked == list(BUILT_IN)


def test_path_of_file_and_folder(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").touch()
    assert resolve(str(tmp_path), tmp_path, Silent()) == tmp_path
    assert resolve(str(tmp_path / "m.gguf"), tmp_path, Silent()) == tmp_path / "m.gguf"


def test_unknown_name_lists_the_known(tmp_path: Path) -> None:
    with pytest.raises(ModelSourceError, match=r"all-minilm-l6-v2, smollm2-135m-instruct.*hf:owner/name"):
        resolve("no-such-model", tmp_path, Silent())


def test_repository_is_asked_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, list[str] | None]] = []

    def snapshot(repository: str, allow_patterns: list[str] | None) -> str:
        asked.append((repository, allow_patterns))
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    (tmp_path / "q4.gguf").touch()
    assert resolve("hf:owner/name", tmp_path, Silent()) == tmp_path
    assert resolve("hf:owner/name/q4.gguf", tmp_path, Silent()) == tmp_path / "q4.gguf"
    assert asked == [("owner/name", None), ("owner/name", ["q4.gguf"])]
    with pytest.raises(ModelSourceError, match=r"no file 'q8\.gguf'"):
        resolve("hf:owner/name/q8.gguf", tmp_path, Silent())


@pytest.mark.parametrize("name", ["hf:", "hf:owner", "hf:/name", "hf:owner/"])
def test_half_a_repository_name(name: str, tmp_path: Path) -> None:
    with pytest.raises(ModelSourceError, match="is written hf:owner/name"):
        resolve(name, tmp_path, Silent())


def test_impossible_repository_name(tmp_path: Path) -> None:
    with pytest.raises(ModelSourceError, match="cannot be the name"):
        resolve("hf:own er/na..me", tmp_path, Silent())


def test_unreachable_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Port 9 of this machine: refused at once."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelSourceError, match="Could not download owner/name"):
        resolve("hf:owner/name", tmp_path, Silent())
