"""Who waits for a place, for how long, and that none is lost whoever leaves when."""

import asyncio
import random

import pytest

from edgecache.testing.virtual_time import run_virtual
from edgecache.upstream.slots import Slots


async def turns(count: int = 3) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_places_are_given_in_turn() -> None:
    async def main() -> None:
        slots = Slots(1)
        assert await slots.take(0)
        assert not await slots.take(0)
        order: list[int] = []

        async def wait(number: int) -> None:
            assert await slots.take(10)
            order.append(number)

        waiting = [asyncio.ensure_future(wait(number)) for number in range(3)]
        await turns()
        assert (repr(slots), slots.full) == ("<Slots 1 of 1, 3 waiting>", True)
        for done in range(1, 4):
            slots.give_back()
            await turns()
            assert order == list(range(done))
        assert all(one.done() for one in waiting)
        slots.give_back()
        assert (slots.used, slots.waiting, slots.full) == (0, 0, False)

    run_virtual(main())


def test_without_a_limit_nobody_waits() -> None:
    async def main() -> None:
        slots = Slots(0)
        assert all([await slots.take(0) for _ in range(1_000)])
        assert (slots.used, slots.full) == (1_000, False)

    run_virtual(main())


def test_the_wait_is_bounded() -> None:
    async def main() -> None:
        slots, time = Slots(1), asyncio.get_running_loop().time
        assert await slots.take(0)
        began = time()
        assert not await slots.take(7.0)
        assert time() - began == pytest.approx(7.0)
        assert (slots.used, slots.waiting) == (1, 0)

    run_virtual(main())


def test_cancel_while_waiting_for_a_slot() -> None:
    async def main() -> None:
        slots = Slots(1)
        assert await slots.take(0)
        waiting = [asyncio.ensure_future(slots.take(10)) for _ in range(2)]
        await turns()
        waiting[0].cancel()
        await asyncio.wait([waiting[0]])
        assert slots.waiting == 1
        slots.give_back()
        assert await waiting[1]

    run_virtual(main())


def test_cancelled_in_the_very_turn_in_which_the_slot_is_handed_over() -> None:
    async def main() -> None:
        slots = Slots(1)
        assert await slots.take(0)
        waiting = [asyncio.ensure_future(slots.take(10)) for _ in range(2)]
        await turns()
        slots.give_back()
        waiting[0].cancel()
        await asyncio.wait([waiting[0]])
        assert waiting[0].cancelled()
        assert await waiting[1]
        slots.give_back()
        assert slots.used == 0

    run_virtual(main())


def test_handed_over_in_the_very_turn_in_which_the_wait_ends() -> None:
    async def main() -> None:
        slots, loop = Slots(1), asyncio.get_running_loop()
        assert await slots.take(0)
        loop.call_at(loop.time() + 5.0, slots.give_back)
        assert await slots.take(5.0)
        assert (slots.used, slots.waiting) == (1, 0)

    run_virtual(main())


@pytest.mark.parametrize("seed", range(20))
def test_no_slot_is_lost_or_made_whoever_leaves_when(seed: int) -> None:
    async def main() -> None:
        chance, slots = random.Random(seed), Slots(3)
        held = 0

        async def use() -> None:
            nonlocal held
            if await slots.take(chance.random()):
                held += 1
                assert held <= 3
                try:
                    await asyncio.sleep(chance.random())
                finally:
                    held -= 1
                    slots.give_back()

        users = []
        for _ in range(60):
            users.append(asyncio.ensure_future(use()))
            await asyncio.sleep(chance.choice((0, 0, 0.05)))
            if chance.random() < 0.4:
                chance.choice(users).cancel()
        await asyncio.wait(users)
        assert (slots.used, slots.waiting) == (0, 0), seed

    run_virtual(main())
