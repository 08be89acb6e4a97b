"""A Redis that hangs (SIGSTOP: it accepts connections and answers nothing) holds nobody up for long. A busy machine may
take longer, too, than these storages are patient: what must work is tried until it does.
"""

import asyncio
from collections.abc import AsyncIterator

import pytest
from storage_samples import SCOPE, at_last, entry, purge, take

from edgecache.errors import StoreUnavailable
from edgecache.storage import redis_client
from edgecache.storage.breaker import TIMEOUTS, TimedOut
from edgecache.storage.redis import RedisStorage
from edgecache.storage.redis_client import CONNECTIONS
from edgecache.testing.redis_server import RedisServer

CALLS = 200


@pytest.fixture
async def server(redis_installed: None) -> AsyncIterator[RedisServer]:
    async with RedisServer() as server:
        yield server


async def gets(storage: RedisStorage) -> list[BaseException | object]:
    calls = (storage.store.get(SCOPE, entry(number).key) for number in range(CALLS))
    async with asyncio.timeout(60):
        return await asyncio.gather(*calls, return_exceptions=True)


async def found(storage: RedisStorage) -> list[object]:
    """What calls found of which none failed."""
    outcomes = await gets(storage)
    failed = [outcome for outcome in outcomes if isinstance(outcome, StoreUnavailable)]
    if failed:
        raise failed[0]
    return [outcome for outcome in outcomes if outcome is not None]


async def test_a_crowd_waits_for_one_timeout_and_not_for_its_turn(server: RedisServer) -> None:
    """Only those that had a turn when the server stopped wait for it; the others fail as soon as three have."""
    storage = RedisStorage(f"{server.url}?socket_timeout=0.5")
    await at_last(storage.open)
    await asyncio.to_thread(server.pause)
    outcomes = await gets(storage)
    assert all(isinstance(outcome, StoreUnavailable) for outcome in outcomes)
    assert sum(isinstance(outcome, TimedOut) for outcome in outcomes) < CONNECTIONS + TIMEOUTS
    assert storage.statistics().breaker.refused > CALLS - CONNECTIONS - TIMEOUTS
    await asyncio.to_thread(server.resume)
    stored = entry(1)  # made once: it holds the time
    await at_last(lambda: storage.store.put(stored))
    assert await at_last(lambda: found(storage)) == [stored]
    await storage.close()


async def test_waiting_for_a_turn_counts_in_the_time_of_a_call(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here the turns are all taken by calls that never end: those behind them are told so."""
    monkeypatch.setattr(redis_client, "CALL_TIMEOUT", 0.5)
    client = redis_client.RedisClient(f"{server.url}?socket_timeout=60")
    await client.open()
    turns = client._turns
    for _ in range(CONNECTIONS):
        await turns.acquire()
    async with asyncio.timeout(60):
        outcomes = await asyncio.gather(*(client.call("PING") for _ in range(CALLS)), return_exceptions=True)
    assert all("no turn came in time" in str(outcome) for outcome in outcomes)
    for _ in range(CONNECTIONS):
        turns.release()
    assert await at_last(lambda: client.call("PING"))
    assert client.statistics().opened == 0
    await client.close()


async def test_a_follower_goes_on_when_the_server_does(server: RedisServer) -> None:
    storage = RedisStorage(f"{server.url}?socket_timeout=0.5")
    await at_last(storage.open)
    await at_last(lambda: storage.log.append(purge(1)))
    follower = storage.log.follow(0)
    async with asyncio.timeout(60):
        assert (await take(follower))[0].record == purge(1)
        waiting = asyncio.ensure_future(take(follower))
        await asyncio.to_thread(server.pause)
        await gets(storage)
        while storage.log.statistics().reconnects == 0:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(server.resume)
        await at_last(lambda: storage.log.append(purge(2)))
        heard = await waiting
        while heard[0].record != purge(2):  # purge 1 once more, where its first answer came too late
            heard = await take(follower)
    await follower.aclose()
    await storage.close()
