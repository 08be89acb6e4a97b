"""How far a purge has come, for who polls it."""

import asyncio

from purge_links import LinkedSide, Sides, virtual

from edgecache.core.tags import keys
from edgecache.purge.roll import Nodes, Standing


async def polled(side: LinkedSide, name: str) -> list[Standing]:
    found = [side.log.progress(name)]
    async with asyncio.timeout(60):
        while found[-1] is not None and not found[-1].done:
            await asyncio.sleep(0.1)
            found.append(side.log.progress(name))
    return [standing for standing in found if standing is not None]


@virtual
async def test_progress_can_be_polled_without_waiting() -> None:
    one, two, _ = await Sides().open("one", "two", "three")
    two.link.cut = None
    assert one.log.progress("mine") is None
    await one.log.order(keys(["a"]), record_id="mine")
    seen = await polled(one, "mine")
    assert seen[0] == Standing(1, (), (), (), False)
    assert seen[1] == Standing(1, ("one", "three"), ("two",), (), False)
    assert seen[-1] == Standing(1, ("one", "three"), (), ("two",), True)
    assert two.log.progress("mine") is None


@virtual
async def test_progress_of_recent_orders_only() -> None:
    (one,) = await Sides().open("one")
    for number in range(1_100):
        await one.log.order(keys(["a"]), record_id=f"n{number}")
    assert one.log.progress("n0") is None
    assert one.log.progress("n1099") is not None
    ordered = await one.log.order(keys(["a"]), record_id="again")
    assert await one.log.wait_all(ordered) == Nodes(1, 0)
