"""A miss, then hits: exact and in other words, in both framings."""

from edgecache.testing.node import Node
from edgecache.testing.scripted_upstream import ScriptedUpstream

QUESTION = "How do I enable dark mode in the settings?"
PARAPHRASE = "How can I enable dark mode in the settings?"


async def test_the_second_time_a_question_is_answered_from_the_cache(node: Node, upstream: ScriptedUpstream) -> None:
    miss = await node.chat(QUESTION)
    assert (miss.status, miss.headers["X-Cache"]) == (200, "MISS")
    hit = await node.chat(QUESTION)
    assert (hit.status, hit.headers["X-Cache"]) == (200, "HIT")
    assert hit.body == miss.body
    assert len(upstream.requests) == 1
