"""What may break under three nodes that are processes of their own, while clients ask and owners purge."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest
from fault_load import HELD, ITEMS, QUESTION, Load, ends_well
from fault_nodes import CUT_OFF, Bench

from edgecache.settings import StoreSettings
from edgecache.testing.link import Link
from edgecache.testing.redis_server import RedisServer

ALL = range(3)
FILLED = range(1_000, 1_200)
"""Items that nobody else asks for."""
AS_SHIPPED = {"EDGECACHE_STORE_LEASE": "0s"}
Cut = Callable[[Link], Callable[[], None]]

# --- Redis ----------------------------------------------------------------------------------------------------------


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
    await load.nodes[0].chat(QUESTION)
    async with load:
        await load.more(60)
        load.excused.update(ALL)
        redis.kill()
        await goes_on_without(load)
        await asyncio.to_thread(redis.restart, keep_data=keep_data)
        await load.more(60)
    assert load.counts["purged"] and load.counts["waited"] and load.counts["HIT"]
    await load.nodes.converged()
    assert (await load.nodes[1].chat(QUESTION)).headers["X-Cache"] == "MISS", "what was cached is dead"
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
    first = await load.nodes[0].chat(QUESTION)
    async with load:
        await load.more(60)
        load.excused.update(ALL)
        redis.pause()
        await goes_on_without(load)
        redis.resume()
        await load.more(60)
    await load.nodes.converged()
    fills = load.fills
    again = await load.nodes[1].chat(QUESTION)
    assert (again.headers["X-Cache"], again.text, load.fills) == ("HIT", first.text, fills), "the log is the same"
    await ends_well(load)


@pytest.mark.slow
async def test_redis_is_stopped_for_ten_seconds(bench: Bench) -> None:
    """With the lease and the patience that a node has unless it is told otherwise."""
    async with RedisServer() as redis:
        members = [bench.process(n, redis.url, **AS_SHIPPED, EDGECACHE_STORE_URL=redis.url) for n in ALL]
        async with bench.loaded(members) as load:
            async with load:
                await load.more(60)
                load.excused.update(ALL)
                redis.pause()
                back = asyncio.get_running_loop().time() + 10
                await goes_on_without(load)
                await asyncio.sleep(back - asyncio.get_running_loop().time())
                redis.resume()
                await load.more(60)
            await ends_well(load)


async def test_store_and_log_roll_back_together(load: Load, redis: RedisServer) -> None:
    """What was purged since is in the store again, and the log knows nothing of it."""
    async with load:
        await load.more(60)
        redis.pause()
        await asyncio.to_thread(redis.save_aside)
        redis.resume()
        await load.more(60)
        load.excused.update(ALL)
        await asyncio.to_thread(redis.put_back)
        await load.more(60)
    await ends_well(load)


# --- the link between one node and Redis ----------------------------------------------------------------------------


def reset(link: Link) -> Callable[[], None]:
    """Connections break, and new ones too."""
    link.cut()
    return link.mend


def swallow(link: Link) -> Callable[[], None]:
    """Nothing comes back, on new connections neither; and what was on its way arrives in the end."""
    link.hold()
    return link.release


@pytest.mark.parametrize("cut", [reset, swallow])
async def test_one_node_is_cut_off(load: Load, link: Link, cut: Cut) -> None:
    async with load:
        await load.more(60)
        load.excused.add(CUT_OFF)
        mend = cut(link)
        told = []
        for item in range(5):  # some of them before its lease is over
            purged = await load.purge(item % 2, f"item-{item}", wait=True)
            assert purged is not None
            told.append(purged.json()["nodes"])
        assert told[0] == {"applied": 2, "blind": 1}, told
        assert told[-1] == {"applied": 2, "blind": 0}, "it was taken off the roll"
        assert await load.nodes[CUT_OFF].blind()
        for item in range(5):
            reply = await load.ask(CUT_OFF, item)
            assert reply is not None and reply.headers["X-Cache"] == "BYPASS"
        refused = await load.purge(CUT_OFF, "item-1")
        assert refused is not None and refused.status == 503
        await load.more(60)
        mend()
        await load.more(30)
    await ends_well(load)


async def test_a_rule_that_chose_to_serve_stale_does_and_says_so(load: Load, link: Link) -> None:
    cut_off = load.nodes[CUT_OFF]
    await cut_off.chat(QUESTION, model="stale-1")
    mend = swallow(link)
    purged = await load.purge(0, wait=True)
    assert purged is not None and purged.json()["serve_stale_routes"] == ["serves-stale"]
    fills = load.fills
    reply = await cut_off.chat(QUESTION, model="stale-1")
    assert (reply.headers["X-Cache"], load.fills) == ("HIT", fills)
    assert reply.headers["Cache-Status"].endswith("; detail=blind")
    new = await cut_off.chat(QUESTION, model="stale-2")
    assert new.headers["Cache-Status"] == "edgecache; fwd=bypass; fwd-status=200; detail=blind"
    mend()
    await ends_well(load)


# --- a node ---------------------------------------------------------------------------------------------------------


async def test_a_node_is_killed_while_it_fills_and_purges(load: Load) -> None:
    """Those who waited for its fills lose their answers, nobody else anything. What it acknowledged holds, on the
    others and on itself when it is back; what it did not proves nothing.
    """
    victim = load.nodes[0]
    async with load:
        await load.more(60)
        load.gate = gate = asyncio.Event()
        waiting = [asyncio.create_task(load.ask(0, item, model=HELD)) for item in range(10)]
        await load.until(lambda: load.held >= 10)
        load.dying.add(0)
        before = load.counts["purged"]
        orders = [asyncio.create_task(purge_on(load, 0)) for _ in range(4)]
        await load.until(lambda: load.counts["purged"] >= before + 40)
        victim.kill()
        load.gate = None
        gate.set()
        await asyncio.gather(*orders)
        assert await asyncio.gather(*waiting) == [None] * 10
        purged = await load.purge(1, "item-1", wait=True)
        assert purged is not None and purged.json()["nodes"] == {"applied": 2, "blind": 1}
        for item in range(10):
            reply = await load.ask(1, item, model=HELD)
            assert reply is not None and reply.headers["X-Cache"] == "MISS", "nothing of it was kept"
        await load.more(60)
        await victim.start()
    await ends_well(load)


async def test_a_node_stands_still_and_goes_on(load: Load) -> None:
    """As a machine does that swaps or is moved: what it finds waiting when it goes on was asked after the purge."""
    still = load.nodes[0]
    async with load:
        await load.more(30)
        load.dying.add(0)
        await load.ask(0, 1)
        still.pause()
        purged = await load.purge(1, "item-1", wait=True)
        assert purged is not None and purged.json()["nodes"] == {"applied": 2, "blind": 1}
        asked = [asyncio.create_task(load.ask(0, 1)) for _ in range(5)]
        await load.more(60)
        still.resume()
        for reply in await asyncio.gather(*asked):
            assert reply is not None and reply.status == 200
    await ends_well(load)


async def purge_on(load: Load, node: int) -> None:
    """Until it breaks off."""
    for number in itertools.count():
        if await load.purge(node, f"item-{number % ITEMS}") is None:
            return


# --- many purges ----------------------------------------------------------------------------------------------------


@pytest.fixture
async def unhurried(
    bench: Bench, shared_store: Callable[[RedisServer, str], Awaitable[StoreSettings]]
) -> AsyncIterator[Load]:
    """On three nodes that a busy machine does not cut off."""
    bench.patience = 30.0
    async with RedisServer() as server:
        store = await shared_store(server, StoreSettings().prefix)
        lease = {"EDGECACHE_STORE_LEASE": f"{store.lease:.0f}s"}
        async with bench.loaded([bench.process(number, store.url, **lease) for number in ALL]) as load:
            yield load


@pytest.mark.parametrize("calls", [40, pytest.param(400, marks=pytest.mark.slow)], ids=["10,240 keys", "102,400 keys"])
async def test_thousands_of_keys_are_purged_while_200_fills_run(unhurried: Load, calls: int) -> None:
    """As fast as three nodes take them. Every second fill is overtaken, by one key among 256."""
    load = unhurried
    load.gate = gate = asyncio.Event()
    filling = [asyncio.create_task(load.ask(item % 3, item, model=HELD)) for item in FILLED]
    await load.until(lambda: load.held == len(FILLED))
    async with load:
        await load.more(30)
        numbers = iter(range(calls))
        await asyncio.gather(*(purge_many(load, node, numbers, calls) for node in ALL))
    load.gate = None
    gate.set()
    replies = [reply.headers["Cache-Status"] for reply in await asyncio.gather(*filling) if reply is not None]
    overtaken = "edgecache; fwd=miss; fwd-status=200; stored=?0; detail=purged"
    assert [status == overtaken for status in replies] == [item % 2 == 0 for item in FILLED]
    await load.nodes.converged()
    for item in FILLED:
        reply = await load.ask((item + 1) % 3, item, model=HELD)
        assert reply is not None and reply.headers["X-Cache"] == ("HIT" if item % 2 else "MISS")
    await ends_well(load)
    for member in load.nodes:
        assert (await member.status())["ledger"]["tombstones"] >= 250 * calls


async def purge_many(load: Load, node: int, numbers: Iterator[int], calls: int) -> None:
    """256 keys a call; all calls together name each even item once."""
    for number in numbers:
        named = [f"item-{item}" for item in FILLED[::2][number::calls]]
        others = [f"other-{number}-{key}" for key in range(256 - len(named))]
        await load.purge(node, *named, *others, wait=number % 4 == 0)
