"""The one Redis of three nodes is killed, stopped, started again with its data, with older data, and with nothing."""

import asyncio

import pytest
from fault_load import Load, ends_well

from edgecache.testing.redis_server import RedisServer

ALL = range(3)


async def goes_on_without(load: Load) -> None:
    """With no log to hear of: every answer is the upstream's, and no purge is said to be done."""
    await load.nodes.all_blind()
    for node in ALL:
        reply = await load.ask(node, node)
        assert (
            reply is not None and reply.headers["Cache-Status"] == "edgecache; fwd=bypass; fwd-status=200; detail=blind"
        )
        refused = await load.purge(node, "item-1", wait=bool(node))
        assert refused is not None and refused.status == 503
    await load.more(30)


@pytest.mark.parametrize("keep_data", [True, False], ids=["with its data", "without its data"])
async def test_redis_is_killed_and_comes_back(load: Load, redis: RedisServer, keep_data: bool) -> None:
    async with load:
        await load.more(90)
        load.excused.update(ALL)
        redis.kill()
        await goes_on_without(load)
        await asyncio.to_thread(redis.restart, keep_data=keep_data)
        await load.more(60)
    assert load.counts["purged"] and load.counts["waited"] and load.counts["HIT"]
    await ends_well(load)


async def test_redis_restarts_at_once(load: Load, redis: RedisServer) -> None:
    """Nobody need have noticed that it was away."""
    async with load:
        for _ in range(3):
            await load.more(40)
            load.excused.update(ALL)
            redis.restart()
        await load.more(40)
    await ends_well(load)


async def test_redis_is_stopped(load: Load, redis: RedisServer) -> None:
    """It accepts connections and answers nothing."""
    async with load:
        await load.more(90)
        load.excused.update(ALL)
        redis.pause()
        await goes_on_without(load)
        redis.resume()
        await load.more(60)
    await ends_well(load)
