"""Any sequence of calls leaves the index where a dictionary and brute force would be."""

import asyncio

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from semantic_samples import ALICE, BOB, NEVER, Floats, key, number, unit

from edgecache.cache.semantic import SemanticIndex
from edgecache.core.entry import Scope

DIMENSIONS = 8
VECTORS = unit(np.random.default_rng(5).standard_normal((64, DIMENSIONS)))
SPACES = [(ALICE, b"p"), (ALICE, b"q"), (BOB, b"p")]

spaces = st.sampled_from(SPACES)
keys = st.integers(0, 60)
rows = st.integers(0, len(VECTORS) - 1)


class Machine(RuleBasedStateMachine):
    """The model is a dictionary from space and key to the row of VECTORS; builds end whenever the loop lets them."""

    graph_from = NEVER
    tolerance = 1e-6

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.index = SemanticIndex(DIMENSIONS, graph_from=self.graph_from, delta=6, dead=0.3)
        self.runner.run(self.index.open())
        self.model: dict[tuple[Scope, bytes], dict[int, int]] = {space: {} for space in SPACES}

    def teardown(self) -> None:
        self.runner.run(self.index.close())
        self.runner.close()

    @rule(space=spaces, name=keys, row=rows)
    def add(self, space: tuple[Scope, bytes], name: int, row: int) -> None:
        self.runner.run(self.index.add(*space, key(name), VECTORS[row].tobytes()))
        self.model[space][name] = row

    @rule(space=spaces, first=keys, row=rows)
    def add_many(self, space: tuple[Scope, bytes], first: int, row: int) -> None:
        for step in range(12):
            self.add(space, (first + step) % 61, (row + 5 * step) % 64)

    @rule(space=spaces, name=keys)
    def discard(self, space: tuple[Scope, bytes], name: int) -> None:
        self.runner.run(self._discard(space, name))
        self.model[space].pop(name, None)

    @rule(space=spaces, first=keys)
    def discard_many(self, space: tuple[Scope, bytes], first: int) -> None:
        for step in range(9):
            self.discard(space, (first + step) % 61)

    @rule(space=spaces, row=rows, k=st.integers(1, 12))
    def search(self, space: tuple[Scope, bytes], row: int, k: int) -> None:
        found = self.runner.run(self.index.search(*space, VECTORS[row].tobytes(), k))
        living = self.model[space]
        assert {number(n) for n in found} <= set(living)
        assert len({n.key for n in found}) == len(found)
        cosines = self._cosines(list(living.values()), VECTORS[row])
        assert [n.similarity for n in found] == pytest.approx(cosines[:k], abs=self.tolerance)
        for n in found:
            assert n.similarity == pytest.approx(float(VECTORS[living[number(n)]] @ VECTORS[row]), abs=self.tolerance)

    @rule()
    def wait_built(self) -> None:
        self.runner.run(self.index.wait_built())

    @invariant()
    def counts_agree(self) -> None:
        counts = self.index.statistics()
        assert counts.vectors == sum(len(living) for living in self.model.values())
        assert counts.partitions == sum(1 for living in self.model.values() if living)
        assert counts.failed == 0
        assert counts.dead >= 0
        assert (counts.bytes > 0) == (counts.vectors > 0)

    async def _discard(self, space: tuple[Scope, bytes], name: int) -> None:
        self.index.discard(*space, key(name))

    @staticmethod
    def _cosines(living: list[int], query: Floats) -> list[float]:
        return sorted((float(VECTORS[row] @ query) for row in living), reverse=True)


class FlatMachine(Machine):
    pass


class GraphMachine(Machine):
    graph_from = 15
    tolerance = 0.02


@pytest.mark.parametrize("machine", [FlatMachine, GraphMachine])
def test_any_sequence_of_calls(machine: type[Machine]) -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        machine,
        settings=settings(
            max_examples=60,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
