"""What the port promises, whether a partition has a graph or not."""

import tracemalloc
from collections.abc import AsyncIterator, Iterator

import numpy as np
import pytest
from blockbuster import blockbuster_ctx
from semantic_samples import (
    ALICE,
    BOB,
    DIMENSIONS,
    NEVER,
    PARTITION,
    ask,
    clusters,
    fill,
    key,
    nearest,
    number,
    unit,
)

from edgecache.cache.semantic import SemanticIndex

VECTORS = clusters(1_500, seed=7)
QUERIES = unit(VECTORS[::25] + 0.05 * clusters(60, seed=8))


@pytest.fixture(autouse=True)
def loop_is_never_blocked() -> Iterator[None]:
    with blockbuster_ctx("edgecache.cache"):
        yield


@pytest.fixture(params=[NEVER, 64], ids=["flat", "graph"])
async def index(request: pytest.FixtureRequest) -> AsyncIterator[SemanticIndex]:
    index = SemanticIndex(DIMENSIONS, graph_from=request.param, delta=200)
    await index.open()
    yield index
    await index.close()


@pytest.fixture
async def full(index: SemanticIndex) -> SemanticIndex:
    """1,500 vectors; the graph, if any, was built in several steps, and a remainder lies beside it."""
    for start in range(0, 1_400, 350):
        await fill(index, VECTORS[start : start + 350], first=start)
        await index.wait_built()
    await fill(index, VECTORS[1_400:], first=1_400)
    assert index.statistics().graphs == (0 if "flat" in _kind(index) else 1)
    return index


def _kind(index: SemanticIndex) -> str:
    return "flat" if index._limits.graph_from == NEVER else "graph"


async def test_empty_index_finds_nothing(index: SemanticIndex) -> None:
    assert list(await ask(index, VECTORS[0])) == []


async def test_nearest_are_those_of_brute_force(full: SemanticIndex) -> None:
    shares = []
    for query in QUERIES:
        found = await ask(full, query)
        assert [n.similarity for n in found] == sorted((n.similarity for n in found), reverse=True)
        expected = nearest(VECTORS, query, 10)
        if _kind(full) == "flat":
            assert [number(n) for n in found] == expected
        shares.append(len({number(n) for n in found} & set(expected)) / 10)
    assert np.mean(shares) > 0.95


async def test_similarity_is_the_cosine(full: SemanticIndex) -> None:
    tolerance = 1e-6 if _kind(full) == "flat" else 6e-3  # eight bits of 32 wide components; of 384 the error is smaller
    for query in QUERIES:
        for found in await ask(full, query):
            assert found.similarity == pytest.approx(float(VECTORS[number(found)] @ query), abs=tolerance)


async def test_every_own_vector_is_found(full: SemanticIndex) -> None:
    missed = [row for row in range(1_500) if row not in {number(n) for n in await ask(full, VECTORS[row], 3)}]
    assert missed == []


async def test_replaced_vector_is_found_under_its_new_place_only(full: SemanticIndex) -> None:
    for row in (3, 1_450):
        await full.add(ALICE, PARTITION, key(row), (-VECTORS[row]).tobytes())
        assert number((await ask(full, -VECTORS[row], 1))[0]) == row
        assert row not in {number(n) for n in await ask(full, VECTORS[row])}
    assert full.statistics().vectors == 1_500


async def test_discarded_key_is_gone_at_once_and_may_come_back(full: SemanticIndex) -> None:
    for row in (0, 700, 1_499):
        full.discard(ALICE, PARTITION, key(row))
        full.discard(ALICE, PARTITION, key(row))
        assert row not in {number(n) for n in await ask(full, VECTORS[row])}
        await full.add(ALICE, PARTITION, key(row), VECTORS[row].tobytes())
        assert number((await ask(full, VECTORS[row], 1))[0]) == row


async def test_unknown_keys_partitions_and_scopes_are_discarded_without_effect(full: SemanticIndex) -> None:
    full.discard(ALICE, PARTITION, b"?")
    full.discard(ALICE, b"?", key(1))
    full.discard(BOB, PARTITION, key(1))
    assert full.statistics().vectors == 1_500


@pytest.mark.parametrize("dead", [5, 150, 320])
async def test_dead_rows_crowd_out_no_living_ones(full: SemanticIndex, dead: int) -> None:
    """The nearest rows die, so many that a graph's usual walk meets no other; none is built anew (at most 25 %)."""
    query = VECTORS[11]
    order = nearest(VECTORS, query, 1_500)
    for row in order[:dead]:
        full.discard(ALICE, PARTITION, key(row))
    found = [number(n) for n in await ask(full, query)]
    assert len(found) == 10
    expected = VECTORS[order[dead + 9]] @ query
    assert min(VECTORS[row] @ query for row in found) >= expected - 0.02
    assert not set(found) & set(order[:dead])


@pytest.mark.parametrize("k", [1_490, 1_500, 5_000])
async def test_k_of_any_size(full: SemanticIndex, k: int) -> None:
    full.discard(ALICE, PARTITION, key(0))
    found = [number(n) for n in await ask(full, VECTORS[5], k)]
    assert len(found) == len(set(found)) == min(k, 1_499)


