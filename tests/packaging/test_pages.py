"""Documents name tests and files that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
ROOMS = sorted(path.name for path in (ROOT / "edgecache").iterdir() if path.is_dir() and path.name[0] != "_")
NO_PAGE = {"data", "testing"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_named_in_a_page_are_there(page: Path) -> None:
    for name in re.findall(r"`((?:tests|edgecache|docs|bench|docker)/[\w./*]+)`", page.read_text()):
        assert list(ROOT.glob(name.rstrip("/"))), name


def test_tests_named_in_the_threat_model_are_in_the_files_named() -> None:
    rows = (ROOT / "THREAT_MODEL.md").read_text().splitlines()
    for row in rows:
        files = re.findall(r"`(tests/\S+\.py)`", row)
        for name in re.findall(r"`(test_\w+)`", row):
            assert any(f"def {name}(" in (ROOT / file).read_text() for file in files), name


@pytest.mark.parametrize("room", sorted(set(ROOMS) - NO_PAGE))
def test_every_room_has_a_page(room: str) -> None:
    architecture = (ROOT / "docs" / "architecture.md").read_text()
    row = next(line for line in architecture.splitlines() if line.startswith(f"| `{room}/` |"))
    pages = re.findall(r"\]\((\S+\.md)\)", row)
    assert pages
    assert all((ROOT / "docs" / page).exists() for page in pages)
