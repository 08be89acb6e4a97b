"""Fixtures of the models tests."""

from pathlib import Path

import pytest
from tiny_wheel import Recorded


@pytest.fixture
def progress() -> Recorded:
    return Recorded()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that pip takes packages from; nothing outside this machine is asked."""
    folder = tmp_path / "index"
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.delenv("EDGECACHE_MODEL_WHEELS", raising=False)
    return folder
