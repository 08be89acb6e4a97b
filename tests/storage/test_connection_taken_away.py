"""redis-py closes idle connections when the nodes of a Cluster change, also one that a command has just taken: then it
writes to None (redis-py 8.1; redis/redis-py#4287 is a relative). Seen while one primary of a Cluster of six was killed.
"""

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from redis.asyncio.connection import AbstractConnection
from storage_samples import SCOPE, entry

from edgecache.errors import StoreUnavailable
from edgecache.storage.redis import RedisStorage


class TakenAway:
    """The next command finds its connection closed by somebody else, after it was found open."""

    def __init__(self, error: type[Exception] | None) -> None:
        self._error = error
        self._send: Callable[..., Any] = AbstractConnection._send_packed_command
        self.happened = 0

    async def __call__(self, connection: AbstractConnection, command: Iterable[bytes]) -> None:
        if not self.happened:
            self.happened += 1
            connection._writer.close()  # type: ignore[union-attr]
            connection._reader = connection._writer = None
            if self._error is not None:
                raise self._error("'NoneType' object is not callable")
        await self._send(connection, command)


@pytest.mark.parametrize("error", [None, TypeError], ids=["as it is", "as it is on Python 3.12"])
async def test_a_connection_that_is_taken_away(
    make_node: Callable[..., RedisStorage], monkeypatch: pytest.MonkeyPatch, error: type[Exception] | None
) -> None:
    storage = make_node("one")
    await storage.open()
    await storage.store.put(entry(1))
    away = TakenAway(error)
    monkeypatch.setattr(AbstractConnection, "_send_packed_command", lambda *given: away(*given))
    with pytest.raises(StoreUnavailable):
        await storage.store.get(SCOPE, entry(1).key)
    assert away.happened
    assert await storage.store.get(SCOPE, entry(1).key) == entry(1)
    await storage.close()
