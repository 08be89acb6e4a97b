"""For any valid request, what the cache answers is what the upstream answered, whichever framing each of them had."""

import asyncio
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgecache.testing.node import SEMANTIC, Node, Reply, running_node
from edgecache.testing.scripted_upstream import ScriptedUpstream

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=60)
scalars = st.none() | st.booleans() | st.integers(-(1 << 70), 1 << 70) | texts | st.floats(allow_nan=False)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3))
contents = texts | st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": texts}), min_size=1, max_size=3)
turns = st.fixed_dictionaries({"role": st.sampled_from(["system", "user", "assistant"]), "content": contents})
framings = st.sampled_from([{}, {"stream": True}, {"stream": True, "stream_options": {"include_usage": True}}])
requests = st.fixed_dictionaries(
    {"messages": st.lists(turns, min_size=1, max_size=4)},
    optional={
        "model": texts,
        "temperature": st.floats(0, 2),
        "tools": st.lists(values, max_size=2),
        "x_unknown": values,
        "metadata": values,
    },
)


class Pair:
    """A node and its upstream, on a loop of their own that examples are run on."""

    def __init__(self, runner: asyncio.Runner, node: Node, upstream: ScriptedUpstream) -> None:
        self._runner = runner
        self._node = node
        self._upstream = upstream
        self._numbers = itertools.count()

    def ask_twice(self, request: dict[str, Any], first: dict[str, Any], second: dict[str, Any]) -> tuple[Reply, Reply]:
        return self._runner.run(self._ask_twice(request, first, second))

    async def _ask_twice(self, request: dict[str, Any], first: Any, second: Any) -> tuple[Reply, Reply]:
        fresh = {**request, "x_example": next(self._numbers)}
        messages = fresh.pop("messages")
        miss = await self._node.chat(messages, **fresh, **first)
        assert (miss.status, miss.headers["X-Cache"]) == (200, "MISS")
        await self._node.landed()
        seen = len(self._upstream.requests)
        hit = await self._node.chat(messages, **fresh, **second)
        assert (hit.status, hit.headers["X-Cache"]) == (200, "HIT")
        assert len(self._upstream.requests) == seen
        return miss, hit


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with asyncio.Runner() as runner:
        upstream = ScriptedUpstream()
        runner.run(upstream.open())
        opening = running_node(tmp_path, upstream=upstream, policy=SEMANTIC)
        node = runner.run(opening.__aenter__())
        yield Pair(runner, node, upstream)
        runner.run(opening.__aexit__(None, None, None))
        runner.run(upstream.close())


def said(reply: Reply) -> tuple[str, object]:
    """What both framings have: the text and, where it was asked for, the usage."""
    if reply.headers["Content-Type"].startswith("text/event-stream"):
        usage = next((event["usage"] for event in reply.events() if event.get("usage")), None)
    else:
        usage = reply.json()["usage"]
    return reply.text, usage


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(request=requests, first=framings, second=framings)
def test_a_hit_says_what_the_miss_said(pair: Pair, request: dict, first: dict, second: dict) -> None:
    miss, hit = pair.ask_twice(request, first, second)
    if first == second:
        assert hit.body == miss.body
    (text, usage), (text_again, usage_again) = said(miss), said(hit)
    assert text_again == text
    if usage is not None and usage_again is not None:
        assert usage_again == usage
