"""The semantic index: how long a search takes, what a graph misses, how long it takes to build.

Vectors are synthetic: 384 components, unit length, 20 around each random centre. Queries lie as far from a vector as
a close paraphrase does (cosine about 0.93). Times are of whole calls, the worker thread's included.
"""

import asyncio
import statistics
import time
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecache.cache.semantic import SemanticIndex
from edgecache.core.entry import Scope

DIMENSIONS = 384
SCOPE, PARTITION = Scope("bench"), b"p" * 16
QUERIES = 300
ALWAYS_FLAT = 10**9

Floats = npt.NDArray[np.float32]


def measure(repeats: int) -> list[dict[str, Any]]:
    """The figures of `python -m bench index`: medians and ranges of `repeats` rounds of 300 queries; one build each."""
    return asyncio.run(_measure(repeats))


async def _measure(repeats: int) -> list[dict[str, Any]]:
    figures = []
    for rows in (256, 257, 1_000, 5_000, 10_000):  # 256 is the most that is searched without a thread
        figures += await _measure_one(rows, ALWAYS_FLAT, repeats)
    for rows in (5_000, 10_000, 100_000):
        figures += await _measure_one(rows, 5_000, repeats)
    return figures


async def _measure_one(rows: int, graph_from: int, repeats: int) -> list[dict[str, Any]]:
    vectors = _clusters(rows)
    queries = _near(vectors)
    index = SemanticIndex(DIMENSIONS, graph_from=graph_from)
    await index.open()
    seconds = await _fill(index, vectors)
    label = f"{'flat' if graph_from == ALWAYS_FLAT else 'graph'}_{_short(rows)}"
    times = [await _p50_ms(index, queries) for _ in range(repeats)]
    figures = [_figure(f"{label}_search_p50", times, "ms", "<= 1.5" if label == "graph_10k" else "")]
    if graph_from != ALWAYS_FLAT:
        figures += await _recall(index, vectors, queries, label)
        figures.append(_figure(f"{label}_build", [seconds], "s"))
        figures.append(_figure(f"{label}_bytes_a_vector", [index.statistics().bytes / rows], "bytes"))
    await index.close()
    return figures


def _short(rows: int) -> str:
    return f"{rows // 1_000}k" if rows >= 1_000 else str(rows)


def _figure(name: str, values: list[float], unit: str, goal: str = "") -> dict[str, Any]:
    spread = [min(values), max(values)]
    return {"name": name, "value": statistics.median(values), "unit": unit, "spread": spread, "goal": goal}


async def _fill(index: SemanticIndex, vectors: Floats) -> float:
    """Seconds until all are built in, in one build: the loop does not turn between additions."""
    start = time.perf_counter()
    for row, vector in enumerate(vectors):
        await index.add(SCOPE, PARTITION, _key(row), vector.tobytes())
    await index.wait_built()
    return time.perf_counter() - start


async def _p50_ms(index: SemanticIndex, queries: Floats) -> float:
    times = []
    for query in queries:
        vector = query.tobytes()
        start = time.perf_counter()
        await index.search(SCOPE, PARTITION, vector, 10)
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


async def _recall(index: SemanticIndex, vectors: Floats, queries: Floats, label: str) -> list[dict[str, Any]]:
    first, ten = [], []
    for query in queries:
        found = await _ask(index, query)
        best = np.argsort(-(vectors @ query))[:10].tolist()
        first.append(found[0] == best[0])
        ten.append(len(set(found) & set(best)) / 10)
    step = max(1, len(vectors) // 1_000)
    own = [row in await _ask(index, vectors[row]) for row in range(0, len(vectors), step)]
    return [
        _figure(f"{label}_recall_at_1", [float(np.mean(first))], "share", ">= 0.98"),
        _figure(f"{label}_recall_at_10", [float(np.mean(ten))], "share"),
        _figure(f"{label}_own_vector_found", [float(np.mean(own))], "share", ">= 0.999"),
    ]


async def _ask(index: SemanticIndex, query: Floats) -> list[int]:
    found = await index.search(SCOPE, PARTITION, query.tobytes(), 10)
    return [int.from_bytes(neighbour.key, "big") for neighbour in found]


def _key(row: int) -> bytes:
    return row.to_bytes(16, "big")


def _clusters(rows: int) -> Floats:
    random = np.random.default_rng(0)
    centres = _unit(random.standard_normal((max(1, rows // 20), DIMENSIONS), np.float32))
    noise = random.standard_normal((rows, DIMENSIONS), np.float32) * np.float32(0.5 / DIMENSIONS**0.5)
    return _unit(centres[random.integers(0, len(centres), rows)] + noise)


def _near(vectors: Floats) -> Floats:
    random = np.random.default_rng(1)
    noise = random.standard_normal((QUERIES, DIMENSIONS), np.float32) * np.float32(0.4 / DIMENSIONS**0.5)
    return _unit(vectors[random.integers(0, len(vectors), QUERIES)] + noise)


def _unit(vectors: Floats) -> Floats:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)
