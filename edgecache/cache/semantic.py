"""The semantic index: the nearest questions of one scope and partition.

Small partitions are searched exactly; large ones through a graph that is built in the background, with what came
after it searched exactly beside it. See docs/semantic-index.md.
"""

import asyncio
import contextlib
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import msgspec

from edgecache.cache.arrays import faiss, parse_vector
from edgecache.cache.changes import Changes
from edgecache.cache.graph import BuildStopped
from edgecache.cache.partition import Limits, Measure, Partition
from edgecache.core.entry import Scope
from edgecache.core.ports import Neighbour

log = logging.getLogger(__name__)

T = TypeVar("T")
Name = tuple[Scope, bytes]

GRAPH_FROM = 8_192
DELTA = 2_048
DEAD_SHARE = 0.25
BUDGET = 512 << 20
SEARCH_THREADS = 2
BUILDER_NICENESS = 10


class SemanticStatistics(msgspec.Struct, frozen=True):
    """`dead` rows still take memory; `bytes` is all the index takes, but for a graph that is being built. `refused`
    vectors came when the budget was used up.
    """

    partitions: int
    vectors: int
    dead: int
    graphs: int
    bytes: int
    building: bool
    built: int
    failed: int
    refused: int


class SemanticIndex:
    """The port `Index` in this process's memory.

    Vectors have `dimensions` components. A partition of `graph_from` vectors gets a graph; when `delta` vectors have
    come after it they are added to a copy of it; when more than the share `dead` of its rows is dead it is built anew.

    Over `budget` bytes no key is added any more until others go: such an answer is only found exactly.

    All methods belong to one event loop. A search of few vectors (256) runs on it, all others in worker threads.
    """

    def __init__(
        self,
        dimensions: int,
        *,
        budget: int = BUDGET,
        graph_from: int = GRAPH_FROM,
        delta: int = DELTA,
        dead: float = DEAD_SHARE,
    ) -> None:
        if dimensions < 1 or graph_from < 1 or delta < 1 or not 0.0 <= dead < 1.0:
            raise ValueError(f"{dimensions=} {graph_from=} {delta=}: at least 1 each; {dead=}: a share below 1")
        self._dimensions = dimensions
        self._limits = Limits(graph_from, delta, dead)
        self._partitions: dict[Name, Partition] = {}
        self._total = Measure()
        self._changes: Changes[tuple[Scope, bytes, bytes]] = Changes()
        self._searcher: ThreadPoolExecutor | None = None
        self._builder: ThreadPoolExecutor | None = None
        self._one_build = asyncio.Lock()
        self._builds: dict[Partition, asyncio.Task[None]] = {}
        self._built = 0
        self._failed = 0
        self._budget = budget
        self._refused = 0

    def __repr__(self) -> str:
        total = self._total
        return (
            f"<SemanticIndex {self._dimensions} dimensions: {len(self._partitions)} partitions, "
            f"{total.vectors} vectors, {total.dead} dead, {total.graphs} graphs, {len(self._builds)} builds due>"
        )

    async def open(self) -> None:
        if self._searcher is None:
            self._searcher = ThreadPoolExecutor(SEARCH_THREADS, "semantic-search", initializer=_use_one_thread)
            self._builder = ThreadPoolExecutor(1, "semantic-build", initializer=_be_nice)

    async def close(self) -> None:
        """Waits for searches, abandons builds (within 512 rows, some 0.2 s) and forgets all vectors."""
        pools, self._searcher, self._builder = (self._searcher, self._builder), None, None
        self._partitions.clear()
        self._total = Measure()
        for held in self._builds:
            held.stop_build()
        await self.wait_built()
        for pool in pools:
            if pool is not None:
                await asyncio.to_thread(pool.shutdown)

    async def add(self, scope: Scope, partition: bytes, key: bytes, vector: bytes) -> None:
        """Make `key` findable under a unit vector; replaces a vector already there.

        Raises:
            ValueError: `vector` has the wrong length or is no unit vector.
        """
        parsed = parse_vector(vector, self._dimensions)
        name = (scope, partition)
        held = self._partitions.get(name)
        if self._total.bytes >= self._budget:
            self._refused += 1
            self.discard(scope, partition, key)  # what it was found under before is no longer right
            return
        before = Measure() if held is None else held.measure()
        if held is None:
            held = self._partitions[name] = Partition(self._dimensions, self._limits)
        held.add(key, parsed)
        self._changes.note((scope, partition, key))
        self._account(before, held.measure())
        self._build_if_due(name, held)

    def discard(self, scope: Scope, partition: bytes, key: bytes) -> None:
        """From this return on, `key` is in no result, not even of a search already running. Unknown keys are fine."""
        self._changes.note((scope, partition, key))
        name = (scope, partition)
        held = self._partitions.get(name)
        if held is None:
            return
        before = held.measure()
        held.discard(key)
        if len(held):
            self._account(before, held.measure())
            self._build_if_due(name, held)
        else:
            del self._partitions[name]
            held.stop_build()
            self._account(before, Measure())

    def holds(self, scope: Scope, partition: bytes) -> bool:
        """Whether there is anything to search in."""
        return (scope, partition) in self._partitions

    def knows(self, scope: Scope, partition: bytes, key: bytes) -> bool:
        """Whether `key` can be found there."""
        held = self._partitions.get((scope, partition))
        return held is not None and key in held

    def all_keys(self) -> Iterator[tuple[Scope, bytes, list[bytes]]]:
        """All keys, partition by partition, each as it is when its turn comes: for who compares them with the store."""
        for scope, partition in list(self._partitions):
            held = self._partitions.get((scope, partition))
            if held is not None:
                yield scope, partition, held.keys()

    def mark(self) -> int:
        """This moment, for `changed`."""
        return self._changes.mark()

    def changed(self, scope: Scope, partition: bytes, key: bytes, mark: int) -> bool:
        """Whether this key was added or discarded since `mark`, or may have been: then what was read of it meanwhile,
        and not yet put into effect here, may no longer be so.
        """
        return self._changes.since((scope, partition, key), mark)

    async def search(self, scope: Scope, partition: bytes, vector: bytes, k: int) -> Sequence[Neighbour]:
        """The `k` nearest, most similar first; fewer where there are fewer, or where some were discarded meanwhile.

        Similarities found in a graph are off by up to 0.003, being of vectors rounded to eight bits a component.

        Raises:
            ValueError: `vector` has the wrong length or is no unit vector, or `k` is below 1.
        """
        query = parse_vector(vector, self._dimensions)
        if k < 1:
            raise ValueError(f"{k=}, at least 1 expected")
        held = self._partitions.get((scope, partition))
        if held is None:
            return ()
        views = held.views()
        if views.few:
            return held.living(views.nearest(query, k))
        found = await self._in_thread(self._searcher, lambda: views.nearest(query, k))
        return held.living(found)

    async def wait_built(self) -> None:
        """Returns when no build runs or is due."""
        while self._builds:
            await asyncio.gather(*self._builds.values())

    def statistics(self) -> SemanticStatistics:
        vectors, dead, graphs, size = self._total
        return SemanticStatistics(
            partitions=len(self._partitions),
            vectors=vectors,
            dead=dead,
            graphs=graphs,
            bytes=size,
            building=self._one_build.locked(),
            built=self._built,
            failed=self._failed,
            refused=self._refused,
        )

    async def _in_thread(self, pool: ThreadPoolExecutor | None, work: Callable[[], T]) -> T:
        if pool is None:
            raise RuntimeError("the index is not open")
        return await asyncio.get_running_loop().run_in_executor(pool, work)

    def _account(self, before: Measure, after: Measure) -> None:
        changed = (total + new - old for total, old, new in zip(self._total, before, after, strict=True))
        self._total = Measure(*changed)

    def _build_if_due(self, name: Name, held: Partition) -> None:
        if held.build_due and held not in self._builds and self._builder is not None:
            self._builds[held] = asyncio.create_task(self._build(name, held))

    async def _build(self, name: Name, held: Partition) -> None:
        try:
            async with self._one_build:
                while self._partitions.get(name) is held and held.build_due:
                    await self._build_once(name, held)
        finally:
            del self._builds[held]

    async def _build_once(self, name: Name, held: Partition) -> None:
        work = held.begin_build()
        try:
            graph = await self._in_thread(self._builder, work.run)
        except BuildStopped:
            held.end_build(failed=False)
        except (RuntimeError, MemoryError):  # what FAISS raises; the vectors stay where they are and are searched there
            log.exception("no graph could be built for %d vectors; they are searched one by one", len(held))
            self._failed += 1
            held.end_build(failed=True)
        else:
            before = held.measure()
            held.adopt(graph)
            self._built += 1
            if self._partitions.get(name) is held:
                self._account(before, held.measure())


def _use_one_thread() -> None:
    """FAISS's own threads would compete with the models'; the setting holds for the calling thread."""
    faiss.omp_set_num_threads(1)


def _be_nice() -> None:
    """A build must not slow requests: on Linux a thread has a niceness of its own."""
    _use_one_thread()
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), BUILDER_NICENESS)
