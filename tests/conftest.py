"""For all rooms: what a test may need of the machine."""

import os

import pytest

from edgecache.testing.redis_server import why_no_redis


@pytest.fixture(scope="session")
def redis_installed() -> None:
    """In CI its absence is a failure, elsewhere a skip."""
    if reason := why_no_redis():
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
