"""Vectors that are searched through a graph (HNSW, Malkov and Yashunin 2018), eight bits a component.

A graph is never changed once it is built, because FAISS can neither search one while it is written nor remove from
one. Dead rows are marked beside it, and it is replaced by one built from it: a copy with new rows added, or, to be rid
of its dead rows or to widen its ranges, one built anew.

The distance is the squared Euclidean one: for unit vectors d = 2 - 2 cos, so it gives the same order as the cosine, and
unlike the inner product it does not favour rows whose norm was raised by rounding (in tight clusters they hid others).
"""

from collections.abc import Iterable, Iterator, Sequence
from threading import Event
from typing import Any, NamedTuple

import numpy as np

from edgecache.cache.arrays import Floats, Marks, Tickets, faiss
from edgecache.cache.flat import BlockView

LINKS = 32
BUILD_BREADTH = 80
SEARCH_BREADTH = 128
WIDEST = 2_048
BATCH_ROWS = 512
MARGIN = 0.2


class Ranges(NamedTuple):
    """Lowest and highest value of each component, (dimensions,) each, that eight bits can represent.

    Rounding is stable: rows that were rounded within the same ranges once are not changed by being rounded again.
    """

    low: Floats
    high: Floats

    def cover(self, rows: Floats) -> bool:
        return bool((rows >= self.low).all() and (rows <= self.high).all())


def widen(ranges: Ranges | None, views: Iterable[BlockView]) -> Ranges:
    """`ranges` if all rows of `views` are within; else those of both, with a margin for rows still to come."""
    parts = [view.vectors for view in views]
    if ranges is not None and all(ranges.cover(part) for part in parts):
        return ranges
    low = np.min([part.min(axis=0) for part in parts], axis=0)
    high = np.max([part.max(axis=0) for part in parts], axis=0)
    margin = np.maximum(MARGIN * (high - low), np.float32(1e-3))
    low, high = low - margin, high + margin
    if ranges is not None:
        low, high = np.minimum(low, ranges.low), np.maximum(high, ranges.high)
    return Ranges(low.astype(np.float32), high.astype(np.float32))


class GraphView(NamedTuple):
    """What a search or a build may read. `index` is a FAISS index that nothing writes to any more."""

    index: Any
    ranges: Ranges
    tickets: Tickets
    alive: Marks | None

    def nearest(self, query: Floats, k: int) -> tuple[Floats, Tickets]:
        """Cosines and tickets of about the `k` living rows nearest to `query`, at most `k`, most similar first.

        Dead rows crowd nobody out: the nearest rows of any kind are asked for, more and more of them until `k` of
        them are alive. A search among mostly dead rows ends in a scan of all, which is exact.
        """
        breadth = max(SEARCH_BREADTH, k)
        while breadth <= min(WIDEST, len(self.tickets)):
            distances, rows = self._walk(query, breadth)
            living = self._living(rows)
            if np.count_nonzero(living) >= k:
                return _cosines(distances[living][:k]), self.tickets[rows[living][:k]]
            breadth *= 4
        distances, rows = self._scan(query, k)
        return _cosines(distances), self.tickets[rows]

    def rows(self, stop: Event) -> Iterator[tuple[Floats, Tickets]]:
        """The living rows, as they were rounded, in batches."""
        for start in range(0, len(self.tickets), BATCH_ROWS):
            _check(stop)
            tickets = self.tickets[start : start + BATCH_ROWS]
            vectors = self.index.reconstruct_n(start, len(tickets))
            alive = slice(None) if self.alive is None else self.alive[start : start + BATCH_ROWS]
            yield vectors[alive], tickets[alive]

    def _walk(self, query: Floats, breadth: int) -> tuple[Floats, Tickets]:
        parameters = faiss.SearchParametersHNSW(efSearch=breadth)
        distances, rows = self.index.search(query[np.newaxis], breadth, params=parameters)
        found = rows[0] >= 0
        return distances[0][found], rows[0][found]

    def _scan(self, query: Floats, k: int) -> tuple[Floats, Tickets]:
        alive = np.ones(len(self.tickets), np.bool_) if self.alive is None else self.alive
        marks = np.packbits(alive, bitorder="little")  # FAISS keeps a bare pointer: a name holds it until the return
        parameters = faiss.SearchParameters(sel=faiss.IDSelectorBitmap(marks))
        distances, rows = faiss.downcast_index(self.index.storage).search(query[np.newaxis], k, params=parameters)
        found = rows[0] >= 0
        return distances[0][found], rows[0][found]

    def _living(self, rows: Tickets) -> Marks:
        return np.ones(len(rows), np.bool_) if self.alive is None else self.alive[rows]


