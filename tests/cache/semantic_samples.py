"""Vectors, keys and an index whose threads can be held, for the tests of the semantic index."""

import asyncio
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from edgecache.cache.semantic import SemanticIndex
from edgecache.core.entry import Scope
from edgecache.core.ports import Neighbour

T = TypeVar("T")
Floats = npt.NDArray[np.float32]

DIMENSIONS = 32
ALICE, BOB = Scope("alice"), Scope("bob")
PARTITION = b"p" * 16
NEVER = 10**9


def clusters(rows: int, *, seed: int, size: int = 20, spread: float = 0.6, dimensions: int = DIMENSIONS) -> Floats:
    """Unit vectors around `rows / size` centres."""
    random = np.random.default_rng(seed)
    centres = random.standard_normal((max(1, rows // size), dimensions))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    noise = random.standard_normal((rows, dimensions)) * spread / np.sqrt(dimensions)
    return unit(centres[np.arange(rows) % len(centres)] + noise)


def unit(vectors: npt.NDArray[np.floating]) -> Floats:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


def number(neighbour: Neighbour) -> int:
    return int.from_bytes(neighbour.key, "big")


def nearest(vectors: Floats, query: Floats, k: int, among: Iterable[int] | None = None) -> list[int]:
    """By brute force."""
    living = np.arange(len(vectors)) if among is None else np.array(sorted(among))
    return [int(row) for row in living[np.argsort(-(vectors[living] @ query), kind="stable")[:k]]]


async def fill(index: SemanticIndex, vectors: Floats, *, first: int = 0, scope: Scope = ALICE) -> None:
    for row, vector in enumerate(vectors, first):
        await index.add(scope, PARTITION, key(row), vector.tobytes())


async def ask(index: SemanticIndex, query: Floats, k: int = 10, scope: Scope = ALICE) -> Sequence[Neighbour]:
    return await index.search(scope, PARTITION, query.tobytes(), k)


class Hold:
    """Keeps a worker thread from starting its work, or, `after` it, from handing it over, until `release`."""

    def __init__(self, after: bool = False) -> None:
        self.after = after
        self.reached = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._free = threading.Event()

    def release(self) -> None:
        self._free.set()

    def wait_in_thread(self) -> None:
        self._loop.call_soon_threadsafe(self.reached.set)
        assert self._free.wait(30), "the test never released this thread"


class HeldIndex(SemanticIndex):
    """An index whose next search or build is held in its thread, after its views were taken."""

    next_search: Hold | None = None
    next_build: Hold | None = None

    def hold_search(self) -> Hold:
        self.next_search = Hold()
        return self.next_search

    def hold_build(self, after: bool = False) -> Hold:
        self.next_build = Hold(after)
        return self.next_build

    async def _in_thread(self, pool: ThreadPoolExecutor | None, work: Callable[[], T]) -> T:
        if pool is self._builder:
            hold, self.next_build = self.next_build, None
        else:
            hold, self.next_search = self.next_search, None

        def held() -> T:
            if hold is not None and not hold.after:
                hold.wait_in_thread()
            done = work()
            if hold is not None and hold.after:
                hold.wait_in_thread()
            return done

        return await super()._in_thread(pool, held)
