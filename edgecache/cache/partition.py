"""One partition of the semantic index: which keys are alive, and where their vectors lie.

`Partition` lives on the event loop; `Views.nearest` and `Build.run` are for worker threads and read views only. A row
has a ticket, a number that rises and is never used again. Rows move (blocks grow, graphs are built), tickets stay. So
whatever happens while a search or a build runs, its result is right once it is held against the living tickets,
`Partition._keys`: the one place that decides.
"""

from collections.abc import Sequence
from threading import Event
from typing import NamedTuple

import numpy as np

from edgecache.cache.arrays import Floats, Tickets
from edgecache.cache.flat import BlockView, Flat
from edgecache.cache.graph import Graph, GraphView, build
from edgecache.core.ports import Neighbour

PARTITION_BYTES = 1_200
ENTRY_BYTES = 120
"""What the dictionaries, the key and the ticket cost in CPython, measured with tracemalloc."""


class Limits(NamedTuple):
    """When graphs are built: the first at `graph_from` vectors, then whenever `delta` lie beside it, and anew when more
    than the share `dead` of its rows are dead."""

    graph_from: int
    delta: int
    dead: float


FEW_ROWS = 256


class Measure(NamedTuple):
    """Counts of one partition, or of all."""

    vectors: int = 0
    dead: int = 0
    graphs: int = 0
    bytes: int = 0


class Views(NamedTuple):
    """All rows of a partition at one moment, readable from any thread."""

    graph: GraphView | None
    blocks: list[BlockView]

    @property
    def few(self) -> bool:
        """Whether a search is so short (20 µs) that a thread would cost more than it spares the event loop."""
        return self.graph is None and len(self.blocks) == 1 and len(self.blocks[0].tickets) <= FEW_ROWS

    def nearest(self, query: Floats, k: int) -> list[tuple[int, float]]:
        """Tickets and cosines of the `k` nearest rows that were alive, most similar first, older first among equals."""
        scores = np.empty(sum(len(block.tickets) for block in self.blocks), np.float32)
        start = 0
        for block in self.blocks:
            block.score(query, scores[start : start + len(block.tickets)])
            start += len(block.tickets)
        tickets = np.concatenate([block.tickets for block in self.blocks]) if self.blocks else np.empty(0, np.int64)
        if self.graph is not None:
            near, far = self.graph.nearest(query, k)
            scores, tickets = np.concatenate([near, scores]), np.concatenate([far, tickets])
        return _best(scores, tickets, k)


class Build(NamedTuple):
    """The work of building a graph, and the event that ends it early."""

    graph: GraphView | None
    blocks: list[BlockView]
    dimensions: int
    anew: bool
    stop: Event

    def run(self) -> Graph:
        """The graph of all rows in the views.

        Raises:
            BuildStopped: `stop` was set.
        """
        return build(self.graph, self.blocks, self.dimensions, self.anew, self.stop)


class Partition:
    """Vectors of `dimensions` components by key."""

    __slots__ = (
        "_build",
        "_died",
        "_dimensions",
        "_flat",
        "_graph",
        "_keys",
        "_limits",
        "_next",
        "_refused",
        "_tickets",
    )

    def __init__(self, dimensions: int, limits: Limits) -> None:
        self._dimensions = dimensions
        self._limits = limits
        self._tickets: dict[bytes, int] = {}
        self._keys: dict[int, bytes] = {}
        self._flat = Flat(dimensions)
        self._graph: Graph | None = None
        self._next = 0
        self._build: Build | None = None
        self._died: list[int] = []
        self._refused = 0

    def __len__(self) -> int:
        return len(self._tickets)

    def __contains__(self, key: bytes) -> bool:
        return key in self._tickets

    def keys(self) -> list[bytes]:
        return list(self._tickets)

    def add(self, key: bytes, vector: Floats) -> None:
        self.discard(key)
        self._tickets[key] = self._next
        self._keys[self._next] = key
        self._flat.append(self._next, vector)
        self._next += 1

    def discard(self, key: bytes) -> None:
        ticket = self._tickets.pop(key, None)
        if ticket is None:
            return
        del self._keys[ticket]
        if self._build is not None:
            self._died.append(ticket)
        if self._graph is not None and ticket <= self._graph.last:
            self._graph.kill([ticket])
        else:
            self._flat.kill(ticket)

    def views(self) -> Views:
        return Views(self._graph.view() if self._graph else None, self._flat.views())

    def living(self, found: Sequence[tuple[int, float]]) -> list[Neighbour]:
        """What a search found, less what has died since its views were taken."""
        return [Neighbour(self._keys[ticket], cosine) for ticket, cosine in found if ticket in self._keys]

    @property
    def build_due(self) -> bool:
        """After a build that failed the next one waits until there are twice as many vectors."""
        if self._build is not None or len(self) < 2 * self._refused:
            return False
        if self._graph is None:
            return self._flat.alive >= self._limits.graph_from
        return self._flat.alive >= self._limits.delta or self._wasteful(self._graph)

    def begin_build(self) -> Build:
        """What to run in a worker thread; `adopt` or `end_build` must follow. Searches go on on what is there."""
        graph = self._graph
        anew = graph is not None and self._wasteful(graph)
        self._build = Build(graph.view() if graph else None, self._flat.seal(), self._dimensions, anew, Event())
        return self._build

    def stop_build(self) -> None:
        """Make a running build raise BuildStopped soon; without one, nothing."""
        if self._build is not None:
            self._build.stop.set()

    def adopt(self, graph: Graph) -> None:
        """Take what was built in place of what it was built from, less what has died meanwhile."""
        graph.kill(self._died)
        self._graph = graph if graph.dead < graph.rows else None
        self._flat.drop_sealed()
        self._build = None
        self._died.clear()

    def end_build(self, failed: bool) -> None:
        """Nothing was built: all stays as it is."""
        self._refused = len(self) if failed else 0
        self._flat.unseal()
        self._build = None
        self._died.clear()

    def measure(self) -> Measure:
        graph, flat = self._graph, self._flat
        size = PARTITION_BYTES + ENTRY_BYTES * len(self) + flat.bytes
        if graph is None:
            return Measure(len(self), flat.dead, 0, size)
        return Measure(len(self), flat.dead + graph.dead, 1, size + graph.bytes)

    def _wasteful(self, graph: Graph) -> bool:
        return graph.dead > self._limits.dead * graph.rows


def _best(scores: Floats, tickets: Tickets, k: int) -> list[tuple[int, float]]:
    """The `k` highest; dead rows, whose score is -inf, are left out."""
    if len(scores) > k:
        top = np.argpartition(scores, len(scores) - k)[-k:]
        scores, tickets = scores[top], tickets[top]
    order = np.lexsort((tickets, -scores))
    best = zip(
        tickets[order].tolist(), np.clip(scores[order], -1.0, 1.0).tolist(), scores[order] > -np.inf, strict=True
    )
    return [(ticket, cosine) for ticket, cosine, alive in best if alive]