async def test_scopes_and_partitions_never_mix(index: SemanticIndex) -> None:
    other = b"q" * 16
    await fill(index, VECTORS[:300])
    await fill(index, VECTORS[300:600], first=300, scope=BOB)
    await index.add(ALICE, other, key(999), VECTORS[0].tobytes())
    await index.wait_built()
    for query in VECTORS[:600:40]:
        assert all(number(n) < 300 for n in await ask(index, query, 50))
        assert all(300 <= number(n) < 600 for n in await ask(index, query, 50, BOB))
        assert [number(n) for n in await index.search(ALICE, other, query.tobytes(), 50)] == [999]
        assert list(await index.search(BOB, other, query.tobytes(), 50)) == []
    index.discard(BOB, PARTITION, key(0))
    assert number((await ask(index, VECTORS[0], 1))[0]) == 0


@pytest.mark.parametrize(
    "vector",
    [
        b"",
        VECTORS[0].tobytes()[:-1],
        bytes(4 * DIMENSIONS),
        (2 * VECTORS[0]).tobytes(),
        (np.nan * VECTORS[0]).tobytes(),
    ],
    ids=["empty", "short", "zero", "long", "nan"],
)
async def test_what_is_no_unit_vector_is_refused(full: SemanticIndex, vector: bytes) -> None:
    with pytest.raises(ValueError, match="expected"):
        await full.add(ALICE, PARTITION, key(1), vector)
    with pytest.raises(ValueError, match="expected"):
        await full.search(ALICE, PARTITION, vector, 1)
    assert number((await ask(full, VECTORS[1], 1))[0]) == 1


async def test_k_below_one_is_refused(full: SemanticIndex) -> None:
    with pytest.raises(ValueError, match="k=0"):
        await ask(full, VECTORS[0], 0)


async def test_partition_goes_with_its_last_key(full: SemanticIndex) -> None:
    for row in range(1_500):
        full.discard(ALICE, PARTITION, key(row))
    await full.wait_built()
    counts = full.statistics()
    assert (counts.partitions, counts.vectors, counts.dead, counts.graphs, counts.bytes) == (0, 0, 0, 0, 0)
    assert list(await ask(full, VECTORS[0])) == []


async def test_churn_leaves_a_bounded_number_of_dead_rows(full: SemanticIndex) -> None:
    for _ in range(4):
        await fill(full, VECTORS)
        await full.wait_built()
    counts = full.statistics()
    assert counts.vectors == 1_500
    assert counts.dead <= 1_500
    assert [number(n) for n in await ask(full, VECTORS[9], 1)] == [9]


async def test_bytes_are_those_allocated(index: SemanticIndex) -> None:
    """Many partitions of three vectors: what they cost beside their vectors counts."""
    tracemalloc.start()
    try:
        for partition in range(1_000):
            for row in range(3):
                vector = VECTORS[(3 * partition + row) % 1_500].tobytes()
                await index.add(ALICE, key(partition), key(3 * partition + row), vector)
        traced, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    counts = index.statistics()
    assert counts.partitions == 1_000
    assert counts.bytes == pytest.approx(traced, rel=0.15)
    assert counts.bytes / 1_000 < 3 * 4 * DIMENSIONS * 2 + 1_800


async def test_repr_says_what_is_there(full: SemanticIndex) -> None:
    graphs = full.statistics().graphs
    assert repr(full) == (
        f"<SemanticIndex 32 dimensions: 1 partitions, 1500 vectors, 0 dead, {graphs} graphs, 0 builds due>"
    )


async def test_close_is_safe_twice_and_without_open() -> None:
    index = SemanticIndex(DIMENSIONS)
    await index.close()
    await index.open()
    await fill(index, VECTORS[:300])
    await index.close()
    await index.close()
    assert index.statistics().bytes == 0
    await index.open()
    await fill(index, VECTORS[:300])
    assert number((await ask(index, VECTORS[7], 1))[0]) == 7
    await index.close()


async def test_long_search_of_an_index_that_is_not_open_is_refused() -> None:
    index = SemanticIndex(DIMENSIONS)
    await fill(index, VECTORS[:300])
    with pytest.raises(RuntimeError, match="not open"):
        await ask(index, VECTORS[0])


@pytest.mark.parametrize("wrong", [{"graph_from": 0}, {"delta": 0}, {"dead": 1.0}, {"dead": -0.1}])
def test_limits_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        SemanticIndex(DIMENSIONS, **wrong)  # type: ignore[arg-type]


async def test_over_its_budget_nothing_more_is_found_until_something_goes() -> None:
    index = SemanticIndex(DIMENSIONS, budget=1)
    await index.open()
    await fill(index, VECTORS[:2])
    assert index.statistics().vectors == 1
    assert index.statistics().refused == 1
    assert [number(found) for found in await ask(index, VECTORS[1])] == [0]
    index.discard(ALICE, PARTITION, key(0))
    await fill(index, VECTORS[1:2], first=1)
    assert [number(found) for found in await ask(index, VECTORS[1])] == [1]
    await index.close()
