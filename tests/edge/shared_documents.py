"""Documents of the shared data, put in the way of a node: $EDGECACHE_DATA, else ../shared/data."""

import json
import os
import tarfile
from pathlib import Path

import pytest


def data_file(name: str) -> Path:
    """Skips the test where it is absent."""
    root = Path(os.environ.get("EDGECACHE_DATA") or Path(__file__).parents[2].parent / "shared" / "data")
    if not (root / name).is_file():
        pytest.skip(f"no data set {name}: set EDGECACHE_DATA to the folder that holds it")
    return root / name


def json_suite() -> list[tuple[str, bytes]]:
    """JSONTestSuite: names begin with y_ (valid), n_ (not) or i_ (as you like)."""
    found = []
    with tarfile.open(data_file("jsontestsuite/jsontestsuite.tar.gz")) as archive:
        for member in archive:
            content = archive.extractfile(member)
            name = member.name.rpartition("/")[2]
            if content is not None and name.endswith(".json") and name[:2] in ("y_", "n_", "i_"):
                found.append((name, content.read()))
    assert len(found) > 200
    return sorted(found)


def naughty_strings() -> list[str]:
    found = json.loads(data_file("blns/blns.json").read_text())
    assert len(found) > 400
    return [str(text) for text in found]


def smuggling_lines() -> list[bytes]:
    """Malformed Transfer-Encoding lines."""
    text = data_file("smuggling/gadgets.jsonl").read_text()
    return [bytes.fromhex(json.loads(line)["header_line_hex"]) for line in text.splitlines()]
