"""What http-cache-tests are expected to come to, and what the page says of it."""

import re
from pathlib import Path

import msgspec

ROOT = Path(__file__).parents[2]


def test_the_page_tells_the_expected_figure() -> None:
    expected = msgspec.json.decode((ROOT / "bench" / "cache_tests_expected.json").read_bytes())
    required = expected["required"]
    passed = sum(result == "pass" for result in required.values())
    told = re.search(r"\*\*(\d+) of (\d+)\*\* required", (ROOT / "docs" / "http.md").read_text())
    assert told is not None and (int(told[1]), int(told[2])) == (passed, len(required))
    assert passed >= 130
