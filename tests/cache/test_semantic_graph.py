"""How graphs are built, and that what a view shows never changes."""

from threading import Event

import numpy as np
import pytest
from semantic_samples import clusters, nearest, unit

from edgecache.cache.flat import BLOCK_ROWS, Block, BlockView, Flat
from edgecache.cache.graph import BuildStopped, Graph, build

DIMENSIONS = 384
VECTORS = clusters(1_200, seed=3, dimensions=DIMENSIONS)


def block(first: int, last: int) -> BlockView:
    return BlockView(VECTORS[first:last], np.arange(first, last), None)


def grown(graph: Graph | None, *blocks: BlockView, anew: bool = False) -> Graph:
    return build(graph.view() if graph else None, blocks, DIMENSIONS, anew, Event())


def cosines(graph: Graph, row: int) -> dict[int, float]:
    scores, tickets = graph.view().nearest(VECTORS[row], 10)
    return dict(zip(tickets.tolist(), scores.tolist(), strict=True))


def test_eight_bits_cost_less_than_three_thousandths() -> None:
    graph = grown(None, block(0, 1_000))
    for row in range(0, 1_000, 10):
        for ticket, cosine in cosines(graph, row).items():
            assert cosine == pytest.approx(float(VECTORS[ticket] @ VECTORS[row]), abs=0.003)


def test_building_anew_rounds_nothing_again() -> None:
    first = grown(None, block(0, 500))
    first.kill(list(range(250)))
    second = grown(first, anew=True)
    third = grown(second, block(500, 510), anew=True)
    assert second.rows == 250
    assert third.rows == 260
    for row in range(250, 500, 10):
        kept = second.view().index.reconstruct(row - 250)
        assert np.array_equal(first.view().index.reconstruct(row), kept)
        assert np.array_equal(third.view().index.reconstruct(row - 250), kept)


def test_extension_keeps_the_marks_of_the_dead_and_leaves_the_old_graph_alone() -> None:
    first = grown(None, block(0, 500))
    first.kill([7])
    view = first.view()
    second = grown(first, block(500, 600))
    assert (second.rows, second.dead, first.rows) == (600, 1, 500)
    assert 7 not in cosines(second, 7)
    assert max(cosines(second, 550)) >= 500
    assert view.index.ntotal == 500
    assert second.bytes > first.bytes


def test_rows_beyond_the_ranges_make_a_graph_with_wider_ones() -> None:
    first = grown(None, block(0, 300))
    spike = unit(VECTORS[:1] + 3 * np.eye(1, DIMENSIONS, dtype=np.float32))
    second = grown(first, BlockView(spike, np.array([2_000]), None))
    assert not first.view().ranges.cover(spike)
    assert second.view().ranges.cover(spike)
    scores, tickets = second.view().nearest(spike[0], 1)
    assert tickets.tolist() == [2_000]
    assert scores[0] == pytest.approx(1.0, abs=0.003)


def test_dead_rows_of_blocks_are_not_built_in() -> None:
    alive = np.ones(500, np.bool_)
    alive[::2] = False
    graph = grown(None, BlockView(VECTORS[:500], np.arange(500), alive))
    assert (graph.rows, graph.dead) == (250, 0)
    assert graph.view().tickets.tolist() == list(range(1, 500, 2))


def test_view_of_a_graph_does_not_see_later_deaths() -> None:
    graph = grown(None, block(0, 500))
    graph.kill([1])
    view = graph.view()
    graph.kill([4, 5])
    assert 4 in view.nearest(VECTORS[4], 1)[1].tolist()
    assert 4 not in cosines(graph, 4)
    assert graph.dead == 3


def test_tickets_that_are_not_here_are_not_killed() -> None:
    graph = grown(None, BlockView(VECTORS[:100], np.arange(0, 200, 2), None))
    graph.kill([-1, 3, 199, 10_000])
    assert graph.dead == 0
    graph.kill([4, 5])
    assert graph.dead == 1


@pytest.mark.parametrize("anew", [False, True])
def test_build_stops_when_told(anew: bool) -> None:
    graph = grown(None, block(0, 100))
    stop = Event()
    stop.set()
    with pytest.raises(BuildStopped):
        build(graph.view(), [block(100, 200)], DIMENSIONS, anew, stop)


@pytest.mark.parametrize(("size", "spread"), [(500, 0.1), (3_000, 0.5)], ids=["tight", "wide"])
def test_large_clusters_hide_none_of_their_rows(size: int, spread: float) -> None:
    """Cosines within a cluster of about 0.99 and 0.8: fewer links or a narrower build lose rows here."""
    vectors = clusters(6_000, seed=9, size=size, spread=spread, dimensions=DIMENSIONS)
    view = grown(
        None, *(BlockView(vectors[i : i + 500], np.arange(i, i + 500), None) for i in range(0, 6_000, 500))
    ).view()
    rows = range(0, 6_000, 15)
    found = sum(row in view.nearest(vectors[row], 10)[1].tolist() for row in rows)
    assert found / len(rows) >= 0.99


def test_recall_on_clusters() -> None:
    """Best in ten: at least 98 % (the exact search's best is among the graph's first ten)."""
    vectors = clusters(6_000, seed=10, size=20, spread=0.5, dimensions=DIMENSIONS)
    queries = unit(
        vectors[::20] + 0.4 / np.sqrt(DIMENSIONS) * np.random.default_rng(1).standard_normal((300, DIMENSIONS))
    )
    view = grown(None, BlockView(vectors, np.arange(6_000), None)).view()
    best = [nearest(vectors, query, 1)[0] == view.nearest(query, 10)[1][0] for query in queries]
    assert np.mean(best) >= 0.98


def test_view_of_blocks_sees_neither_later_rows_nor_later_deaths() -> None:
    flat = Flat(DIMENSIONS)
    for ticket in range(700):
        flat.append(ticket, VECTORS[ticket])
    flat.kill(3)
    views = flat.views()
    for ticket in range(700, 1_200):
        flat.append(ticket, VECTORS[ticket])
    for ticket in range(4, 690):
        flat.kill(ticket)
    seen = [view.living() for view in views]
    assert np.concatenate([view.tickets for view in seen]).tolist() == [0, 1, 2, *range(4, 700)]
    assert np.array_equal(np.concatenate([view.vectors for view in seen]), np.delete(VECTORS[:700], 3, axis=0))


def test_blocks_hold_at_most_as_many_dead_rows_as_living_ones() -> None:
    flat = Flat(DIMENSIONS)
    for ticket in range(1_200):
        flat.append(ticket, VECTORS[ticket])
    for ticket in np.random.default_rng(2).permutation(1_200)[:1_100].tolist():
        flat.kill(ticket)
        assert flat.dead <= flat.alive
    assert flat.alive == 100
    assert flat.bytes <= 2 * 100 * (4 * DIMENSIONS + 9) + BLOCK_ROWS * (4 * DIMENSIONS + 9)


def test_blocks_count_what_they_hold() -> None:
    flat = Flat(DIMENSIONS)
    for ticket in range(600):
        flat.append(ticket, VECTORS[ticket])
    flat.seal()
    for ticket in (*range(400), *range(550, 600)):
        flat.kill(ticket)
    flat.append(600, VECTORS[600])
    assert (flat.rows, flat.dead) == (601, 450)  # what is sealed is not repacked
    flat.drop_sealed()
    assert (flat.rows, flat.dead) == (1, 0)
    assert flat.bytes == Block(1, DIMENSIONS).bytes
    flat.kill(600)
    assert (flat.rows, flat.dead, flat.bytes) == (0, 0, 0)
