"""Where data that may not be in this repository lies: $EDGECACHE_DATA, else ../shared/data."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def data_folder(name: str) -> Path:
    """The folder of one data set; skips the test or module where it is absent."""
    folder = Path(os.environ.get("EDGECACHE_DATA") or ROOT.parent / "shared" / "data") / name
    if not folder.is_dir():
        pytest.skip(f"no data set {name}: set EDGECACHE_DATA to the folder that holds it", allow_module_level=True)
    return folder
