"""Every recorded exchange goes through a node: a miss gives the recorded bytes, then come hits that mean the same.

What is told at the end of the run says how many took each step, and of all others which they are and why.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from cassettes import exchanges
from replay import ALL_PATHS, OK, Outcome, Replay, Wrong

from edgecache.testing.node import running_node

EXCHANGES = exchanges()
BY_DIALECT = {
    name: [exchange for exchange in EXCHANGES if exchange.dialect == name]
    for name in sorted({exchange.dialect for exchange in EXCHANGES}, key=str)
}


LEAST = {
    "anthropic.messages": {"again": 79, "flipped": 79, "openai.chat": 44, "openai.responses": 44},
    "openai.chat": {"again": 52, "flipped": 52, "openai.responses": 43, "anthropic.messages": 37},
    "openai.completions": {"again": 2, "flipped": 2},
    "openai.embeddings": {"again": 8, "one by one": 2},
    "openai.responses": {"again": 55, "flipped": 55, "openai.chat": 28, "anthropic.messages": 23},
}
"""How many exchanges of a dialect are hits at least, by step."""


@pytest.mark.parametrize("dialect", BY_DIALECT, ids=str)
async def test_replayed(dialect: str | None, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    chosen = BY_DIALECT[dialect]
    replay = Replay(chosen)
    outcomes: list[Outcome] = []
    wrong: list[str] = []
    async with replay.upstream, running_node(tmp_path, upstream=replay.upstream, policy=ALL_PATHS) as node:
        replay.through(node)
        for exchange in chosen:
            try:
                outcomes.append(await replay.run(exchange))
            except Wrong as error:
                wrong.append(f"{exchange!r}: {str(error)[:1_000]}")
    record_property("told", "\n".join(told(dialect or "other paths", len(chosen), outcomes)))
    assert not wrong, "\n".join([f"{len(wrong)} of {len(chosen)}:", *wrong])
    assert len(outcomes) == len(chosen)
    hits = Counter(step for outcome in outcomes for step, said in outcome.steps.items() if said == OK)
    assert all(hits[step] >= count for step, count in LEAST.get(str(dialect), {}).items()), hits


def told(name: str, count: int, outcomes: Iterable[Outcome]) -> list[str]:
    """How many exchanges took each step; then, by step and reason, those that did not."""
    taken: dict[str, int] = {}
    others: dict[tuple[str, str], list[str]] = {}
    for outcome in outcomes:
        for step, said in outcome.steps.items():
            taken[step] = taken.get(step, 0) + (said == OK)
            if said != OK:
                others.setdefault((step, said), []).append(outcome.exchange.name)
    steps = ", ".join(f"{step} {number}" for step, number in taken.items())
    lines = [f"{name}: {len(list(outcomes))} of {count} exchanges as they must be; hits: {steps}"]
    return lines + [f"  {step}: {said} ({len(names)}): {' '.join(names)}" for (step, said), names in others.items()]
