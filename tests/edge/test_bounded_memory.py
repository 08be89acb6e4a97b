"""What a node holds does not grow with what it was asked."""

import tracemalloc
from pathlib import Path

import pytest

from edgecache.settings import LimitSettings
from edgecache.testing.node import running_node
from edgecache.testing.scripted_upstream import ScriptedUpstream

ANSWER = 256 << 10
LIMIT = 2 << 20


@pytest.mark.parametrize("stream", [False, True])
async def test_hits_on_many_large_answers_hold_no_more_than_the_limit(tmp_path: Path, stream: bool) -> None:
    """What is remembered of a request must not keep alive an answer that memory has no room for."""
    async with (
        ScriptedUpstream(lambda text: text + "x" * ANSWER) as upstream,
        running_node(tmp_path, upstream=upstream, limits=LimitSettings(memory=LIMIT)) as node,
    ):

        async def ask(numbers: range) -> None:
            for number in numbers:
                await node.chat("Hi", seed=number)
                for _ in range(2):
                    assert (await node.chat("Hi", seed=number, stream=stream)).headers["X-Cache"] == "HIT"

        await ask(range(10))
        tracemalloc.start()
        try:
            await ask(range(10, 50))
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert len(upstream.requests) == 50
        assert held < 40 * ANSWER / 2
