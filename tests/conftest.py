"""For all rooms: what a test may need of the machine, and what tests tell."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator

import pytest

from edgecache.core.ports import UNKNOWN
from edgecache.core.units import Duration
from edgecache.settings import StoreSettings
from edgecache.storage import redis_client, redis_connect
from edgecache.storage.redis import RedisStorage
from edgecache.testing.redis_server import RedisServer, why_no_redis

PATIENCE = 60.0
"""Seconds in which a Redis must have answered: a busy machine may stand still for some. A url's `socket_timeout`
replaces it.
"""
LEASE = Duration(60)
"""For nodes that go on serving however long a busy machine lets them wait."""


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


@pytest.fixture
def shared_store() -> Callable[[RedisServer, str], Awaitable[StoreSettings]]:
    """What nodes share, by server and prefix, with a log that is there: none of them begins it. A log that begins has a
    member that stands for nodes of the one before; here are none, and a first purge does not wait a lease for them.
    """

    async def make(server: RedisServer, prefix: str) -> StoreSettings:
        storage = RedisStorage(server.url, prefix)
        await storage.open()
        await asyncio.to_thread(server.cli, "HDEL", f"{{{prefix}:log}}:nodes", UNKNOWN)
        await storage.close()
        return StoreSettings(url=server.url, prefix=prefix, lease=LEASE)

    return make


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests recorded under the name `told`, whichever process they ran in."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.getreports(kind)]
    for text in (text for report in reports for name, text in report.user_properties if name == "told"):
        terminalreporter.write_line(str(text))
