"""PurgeLog over the real logs: what `order` promises when it returns, restarts, other nodes, logs that lost data."""

import asyncio
from collections.abc import Awaitable, Callable
from math import isinf
from typing import Any

import pytest
from purge_sides import Begin, Side, end

from edgecache.core.entry import Horizon
from edgecache.core.ledger import Ledger
from edgecache.core.purges import Effect, Logged, PurgeRecord
from edgecache.core.tags import keys
from edgecache.errors import StoreUnavailable
from edgecache.settings import StoreSettings
from edgecache.storage import redis_log
from edgecache.storage.redis import RedisStorage
from edgecache.testing.redis_server import RedisServer

DEADLINE = 60.0
Make = Callable[[], Any]


async def until(side: Side, condition: Callable[[], bool]) -> None:
    """Return when it holds; asked after everything that is applied."""
    changed = asyncio.Event()
    side.log.on_applied(changed.set)
    async with asyncio.timeout(DEADLINE):
        while not condition():
            await changed.wait()
            changed.clear()


async def trimmed(side: Side, through: int) -> None:
    """Return when the log begins after `through`."""
    async with asyncio.timeout(DEADLINE):
        while (await side.storage.log.read(0))[0].sequence <= through:
            await asyncio.sleep(0)


def dead(side: Side, horizon: Horizon, *values: str) -> bool:
    return side.ledger.killer(keys(values), horizon) is not None


async def test_when_an_order_returns_it_is_in_the_log_and_in_force(make_storage: Make, begin: Begin) -> None:
    side = await begin(make_storage())
    horizon = side.ledger.horizon()
    ordered = await side.log.order(keys(["a", "b"]))
    assert dead(side, horizon, "a")
    assert dead(side, horizon, "b")
    assert not dead(side, horizon, "c")
    assert not dead(side, side.ledger.horizon(), "a")
    assert ordered.sequence == 1
    assert ordered.record == PurgeRecord("1", keys(["a", "b"]), 0.0)
    assert await side.storage.log.read(0) == [Logged(1, ordered.record)]


async def test_a_clock_that_runs_ahead_makes_no_window_longer(make_storage: Make, begin: Begin) -> None:
    """What a node with such a clock purges softly is stale here since now, not since later."""
    side = await begin(make_storage())
    horizon = side.ledger.horizon()
    await side.storage.log.append(PurgeRecord("1", keys(["a"]), 3_600.0, Effect.SOFT))
    await until(side, lambda: side.ledger.applied == 1)
    assert side.ledger.softened(keys(["a"]), horizon) == 0.0


async def test_orders_at_the_same_time_stay_dense_and_all_take_effect(make_storage: Make, begin: Begin) -> None:
    side = await begin(make_storage())
    horizon = side.ledger.horizon()
    await asyncio.gather(*(side.log.order(keys([f"k{n}"])) for n in range(100)))
    assert side.ledger.statistics().applied == 100
    assert side.ledger.statistics().floor == 0  # no gap was seen
    assert all(dead(side, horizon, f"k{n}") for n in range(100))
    assert [logged.sequence for logged in await side.storage.log.read(0)] == list(range(1, 101))
    assert side.log.statistics().ordered == 100


async def test_a_restart_knows_every_purge(make_storage: Make, begin: Begin) -> None:
    before = await begin(make_storage())
    horizon = before.ledger.horizon()
    await before.log.order(keys(["a"]))
    filled_between = before.ledger.horizon()
    await before.log.order(keys(["b"]))
    await end(before)
    after = await begin(make_storage())
    assert after.ledger.snapshot() == before.ledger.snapshot()
    assert dead(after, horizon, "a")
    assert not dead(after, filled_between, "a")
    assert dead(after, filled_between, "b")


