"""The promise of purging over several nodes: no seed breaks it, and each thing it hangs on, taken away, is noticed."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import msgspec
import pytest
from simulated_nodes import Fences, play

from edgecache.core.ports import Heard
from edgecache.purge.log import PurgeLog
from edgecache.purge.roll import Nodes, Ordered

SEEDS = 2_000
PIECE = 100
ENOUGH = 300
"""Seeds within which what is broken shows."""


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Of thousands of faults."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def test_no_node_serves_what_was_purged_before_the_request_began() -> None:
    pieces = [range(first, first + PIECE) for first in range(0, SEEDS, PIECE)]
    broken, outcomes = [], Counter[str]()
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        for found, happened in pool.map(play, pieces):
            broken += found
            outcomes.update(happened)
    print(outcomes)
    assert broken == []
    kinds = ("hit", "shared hit", "collapsed", "filled", "purged everywhere", "blind nodes", "cut", "died", "failover")
    assert min(outcomes[kind] for kind in kinds) > SEEDS // 4, outcomes


def without_the_store_fence(_: pytest.MonkeyPatch) -> Fences:
    return Fences(store=False)


def without_the_join_fence(_: pytest.MonkeyPatch) -> Fences:
    return Fences(join=False)


def without_the_lease(_: pytest.MonkeyPatch) -> Fences:
    return Fences(lease=False)


def with_the_lease_counted_from_receipt(monkeypatch: pytest.MonkeyPatch) -> Fences:
    hear = PurgeLog._hear

    async def late(self: PurgeLog, log: str, heard: Heard) -> None:
        await hear(self, log, msgspec.structs.replace(heard, sent=self._monotonic()))

    monkeypatch.setattr(PurgeLog, "_hear", late)
    return Fences()


def with_another_log_taken_for_the_same(monkeypatch: pytest.MonkeyPatch) -> Fences:
    def adopt(self: PurgeLog) -> None:
        self._identity = self._log.identity

    monkeypatch.setattr(PurgeLog, "_check_identity", adopt)
    return Fences()


def without_waiting(monkeypatch: pytest.MonkeyPatch) -> Fences:
    async def at_once(self: PurgeLog, ordered: Ordered) -> Nodes:
        return Nodes(1, 0)

    monkeypatch.setattr(PurgeLog, "wait_all", at_once)
    return Fences()


@pytest.mark.parametrize(
    "broken",
    [
        without_the_store_fence,
        without_the_join_fence,
        without_the_lease,
        with_the_lease_counted_from_receipt,
        with_another_log_taken_for_the_same,
        without_waiting,
    ],
    ids=lambda broken: broken.__name__,
)
def test_what_the_promise_hangs_on_is_noticed_when_it_is_taken_away(
    broken: Callable[[pytest.MonkeyPatch], Fences], monkeypatch: pytest.MonkeyPatch
) -> None:
    fences = broken(monkeypatch)
    found = next(
        (seed for seed in range(ENOUGH) if any("served at" in line for line in play(range(seed, seed + 1), fences)[0])),
        None,
    )
    print(f"seed {found} serves something stale")
    assert found is not None


def test_the_same_seed_is_the_same_run() -> None:
    assert play(range(3)) == play(range(3))
