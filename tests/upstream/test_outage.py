"""In an outage: attempts / requests <= 1.2, whatever fails and whoever is asked."""

import asyncio
import random
import socket
from collections.abc import Iterator

import pytest
from asking import UNBROKEN, Clock, always, call, opened, read, target

from edgecache.errors import Overloaded, UpstreamUnreachable
from edgecache.upstream import Breaking, UpstreamPool

REQUESTS = 1_000
SEED = 7


@pytest.fixture
def dead() -> Iterator[str]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


async def load(pool: UpstreamPool, clock: Clock, *, hedge: float | None = None) -> int:
    """How many of the requests were answered with 200."""
    answered = 0
    for _ in range(REQUESTS // 10):
        clock.now += 0.1
        outcomes = await asyncio.gather(*(_ask(pool, hedge) for _ in range(10)))
        answered += sum(outcomes)
    return answered


async def _ask(pool: UpstreamPool, hedge: float | None) -> bool:
    try:
        return await read(await pool.send(call(hedge=hedge))) == b"200"
    except (UpstreamUnreachable, Overloaded):
        return False


@pytest.mark.parametrize("breaking", [Breaking(), UNBROKEN], ids=["breaker", "budget alone"])
@pytest.mark.parametrize("status", [None, 503, 429])
async def test_of_all_targets(status: int | None, breaking: Breaking, dead: str) -> None:
    clock, chance = Clock(), random.Random(SEED)
    async with always(status or 200) as busy:
        targets = [target(busy.url if status else dead, name) for name in "abcd"]
        async with opened(*targets, clock=clock, chance=chance, breaking=breaking) as pool:
            assert await load(pool, clock) == 0
            statistics = pool.statistics()
    attempts = sum(one.requests for one in statistics.targets)
    assert statistics.sent == REQUESTS
    assert attempts <= 1.2 * REQUESTS, SEED
    assert status is None or attempts == len(busy.requests)
    if breaking is UNBROKEN:
        assert attempts > 1.1 * REQUESTS, "the test does not come near the limit"


@pytest.mark.parametrize("status", [None, 503])
async def test_of_one_of_two(status: int | None, dead: str) -> None:
    clock, chance = Clock(), random.Random(SEED)
    async with always(status or 200) as busy, always(200) as well:
        targets = target(busy.url if status else dead), target(well.url, "two", order=1)
        async with opened(*targets, clock=clock, chance=chance) as pool:
            answered = await load(pool, clock)
            attempts = sum(one.requests for one in pool.statistics().targets)
    assert attempts <= 1.2 * REQUESTS
    assert answered > 0.95 * REQUESTS, "and hardly anybody notices"


async def test_hedges_do_not_multiply_it() -> None:
    clock = Clock()
    async with always(503) as one, always(503) as two:
        targets = target(one.url), target(two.url, "two", order=1)
        async with opened(*targets, clock=clock, breaking=UNBROKEN) as pool:
            assert await load(pool, clock, hedge=0.0) == 0
    assert len(one.requests) + len(two.requests) <= 1.2 * REQUESTS