class Graph:
    """An index that does not change, the tickets of its rows in ascending order, and marks of what has died since."""

    __slots__ = ("_alive", "_index", "_ranges", "_tickets", "bytes", "dead")

    def __init__(self, index: Any, ranges: Ranges, tickets: Tickets, alive: Marks | None = None) -> None:
        self._index = index
        self._ranges = ranges
        self._tickets = tickets
        self._alive = alive
        self.dead = 0 if alive is None else len(tickets) - int(np.count_nonzero(alive))
        self.bytes = _bytes(index) + tickets.nbytes + len(tickets)

    @property
    def rows(self) -> int:
        return len(self._tickets)

    @property
    def last(self) -> int:
        """The highest ticket."""
        return int(self._tickets[-1])

    def kill(self, tickets: Sequence[int]) -> None:
        """Mark the rows of these tickets, each at most once, as dead; tickets that are not here are ignored."""
        if self._alive is None:
            self._alive = np.ones(self.rows, np.bool_)
        wanted = np.asarray(tickets, np.int64)
        places = np.minimum(np.searchsorted(self._tickets, wanted), self.rows - 1)
        places = places[self._tickets[places] == wanted]
        self._alive[places] = False
        self.dead += len(places)

    def view(self) -> GraphView:
        return GraphView(self._index, self._ranges, self._tickets, None if self._alive is None else self._alive.copy())


class BuildStopped(Exception):
    """The build was told to stop. Never leaves this room."""


def build(graph: GraphView | None, blocks: Sequence[BlockView], dimensions: int, anew: bool, stop: Event) -> Graph:
    """A graph of the rows of `graph` and the living rows of `blocks`; without the dead rows of `graph` if `anew`.

    Takes about 0.2 to 0.4 ms a row added; runs in a worker thread and writes nothing but what it returns.

    Raises:
        BuildStopped: `stop` was set; it is looked at every 512 rows.
    """
    living = [view for view in (block.living() for block in blocks) if len(view.tickets)]
    if graph is not None and not anew and all(graph.ranges.cover(view.vectors) for view in living):
        tickets, alive = _extension(graph, living)
        index = faiss.clone_index(graph.index)
        _add(index, ((view.vectors, view.tickets) for view in living), stop)
        return Graph(index, graph.ranges, tickets, alive)
    ranges = widen(graph.ranges if graph is not None else None, living)
    index = _empty(dimensions, ranges)
    tickets = _add(index, _all_rows(graph, living, stop), stop)
    return Graph(index, ranges, tickets)


def _extension(graph: GraphView, living: Sequence[BlockView]) -> tuple[Tickets, Marks | None]:
    tickets = np.concatenate([graph.tickets, *(view.tickets for view in living)])
    if graph.alive is None:
        return tickets, None
    return tickets, np.concatenate([graph.alive, np.ones(len(tickets) - len(graph.tickets), np.bool_)])


def _all_rows(graph: GraphView | None, living: Sequence[BlockView], stop: Event) -> Iterator[tuple[Floats, Tickets]]:
    if graph is not None:
        yield from graph.rows(stop)
    for view in living:
        yield view.vectors, view.tickets


def _add(index: Any, batches: Iterable[tuple[Floats, Tickets]], stop: Event) -> Tickets:
    added = [np.empty(0, np.int64)]
    for vectors, tickets in batches:
        _check(stop)
        index.add(np.ascontiguousarray(vectors))
        added.append(tickets)
    return np.concatenate(added)


def _empty(dimensions: int, ranges: Ranges) -> Any:
    index = faiss.IndexHNSWSQ(dimensions, faiss.ScalarQuantizer.QT_8bit, LINKS, faiss.METRIC_L2)
    index.hnsw.efConstruction = BUILD_BREADTH
    index.train(np.stack(ranges))  # training takes the lowest and highest value of each component, nothing else
    return index


def _cosines(distances: Floats) -> Floats:
    """Of unit vectors from their squared distances."""
    return np.float32(1.0) - distances / np.float32(2.0)


def _bytes(index: Any) -> int:
    hnsw = index.hnsw
    links = 4 * hnsw.neighbors.size() + 8 * hnsw.offsets.size() + 4 * hnsw.levels.size()
    return int(index.ntotal * index.d + links)


def _check(stop: Event) -> None:
    if stop.is_set():
        raise BuildStopped
