"""Data that is not part of the project."""

import json
import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def naughty() -> list[str]:
    """The big list of naughty strings."""
    beside = Path(__file__).parents[2].parent / "shared" / "data"
    path = Path(os.environ.get("EDGECACHE_DATA", beside)) / "blns" / "blns.json"
    if not path.exists():
        pytest.skip(f"there is no {path}")
    strings: list[str] = json.loads(path.read_text(encoding="utf-8"))
    return strings
