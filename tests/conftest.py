"""For all rooms: what a test may need of the machine, and what tests tell."""

import os

import pytest

from edgecache.testing.redis_server import why_no_redis


@pytest.fixture(scope="session")
def redis_installed() -> None:
    """In CI its absence is a failure, elsewhere a skip."""
    if reason := why_no_redis():
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests recorded under the name `told`, whichever process they ran in."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.getreports(kind)]
    for text in (text for report in reports for name, text in report.user_properties if name == "told"):
        terminalreporter.write_line(str(text))
