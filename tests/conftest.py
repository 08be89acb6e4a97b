"""For all rooms: what a test may need of the machine, and what tests tell."""

import os
from collections.abc import Iterator

import pytest

from edgecache.storage import redis_client, redis_connect
from edgecache.testing.redis_server import why_no_redis

PATIENCE = 60.0
"""Seconds in which a Redis must have answered: a busy machine may stand still for some. A url's `socket_timeout`
replaces it.
"""


@pytest.fixture(scope="session")
def redis_installed() -> None:
    """In CI its absence is a failure, elsewhere a skip."""
    if reason := why_no_redis():
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)


@pytest.fixture(scope="session", autouse=True)
def patient_with_redis() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(redis_client, "CALL_TIMEOUT", PATIENCE)
        for name in ("socket_timeout", "socket_connect_timeout"):
            patch.setitem(redis_connect._OPTIONS, name, PATIENCE)  # type: ignore[arg-type]
        yield


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests recorded under the name `told`, whichever process they ran in."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.getreports(kind)]
    for text in (text for report in reports for name, text in report.user_properties if name == "told"):
        terminalreporter.write_line(str(text))
