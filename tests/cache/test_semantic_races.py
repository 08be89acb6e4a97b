"""What happens while a search or a build is running. Threads are held; nothing waits for time to pass."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from semantic_samples import (
    ALICE,
    BOB,
    DIMENSIONS,
    NEVER,
    PARTITION,
    Floats,
    HeldIndex,
    ask,
    clusters,
    fill,
    key,
    nearest,
    number,
)

from edgecache.cache import partition as partition_module

VECTORS = clusters(900, seed=21)
MORE = clusters(300, seed=22)
"""Added during a build; as far from VECTORS as random centres are."""


@pytest.fixture
async def flat() -> AsyncIterator[HeldIndex]:
    """600 vectors, no graph: searches run in a thread."""
    index = HeldIndex(DIMENSIONS, graph_from=NEVER)
    await index.open()
    await fill(index, VECTORS[:600])
    yield index
    await index.close()


@pytest.fixture
async def graph() -> AsyncIterator[HeldIndex]:
    """A graph of 600 vectors."""
    index = HeldIndex(DIMENSIONS, graph_from=600, delta=150)
    await index.open()
    await fill(index, VECTORS[:600])
    await index.wait_built()
    assert index.statistics().graphs == 1
    yield index
    await index.close()


@pytest.fixture(params=["flat", "graph"])
def index(request: pytest.FixtureRequest, flat: HeldIndex, graph: HeldIndex) -> HeldIndex:
    return flat if request.param == "flat" else graph


async def numbers(index: HeldIndex, query: Floats, k: int = 10) -> list[int]:
    return [number(found) for found in await ask(index, query, k)]


async def test_key_discarded_during_a_search_is_not_in_its_result(index: HeldIndex) -> None:
    query = VECTORS[4]
    hold = index.hold_search()
    search = asyncio.create_task(numbers(index, query))
    await hold.reached.wait()
    dead = nearest(VECTORS[:600], query, 3)
    for row in dead:
        index.discard(ALICE, PARTITION, key(row))
    hold.release()
    assert set(await search) == set(nearest(VECTORS[:600], query, 10)) - set(dead)


async def test_key_discarded_and_added_again_during_a_search_is_not_found_with_its_old_vector(index: HeldIndex) -> None:
    hold = index.hold_search()
    search = asyncio.create_task(numbers(index, VECTORS[4]))
    await hold.reached.wait()
    index.discard(ALICE, PARTITION, key(4))
    await index.add(ALICE, PARTITION, key(4), (-VECTORS[4]).tobytes())
    hold.release()
    assert 4 not in await search
    assert (await numbers(index, -VECTORS[4]))[0] == 4


async def test_blocks_repacked_and_grown_during_a_search_change_nothing_for_it(flat: HeldIndex) -> None:
    query = VECTORS[4]
    expected = nearest(VECTORS[:600], query, 10)
    hold = flat.hold_search()
    search = asyncio.create_task(numbers(flat, query))
    await hold.reached.wait()
    for row in sorted(set(range(600)) - set(expected)):
        flat.discard(ALICE, PARTITION, key(row))
    await fill(flat, MORE, first=1_000)
    hold.release()
    assert await search == expected


async def test_partition_dropped_and_made_anew_during_a_search(index: HeldIndex) -> None:
    hold = index.hold_search()
    search = asyncio.create_task(numbers(index, VECTORS[4]))
    await hold.reached.wait()
    for row in range(600):
        index.discard(ALICE, PARTITION, key(row))
    await index.add(ALICE, PARTITION, key(4), VECTORS[4].tobytes())
    hold.release()
    assert await search == []
    assert await numbers(index, VECTORS[4]) == [4]


async def test_search_that_began_on_blocks_ends_right_after_they_became_a_graph() -> None:
    index = HeldIndex(DIMENSIONS, graph_from=600)
    await index.open()
    await fill(index, VECTORS[:599])
    query = VECTORS[4]
    hold = index.hold_search()
    search = asyncio.create_task(numbers(index, query))
    await hold.reached.wait()
    await index.add(ALICE, PARTITION, key(599), VECTORS[599].tobytes())
    await index.wait_built()
    assert index.statistics().graphs == 1
    index.discard(ALICE, PARTITION, key(4))
    hold.release()
    assert await search == [row for row in nearest(VECTORS[:599], query, 10) if row != 4]
    await index.close()


async def test_additions_and_discards_during_the_first_build_are_in_its_result() -> None:
    index = HeldIndex(DIMENSIONS, graph_from=600, delta=NEVER)
    await index.open()
    hold = index.hold_build()
    await fill(index, VECTORS[:600])
    await hold.reached.wait()
    await _change_during_build(index)
    hold.release()
    await index.wait_built()
    assert index.statistics().graphs == 1
    await _check_changes(index)
    await index.close()


@pytest.mark.parametrize("anew", [False, True])
async def test_additions_and_discards_during_a_later_build_are_in_its_result(graph: HeldIndex, anew: bool) -> None:
    """Rows 600 to 899 go into the graph: as an extension, or, as most of it dies, when it is built anew."""
    hold = graph.hold_build()
    await fill(graph, VECTORS[600:], first=600)
    if anew:
        for row in range(300, 600):
            graph.discard(ALICE, PARTITION, key(row))
    await hold.reached.wait()
    await _change_during_build(graph)
    hold.release()
    await graph.wait_built()
    await _check_changes(graph)
    for row in range(600, 900):
        assert await numbers(graph, VECTORS[row], 1) == [row]


async def _change_during_build(index: HeldIndex) -> None:
    """Discards 0 to 99 (some were to be built in), replaces 100 to 109, adds 1,000 to 1,099, discards 1,050 again."""
    for row in range(100):
        index.discard(ALICE, PARTITION, key(row))
    for row in range(100, 110):
        await index.add(ALICE, PARTITION, key(row), (-VECTORS[row]).tobytes())
    await fill(index, MORE[:100], first=1_000)
    index.discard(ALICE, PARTITION, key(1_050))
    await _check_changes(index)


async def _check_changes(index: HeldIndex) -> None:
    for row in range(100):
        assert row not in await numbers(index, VECTORS[row])
    for row in range(100, 110):
        assert (await numbers(index, -VECTORS[row]))[0] == row
        assert row not in await numbers(index, VECTORS[row])
    for row in range(110, 300):
        assert (await numbers(index, VECTORS[row]))[0] == row
    for row in range(100):
        assert (1_000 + row in await numbers(index, MORE[row])) == (row != 50)


async def test_searches_and_discards_go_on_while_a_build_runs() -> None:
    index = HeldIndex(DIMENSIONS, graph_from=600)
    await index.open()
    hold = index.hold_build()
    await fill(index, VECTORS[:600])
    await hold.reached.wait()
    assert index.statistics().building
    assert await numbers(index, VECTORS[4]) == nearest(VECTORS[:600], VECTORS[4], 10)
    for row in range(550):
        index.discard(ALICE, PARTITION, key(row))
    assert await numbers(index, VECTORS[4]) == nearest(VECTORS, VECTORS[4], 10, range(550, 600))
    hold.release()
    await index.wait_built()
    assert not index.statistics().building
    assert (index.statistics().vectors, index.statistics().dead) == (50, 0)  # built anew once more, without its dead
    await index.close()


async def test_all_that_was_being_built_dies() -> None:
    index = HeldIndex(DIMENSIONS, graph_from=600)
    await index.open()
    hold = index.hold_build()
    await fill(index, VECTORS[:600])
    await hold.reached.wait()
    await index.add(ALICE, PARTITION, key(1_000), MORE[0].tobytes())
    for row in range(600):
        index.discard(ALICE, PARTITION, key(row))
    hold.release()
    await index.wait_built()
    assert (index.statistics().graphs, index.statistics().vectors) == (0, 1)
    assert await numbers(index, MORE[0]) == [1_000]
    await index.close()


async def test_build_of_a_dropped_partition_is_stopped_and_not_taken_for_its_successor() -> None:
    index = HeldIndex(DIMENSIONS, graph_from=600)
    await index.open()
    hold = index.hold_build()
    await fill(index, VECTORS[:600])
    await hold.reached.wait()
    for row in range(600):
        index.discard(ALICE, PARTITION, key(row))
    await index.add(ALICE, PARTITION, key(7), VECTORS[0].tobytes())
    hold.release()
    await index.wait_built()
    counts = index.statistics()
    assert (counts.built, counts.failed, counts.graphs, counts.vectors) == (0, 0, 0, 1)
    assert await numbers(index, VECTORS[0]) == [7]
    await index.close()


async def test_graph_that_was_ready_when_its_partition_was_dropped_is_not_counted() -> None:
    index = HeldIndex(DIMENSIONS, graph_from=600)
    await index.open()
    hold = index.hold_build(after=True)
    await fill(index, VECTORS[:600])
    await hold.reached.wait()
    for row in range(600):
        index.discard(ALICE, PARTITION, key(row))
    hold.release()
    await index.wait_built()
    counts = index.statistics()
    assert (counts.graphs, counts.vectors, counts.dead, counts.bytes) == (0, 0, 0, 0)
    await index.close()


async def test_close_abandons_the_build_that_runs_and_those_that_wait() -> None:
    index = HeldIndex(DIMENSIONS, graph_from=600)
    await index.open()
    hold = index.hold_build()
    await fill(index, VECTORS[:600])
    await fill(index, VECTORS[:600], scope=BOB)
    await hold.reached.wait()
    close = asyncio.create_task(index.close())
    while index.statistics().partitions:
        await asyncio.sleep(0)
    hold.release()
    await close
    counts = index.statistics()
    assert (counts.built, counts.failed, counts.building, counts.bytes) == (0, 0, False, 0)


async def test_close_waits_for_a_search_which_then_finds_nothing(flat: HeldIndex) -> None:
    hold = flat.hold_search()
    search = asyncio.create_task(numbers(flat, VECTORS[4]))
    await hold.reached.wait()
    close = asyncio.create_task(flat.close())
    await asyncio.sleep(0)
    assert not close.done()
    hold.release()
    assert set(await search) <= set(nearest(VECTORS[:600], VECTORS[4], 10))
    await close


async def test_cancelled_search_leaves_the_index_usable(flat: HeldIndex) -> None:
    hold = flat.hold_search()
    search = asyncio.create_task(numbers(flat, VECTORS[4]))
    await hold.reached.wait()
    search.cancel()
    with pytest.raises(asyncio.CancelledError):
        await search
    hold.release()
    assert (await numbers(flat, VECTORS[4]))[0] == 4


async def test_failed_build_leaves_exact_search_and_waits_for_twice_as_many(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*arguments: object) -> None:
        raise RuntimeError("Error in faiss::something: no memory")

    index = HeldIndex(DIMENSIONS, graph_from=300)
    await index.open()
    with monkeypatch.context() as patched:
        patched.setattr(partition_module, "build", fail)
        await fill(index, VECTORS[:300])
        await index.wait_built()
    assert "no graph could be built for 300 vectors" in caplog.text
    await fill(index, VECTORS[300:599], first=300)
    await index.wait_built()
    assert (index.statistics().failed, index.statistics().graphs) == (1, 0)
    assert await numbers(index, VECTORS[4]) == nearest(VECTORS[:599], VECTORS[4], 10)
    await fill(index, VECTORS[599:600], first=599)
    await index.wait_built()
    assert (index.statistics().failed, index.statistics().graphs) == (1, 1)
    await index.close()
