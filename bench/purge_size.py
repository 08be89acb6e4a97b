"""`cost_vs_size`: what a purge of one key costs a caller on a node with a million entries, over one with a thousand."""

import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.figures import Figure, figure
from bench.purge_cluster import PurgeNode, environment
from edgecache.core.entry import Entry, Framing, Horizon, Scope, Source
from edgecache.core.tags import EVERYTHING, Kind, Tag
from edgecache.storage.sqlite import SqliteStorage

POLICY = '[[route]]\nname = "bench"\nmode = "exact"\n'
LARGE, SMALL = 1_000_000, 1_000
AT_ONCE = 2_000
CALLS = 200
TTL = 86_400.0


def measure(repeats: int) -> list[Figure]:
    """One call on each in turn, each of a key that kills one entry; the median of a round each."""
    with _node(LARGE) as large, _node(SMALL) as small:
        rounds = [_round(large, small, number) for number in range(repeats)]
    return [
        figure("cost_vs_size", [big / little for big, little in rounds], "ratio", "<= 1.5"),
        figure("purge_of_million_ms", [1_000 * big for big, _ in rounds], "ms"),
        figure("purge_of_thousand_ms", [1_000 * little for _, little in rounds], "ms"),
    ]


def _round(large: PurgeNode, small: PurgeNode, number: int) -> tuple[float, float]:
    times: tuple[list[float], list[float]] = ([], [])
    for call in range(CALLS):
        for node, found in zip((large, small), times, strict=True):
            begun = time.perf_counter()
            node.purge([f"key-{number * CALLS + call}"])
            found.append(time.perf_counter() - begun)
    return sorted(times[0])[CALLS // 2], sorted(times[1])[CALLS // 2]


@contextlib.contextmanager
def _node(size: int) -> Iterator[PurgeNode]:
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "policies").mkdir()
        (folder / "policies" / "bench.toml").write_text(POLICY)
        print(f"bench purge: filling a store with {size:,} entries ...", file=sys.stderr, flush=True)
        asyncio.run(_fill(folder / "edgecache.db", size))
        with PurgeNode(folder, environment(folder, 0, "", "")) as node:
            while node.call("GET", "/readyz")["index"]["state"] != "done":
                time.sleep(0.2)  # another process: there is nothing to wait on
            yield node


async def _fill(path: Path, size: int) -> None:
    storage = SqliteStorage(path)
    await storage.open()
    horizon = Horizon(storage.log.identity, 0)
    for start in range(0, size, AT_ONCE):
        numbers = range(start, min(start + AT_ONCE, size))
        await asyncio.gather(*(storage.store.put(_entry(number, horizon)) for number in numbers))
    await storage.close()


def _entry(number: int, horizon: Horizon) -> Entry:
    scope, key = Scope("local"), number.to_bytes(16, "big")
    return Entry(
        key=key,
        scope=scope,
        partition=b"p" * 16,
        question=f"What is number {number}?",
        vector=None,
        embedder="",
        tags=(EVERYTHING, Tag(Kind.SCOPE, scope), Tag(Kind.KEY, f"key-{number}"), Tag(Kind.ID, key.hex())),
        horizon=horizon,
        stored_at=time.time(),
        ttl=TTL,
        source=Source.UPSTREAM,
        route="bench",
        model="bench",
        dialect="openai.chat",
        framing=Framing.JSON,
        content_type="application/json",
        headers=(),
        body=b'{"choices": []}',
    )
