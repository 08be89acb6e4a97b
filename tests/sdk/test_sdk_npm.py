"""The official `openai` package of npm, unmodified."""

import asyncio
from pathlib import Path

import npm
import pytest
from providers import CALLS, said

from edgecache.testing.node import Node
from edgecache.testing.scripted_upstream import (
    JSON_HEADERS,
    SSE_HEADERS,
    Answer,
    ScriptedUpstream,
    Step,
    event,
    refusal,
)

QUESTION = "What is the weather in Paris and Oslo?"
ERRORS = {
    400: "BadRequestError",
    401: "AuthenticationError",
    429: "RateLimitError",
    500: "InternalServerError",
}
CALLED = [list(call) for call in CALLS]
HALF = event({"id": "1", "choices": [{"index": 0, "delta": {"content": "Hel"}}]})


@pytest.fixture(scope="module")
def folder() -> Path:
    return npm.install()


@pytest.mark.parametrize(
    ("scenario", "told", "asked"),
    [
        ("chat", said(QUESTION), 1),
        ("stream", said(QUESTION), 1),
        ("tools", CALLED, 1),
        ("streamed_tools", CALLED, 1),
        ("run_tools", said(QUESTION), 2),
        ("response", said(QUESTION), 1),
        ("streamed_response", {"text": said(QUESTION), "last": "response.completed"}, 1),
    ],
)
async def test_a_miss_and_a_hit(
    folder: Path, node: Node, upstream: ScriptedUpstream, scenario: str, told: object, asked: int
) -> None:
    assert await npm.run(folder, f"{node.url}/v1", scenario, scenario) == [told, told]
    assert len(upstream.requests) == asked


async def test_streamed_or_not_is_free(folder: Path, node: Node, upstream: ScriptedUpstream) -> None:
    await npm.run(folder, f"{node.url}/v1", "stream", "chat", "response", "streamed_response")
    assert [request.path for request in upstream.requests] == ["/v1/chat/completions", "/v1/responses"]


async def test_models(folder: Path, node: Node) -> None:
    assert await npm.run(folder, f"{node.url}/v1", "models") == [["scripted"]]


@pytest.mark.parametrize("scenario", ["error", "streamed_error"])
async def test_the_providers_errors(folder: Path, node: Node, upstream: ScriptedUpstream, scenario: str) -> None:
    headers = (*JSON_HEADERS, ("Retry-After", "7"))
    upstream.enqueue(*(Answer(status=status, headers=headers, body=refusal(status, "No.").body) for status in ERRORS))
    failures = await npm.run(folder, f"{node.url}/v1", *[scenario] * len(ERRORS))
    assert failures == [{"kind": kind, "status": status, "wait": "7", "typed": True} for status, kind in ERRORS.items()]


async def test_a_stream_that_is_cut(folder: Path, node: Node, upstream: ScriptedUpstream) -> None:
    """The SDK must not take half an answer for a whole one."""
    upstream.enqueue(Answer(headers=SSE_HEADERS, chunks=[HALF, Step.CUT]))
    (failure,) = await npm.run(folder, f"{node.url}/v1", "streamed_error")
    assert failure["typed"]
    await node.landed()
    assert await node.stored() == 0


async def test_a_stream_that_is_left(folder: Path, node: Node, upstream: ScriptedUpstream) -> None:
    upstream.enqueue(Answer(headers=SSE_HEADERS, chunks=[HALF, asyncio.Event()]))
    assert await npm.run(folder, f"{node.url}/v1", "leave") == ["Hel"]
    await upstream.wait_connections(0)
    await node.landed()
    assert await node.stored() == 0