async def test_a_restart_is_snapshot_and_tail(make_storage: Make, begin: Begin) -> None:
    before = await begin(make_storage(), snapshot_every=10)
    horizon = before.ledger.horizon()
    for number in range(47):
        await before.log.order(keys([f"k{number}"]))
    await trimmed(before, 10)
    kept = before.ledger.snapshot()
    await end(before)

    storage = make_storage()
    await storage.open()
    left = await storage.log.read(0)
    assert 7 < len(left) < 47
    snapshot = Ledger(storage.log.identity)
    snapshot.restore((await storage.registry.values("ledger"))["snapshot"])
    assert snapshot.applied + 1 >= left[0].sequence
    await storage.close()

    after = await begin(make_storage(), snapshot_every=10)
    assert after.ledger.snapshot() == kept
    assert after.ledger.statistics().floor == 0
    assert all(dead(after, horizon, f"k{number}") for number in range(47))


async def test_a_snapshot_that_is_gone_kills_rather_than_forgets(make_storage: Make, begin: Begin) -> None:
    before = await begin(make_storage(), snapshot_every=5)
    horizon = before.ledger.horizon()
    for number in range(30):
        await before.log.order(keys([f"k{number}"]))
    await trimmed(before, 10)
    await end(before)
    storage = make_storage()
    await storage.open()
    await storage.registry.remove("ledger", "snapshot")
    await storage.close()
    after = await begin(make_storage())
    assert dead(after, horizon, "k0")
    assert dead(after, horizon, "never purged")
    assert not dead(after, after.ledger.horizon(), "k0")


