"""The same nodes, each with one thing broken that keeps the promise: the checker must say so, and only then."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from fault_load import HELD, Load
from fault_nodes import CUT_OFF, Bench

from edgecache.core.entry import Entry
from edgecache.flow.admit import Admission
from edgecache.purge.log import PurgeLog
from edgecache.storage import redis_scripts
from edgecache.testing.link import Link
from edgecache.testing.redis_server import RedisServer

SCRIPTS = ("OPEN", "APPEND", "READ", "ROLL", "TRIM")
broken_or_not = pytest.mark.parametrize("broken", [False, True], ids=["whole", "broken"])


@pytest.fixture
async def redis() -> AsyncIterator[RedisServer]:
    async with RedisServer() as redis:
        yield redis


@pytest.fixture
async def link(redis: RedisServer) -> AsyncIterator[Link]:
    async with Link(redis.port) as link:
        yield link


@pytest.fixture
async def load(bench: Bench, redis: RedisServer, link: Link) -> AsyncIterator[Load]:
    members = [bench.inside(n, link.url if n == CUT_OFF else redis.url) for n in range(3)]
    async with bench.loaded(members) as load:
        yield load


@broken_or_not
async def test_a_node_that_does_not_know_it_is_blind(
    load: Load, link: Link, monkeypatch: pytest.MonkeyPatch, broken: bool
) -> None:
    if broken:
        monkeypatch.setattr(PurgeLog, "blind", property(lambda log: False))
    await load.ask(CUT_OFF, 1)
    link.hold()
    purged = await load.purge(0, "item-1", wait=True)
    assert purged is not None and purged.status == 200
    await load.ask(CUT_OFF, 1)
    assert bool(load.stale()) is broken


@broken_or_not
async def test_a_horizon_that_is_read_when_the_answer_is_there(
    load: Load, monkeypatch: pytest.MonkeyPatch, broken: bool
) -> None:
    """What everybody else does: an old answer that arrives after the purge is stored, and served."""
    if broken:
        whole = Admission._entry

        def late(self: Admission, *read: object) -> Entry:
            *first, _, vector = read
            return whole(self, *first, self._ledger.horizon(), vector)  # type: ignore[arg-type]

        monkeypatch.setattr(Admission, "_entry", late)
    load.gate = gate = asyncio.Event()
    filling = asyncio.create_task(load.ask(0, 1, model=HELD))
    await load.until(lambda: load.held == 1)
    await load.purge(1, "item-1", wait=True)
    load.gate = None
    gate.set()
    await filling
    for node in range(3):
        await load.ask(node, 1, model=HELD)
    assert len(load.stale()) == (3 if broken else 0)


@broken_or_not
async def test_a_log_that_keeps_its_name_over_another_run_of_the_server(
    load: Load, redis: RedisServer, monkeypatch: pytest.MonkeyPatch, broken: bool
) -> None:
    """Store and log have rolled back together while no node ran, so that nobody is left who remembers."""
    if broken:
        blind_to_runs(monkeypatch)
    for item in range(9):
        await load.ask(item % 3, item)
    await asyncio.to_thread(redis.save_aside)
    purged = await load.purge(0, *(f"item-{item}" for item in range(9)), wait=True)
    assert purged is not None and purged.status == 200
    for member in load.nodes:
        await member.close()
    await asyncio.to_thread(redis.put_back)
    for member in load.nodes:
        await member.start()
    await load.nodes.converged()
    for item in range(9):
        await load.ask(item % 3, item)
    assert len(load.stale()) == (9 if broken else 0)


def blind_to_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SCRIPTS:
        script = getattr(redis_scripts, name)
        without = script.replace("state[2] ~= run", "false").replace("state[2] == run", "true")
        assert without != script, f"{name} looks at the run of the server in other words now"
        monkeypatch.setattr(redis_scripts, name, without)
