"""How fast a purge is in force, what it costs, and whether anything stale is ever served: `python -m bench purge`."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from bench import cache_tests, purge_race, purge_size, purge_snapshot
from bench.figures import Figure, figure
from bench.node import ROOT, chat_body, process, raw_request
from bench.purge_cluster import PurgeNode, nodes

POLICY = '[[route]]\nname = "bench"\nmode = "exact"\ntags = ["page"]\n'
SEMANTIC = '[[route]]\nname = "bench"\nmode = "semantic"\nthreshold = 0.9\n'
PURGES = 400
LOAD_PAUSE = 0.003
BATCH = 256


def measure(repeats: int) -> list[Figure]:
    """The race is run for a minute, and the tests of HTTP caching once, however many repeats of the others."""
    steps: list[Callable[[int], list[Figure]]] = [_applied, _keys, _shared]
    steps += [purge_size.measure, purge_snapshot.measure, purge_race.measure]
    found = [one for step in steps for one in _say(step, repeats)]
    return found + _say(cache_tests.measure, 1)


def _say(step: Callable[[int], list[Figure]], repeats: int) -> list[Figure]:
    print(f"bench purge: {step.__module__}.{step.__name__} ...", file=sys.stderr, flush=True)
    return step(repeats)


# --- how soon ------------------------------------------------------------------------------------------------------


def _applied(repeats: int) -> list[Figure]:
    """Acknowledged by Redis -> in force on the last of three nodes; and a call with wait=all as its client sees it."""
    with _provider() as url, nodes(3, POLICY, upstream=url) as three:
        idle = [_round(three) for _ in range(repeats)]
        with _load(three[1]):
            busy = [_round(three) for _ in range(repeats)]
        waited = [_waits(three) for _ in range(repeats)]
    return [
        figure("apply_p50_ms", [_share(times, 0.5) for times in idle], "ms"),
        figure("apply_p99_ms", [_share(times, 0.99) for times in idle], "ms", "<= 10"),
        figure("apply_p999_ms", [_share(times, 0.999) for times in idle], "ms"),
        figure("apply_loaded_p50_ms", [_share(times, 0.5) for times in busy], "ms"),
        figure("apply_loaded_p99_ms", [_share(times, 0.99) for times in busy], "ms"),
        figure("wait_all_p50_ms", [_share(times, 0.5) for times in waited], "ms"),
        figure("wait_all_p99_ms", [_share(times, 0.99) for times in waited], "ms", "<= 25"),
    ]


def _round(three: Sequence[PurgeNode]) -> list[float]:
    """Milliseconds of each purge, ordered on the nodes in turn. One that a node applied together with the next is in
    force when that one is.
    """
    for number in range(PURGES):
        three[number % 3].purge([f"key-{number}"])
        time.sleep(LOAD_PAUSE)
    time.sleep(0.1)
    notes = [node.notes() for node in three]
    acknowledged = {n: at for note in notes for n, at in note["acknowledged"].items()}
    return [
        1_000 * (max(_when(note["applied"], sequence) for note in notes) - at)
        for sequence, at in sorted(acknowledged.items())
    ]


def _when(applied: dict[int, float], sequence: int) -> float:
    return min(at for n, at in applied.items() if n >= sequence)


def _waits(three: Sequence[PurgeNode]) -> list[float]:
    times = []
    for number in range(PURGES):
        begun = time.perf_counter()
        answer = three[number % 3].purge([f"key-{number}"], wait=True)
        times.append(1_000 * (time.perf_counter() - begun))
        if answer["nodes"] != {"applied": 3, "blind": 0}:
            raise RuntimeError(f"not all nodes have it: {answer}")
    return times


def _share(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


# --- how many ------------------------------------------------------------------------------------------------------


def _keys(repeats: int) -> list[Figure]:
    """Keys purged in calls of 256 on one node, which serves hits meanwhile."""
    with _provider() as url, nodes(1, POLICY, upstream=url) as (one,), _load(one):
        rates = [_rate(one) for _ in range(repeats)]
    return [figure("keys_per_s", rates, "1/s", ">= 10000")]


def _rate(one: PurgeNode, calls: int = 200) -> float:
    begun = time.perf_counter()
    for number in range(calls):
        one.purge([f"key-{number}-{place}" for place in range(BATCH)])
    return calls * BATCH / (time.perf_counter() - begun)


# --- sharing -------------------------------------------------------------------------------------------------------


def _shared(repeats: int) -> list[Figure]:
    """From the end of a fill's answer on one node until another one has it, word for word and in other words."""
    with _provider() as url, nodes(2, SEMANTIC, upstream=url) as (one, other):
        exact, near = zip(*(_found(one, other, number) for number in range(50 * repeats)), strict=True)
    return [
        Figure("share_exact_p99_ms", _share(exact, 0.99), "ms", (min(exact), max(exact)), "<= 50"),
        Figure("share_semantic_p99_ms", _share(near, 0.99), "ms", (min(near), max(near)), "<= 50"),
        figure("share_semantic_p50_ms", near, "ms"),
    ]


def _found(one: PurgeNode, other: PurgeNode, number: int) -> tuple[float, float]:
    """Milliseconds; a lookup of its own is part of each."""
    with ThreadPoolExecutor(2) as both:
        one.ask(chat_body(f"How do I repair the lamp number {number} at home?"))
        filled = time.perf_counter()
        asked = (
            f"How do I repair the lamp number {number} at home?",
            f"How can I repair the lamp number {number} at home?",
        )
        found = [both.submit(_until_found, other, chat_body(text), filled) for text in asked]
        return found[0].result(), found[1].result()


def _until_found(node: PurgeNode, body: bytes, since: float) -> float:
    while time.perf_counter() - since < 10:
        if node.ask(body, **{"Cache-Control": "only-if-cached"})[0] == 200:
            return 1_000 * (time.perf_counter() - since)
    raise TimeoutError("not found on the other node")


# --- what goes on meanwhile ----------------------------------------------------------------------------------------


@contextlib.contextmanager
def _provider() -> Iterator[str]:
    with process("bench.provider", "0") as child:
        yield f"http://127.0.0.1:{int(child.stdout.readline())}"


@contextlib.contextmanager
def _load(node: PurgeNode, connections: int = 4) -> Iterator[None]:
    """Exact hits until the block ends."""
    body = chat_body("What is the capital of France?")
    node.ask(body)
    command = [sys.executable, "-m", "bench.load", "127.0.0.1", str(node.port), str(connections), "600"]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, cwd=ROOT)
    assert child.stdin is not None
    child.stdin.write(raw_request(node.port, body))
    child.stdin.close()
    try:
        yield
        if child.poll() is not None:
            raise RuntimeError("the load has ended early")
    finally:
        child.kill()
        child.wait()