async def test_a_snapshot_that_cannot_be_kept_takes_nothing_back(
    make_storage: Make, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It failed an order that was in the log and in force, and was not tried again for 10,000 records."""
    storage = make_storage()
    side = await begin(storage, snapshot_every=3)
    registry = type(storage.registry)
    set_one = registry.set

    async def fails(*_: Any) -> None:
        raise StoreUnavailable("full")

    monkeypatch.setattr(registry, "set", fails)
    for number in range(5):
        await side.log.order(keys([f"k{number}"]))
    await until(side, lambda: side.ledger.applied == 5)
    assert await storage.registry.values("ledger") == {}
    monkeypatch.setattr(registry, "set", set_one)
    await side.log.order(keys(["last"]))
    async with asyncio.timeout(DEADLINE):
        while not await storage.registry.values("ledger"):
            await asyncio.sleep(0)


async def test_listeners_hear_of_every_purge_after_it_took_effect(make_storage: Make, begin: Begin) -> None:
    side = await begin(make_storage())
    seen: list[int] = []
    side.log.on_applied(lambda: seen.append(side.ledger.applied))
    await side.log.order(keys(["a"]))
    assert 1 in seen


@pytest.fixture
def shared(redis_server: RedisServer, tmp_path: Any) -> Make:
    return lambda: RedisStorage(redis_server.url, f"shared-{tmp_path.name}")


async def test_what_another_node_orders_comes_into_force_here(shared: Make, begin: Begin) -> None:
    one, two = await begin(shared()), await begin(shared())
    assert one.ledger.log == two.ledger.log
    horizon = two.ledger.horizon()
    await one.log.order(keys(["a"]))
    await until(two, lambda: dead(two, horizon, "a"))
    await asyncio.gather(*(side.log.order(keys([f"k{n}"])) for n in range(20) for side in (one, two)))
    for side in (one, two):
        await until(side, lambda side=side: side.ledger.applied == 41)
        assert side.ledger.statistics().floor == 0
        assert all(dead(side, horizon, f"k{n}") for n in range(20))
    assert one.ledger.snapshot() == two.ledger.snapshot() or one.ledger.statistics() == two.ledger.statistics()


async def test_a_part_of_what_a_node_has_to_catch_up_on_gives_it_no_lease(
    shared: Make, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second of three batches was taken for proof that the node had been up to date at the first."""
    monkeypatch.setattr(redis_log, "FOLLOW_BATCH", 10)
    side = await begin(shared())
    for number in range(25):
        await side.log.order(keys([f"k{number}"]))
    heard = [await anext(following) for following in [side.storage.log.follow(0)] for _ in range(4)]
    assert [len(one.records) for one in heard] == [10, 10, 5, 0]
    assert [isinf(one.sent) for one in heard] == [True, True, False, False]


async def test_an_order_waits_for_what_others_ordered_before_it(shared: Make, begin: Begin) -> None:
    """Its own sequence alone would be a gap, and a gap kills everything."""
    one, two = await begin(shared()), await begin(shared())
    await two.log.close()  # hears nothing by itself
    horizon = two.ledger.horizon()
    for number in range(5):
        await one.log.order(keys([f"k{number}"]))
    await two.log.order(keys(["own"]))
    assert two.ledger.statistics().floor == 0
    assert dead(two, horizon, "k3")
    assert not dead(two, horizon, "other")


async def test_a_log_that_lost_its_data_kills_everything_and_purging_works_again(begin: Begin) -> None:
    async with RedisServer() as server:
        one, two = await begin(RedisStorage(server.url)), await begin(RedisStorage(server.url))
        await one.log.order(keys(["a"]))
        await until(two, lambda: two.ledger.applied == 1)
        horizon = one.ledger.horizon()
        await asyncio.to_thread(server.restart, keep_data=False)
        for side in (one, two):
            await until(side, lambda side=side: side.ledger.log != horizon.log)
            assert dead(side, horizon, "anything")
        await until(one, lambda: one.ledger.log == two.ledger.log)
        fresh = one.ledger.horizon()
        await one.log.order(keys(["b"]))
        assert dead(one, fresh, "b")
        assert not dead(one, fresh, "a")
        await until(two, lambda: dead(two, fresh, "b"))


async def test_an_order_that_notices_the_loss_goes_into_the_new_log(begin: Begin) -> None:
    async with RedisServer() as server:
        side = await begin(RedisStorage(server.url))
        horizon = side.ledger.horizon()
        await side.log.close()  # so that it is the order that notices
        await asyncio.to_thread(server.restart, keep_data=False)
        ordered = await side.log.order(keys(["a"]))
        assert dead(side, horizon, "anything")
        assert (ordered.sequence, ordered.log) == (1, side.ledger.log)
        assert await side.storage.log.read(0) == [Logged(1, ordered.record)]


async def test_without_the_server_nothing_is_promised(begin: Begin) -> None:
    async with RedisServer() as server:
        side = await begin(RedisStorage(server.url))
        await asyncio.to_thread(server.kill)
        horizon = side.ledger.horizon()
        with pytest.raises(StoreUnavailable):
            await side.log.order(keys(["a"]))
        assert side.log.statistics().ordered == 0
        await asyncio.to_thread(server.start)
        await side.log.order(keys(["a"]))
        assert dead(side, horizon, "a")


async def test_wait_all_over_real_logs(make_storage: Make, begin: Begin) -> None:
    side = await begin(make_storage())
    ordered = await side.log.order(keys(["a"]))
    nodes = await side.log.wait_all(ordered)
    assert nodes.applied == 1
    assert side.log.progress(ordered.record.id).done
    async with asyncio.timeout(DEADLINE):
        while side.log.blind:  # where this machine stood still for a lease
            await asyncio.sleep(0)


async def test_wait_all_over_three_nodes(
    redis_server: RedisServer, shared_store: Callable[[RedisServer, str], Awaitable[StoreSettings]], begin: Begin
) -> None:
    store = await shared_store(redis_server, "three")
    stores = [RedisStorage(store.url, store.prefix, node=name, lease=store.lease) for name in ("one", "two", "three")]
    sides = [await begin(storage) for storage in stores]
    horizon = sides[0].ledger.horizon()
    for number in range(20):
        ordered = await sides[number % 3].log.order(keys([f"k{number}"]))
        assert (await sides[number % 3].log.wait_all(ordered)).applied == 3
        assert all(dead(side, horizon, f"k{number}") for side in sides)
    standing = sides[1].log.progress(ordered.record.id)
    assert standing is not None
    assert sorted(standing.applied) == ["one", "three", "two"]


async def test_it_says_what_it_is(make_storage: Make, begin: Begin) -> None:
    side = await begin(make_storage())
    await side.log.order(keys(["a"]))
    assert repr(side.log).startswith("<PurgeLog ordered=1 blind=False <Ledger ")
    await side.log.close()
    await side.log.close()
