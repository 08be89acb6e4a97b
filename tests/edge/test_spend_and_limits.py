"""What answers cost, what those from cache did not, and limits: through a whole node."""

import asyncio
import json
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from edgecache.testing.node import JSON, Clock, Node, chat_body, running_node
from edgecache.testing.scripted_upstream import SSE_HEADERS, Answer, Received, ScriptedUpstream, default_script, event

PRICES = """
[[route]]
name = "questions"
mode = "semantic"
threshold = 0.9

[[price]]
models = ["gpt-4o"]
input = 1.0
output = 10.0
"""
LIMIT = """
[[limit]]
scopes = ["local"]
per = "1h"
{}
"""
NOON = Clock(1_800_014_400.0)
"""12:00 UTC."""


async def spend(node: Node) -> dict[str, Any]:
    told = await node.ask("GET", "/spend", headers={"Authorization": f"Bearer {node.admin_token}"})
    assert told.status == 200, told.body
    return dict(told.json())


def sums(node: Node) -> dict[str, tuple[int, int, int, int]]:
    """Answers, tokens of prompts and completions, and billionths of a dollar, spent and saved by all routes."""
    rows = node.app._accounts.routes()
    return {
        how: tuple(
            sum(getattr(getattr(row, how), name) for row in rows)
            for name in ("answers", "prompt", "completion", "money")
        )
        for how in ("spent", "saved")
    }  # type: ignore[return-value]


async def test_what_is_asked_is_spent_and_what_is_found_is_saved(tmp_path: Path) -> None:
    """An answer of two words: 10 * 1.0 + 2 * 10.0 millionths of a dollar."""
    async with (
        ScriptedUpstream(lambda _: "Like this.") as upstream,
        running_node(tmp_path, upstream=upstream, policy=PRICES) as node,
    ):
        for text in ("How do I enable dark mode?", "How do I enable dark mode?", "How can I enable dark mode?"):
            await node.chat(text)
        assert sums(node) == {"spent": (1, 10, 2, 30_000), "saved": (2, 20, 4, 60_000)}
        streamed = [await node.chat("And in the app?", stream=True) for _ in range(2)]
        assert [one.headers["X-Cache"] for one in streamed] == ["MISS", "HIT"]
        assert sums(node) == {"spent": (2, 20, 4, 60_000), "saved": (3, 30, 6, 90_000)}
        assert "questions" in json.dumps(await spend(node))
    assert len(upstream.requests) == 2


async def test_who_joins_a_fill_saves_what_it_costs(tmp_path: Path) -> None:
    go = asyncio.Event()
    async with ScriptedUpstream() as upstream, running_node(tmp_path, upstream=upstream, policy=PRICES) as node:
        answer = default_script(lambda _: "So.")
        upstream.enqueue(Answer(before_head=go, body=chat_body_of(answer)))
        asked = [asyncio.create_task(node.chat("Why?")) for _ in range(3)]
        await upstream.wait_requests(1)
        await wait_for_passengers(node, 3)
        go.set()
        await asyncio.gather(*asked)
        assert sums(node) == {"spent": (1, 10, 1, 20_000), "saved": (2, 20, 2, 40_000)}
    assert len(upstream.requests) == 1


def chat_body_of(script: Any) -> bytes:
    body = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "Why?"}]}).encode()
    return bytes(script(Received("POST", "/v1/chat/completions", "", (), body)).body)


async def wait_for_passengers(node: Node, count: int) -> None:
    flights = node.app._open_parts["flights"]
    async with asyncio.timeout(10):
        while flights.statistics().passengers < count:
            await asyncio.sleep(0.001)


async def test_what_is_not_kept_is_paid_for_too(tmp_path: Path) -> None:
    async with (
        ScriptedUpstream(lambda _: "So.") as upstream,
        running_node(tmp_path, upstream=upstream, policy=PRICES) as node,
    ):
        for _ in range(2):
            await node.chat("Why?", headers={"X-Edgecache-Mode": "bypass"})
        assert sums(node) == {"spent": (2, 20, 2, 40_000), "saved": (0, 0, 0, 0)}
        upstream.enqueue(Answer(status=500, body=b"{}"))
        await node.chat("Why not?")
        assert sums(node)["spent"][0] == 2, "an error costs nothing"


async def test_requests_over_a_limit_are_refused_until_its_window_ends(tmp_path: Path) -> None:
    clock = Clock(NOON.now + 600)
    policy = PRICES + LIMIT.format("requests = 2")
    async with (
        ScriptedUpstream() as upstream,
        running_node(tmp_path, upstream=upstream, policy=policy, clock=clock) as node,
    ):
        answers = [await node.chat(text) for text in ("One?", "Two?", "Three?", "One?")]
        assert [one.status for one in answers] == [200, 200, 429, 200]
        assert answers[2].headers["Retry-After"] == "3000"
        assert (
            answers[2].error["type"] == answers[2].error["code"] == "rate_limit_exceeded" or answers[2].error["message"]
        )
        assert answers[3].headers["X-Cache"] == "HIT", "what is cached is served on"
        clock.now += 3_000
        assert (await node.chat("Three?")).status == 200
    assert len(upstream.requests) == 3


async def test_a_limit_may_count_hits_too(tmp_path: Path) -> None:
    policy = PRICES + LIMIT.format("requests = 2\nhits = true")
    async with (
        ScriptedUpstream() as upstream,
        running_node(tmp_path, upstream=upstream, policy=policy, clock=Clock(NOON.now)) as node,
    ):
        assert [(await node.chat("One?")).status for _ in range(4)] == [200, 200, 429, 429]
    assert len(upstream.requests) == 1


async def test_a_budget_of_money_ends(tmp_path: Path) -> None:
    """Each answer costs 20 millionths: the second is over 30, the third is refused."""
    policy = PRICES + LIMIT.format("money = 0.00003")
    async with (
        ScriptedUpstream(lambda _: "So.") as upstream,
        running_node(tmp_path, upstream=upstream, policy=policy, clock=Clock(NOON.now)) as node,
    ):
        answers = [await node.chat(text) for text in ("One?", "Two?", "Three?")]
        assert [one.status for one in answers] == [200, 200, 429]
        assert "3e-05 USD in 1h" in answers[2].error["message"]
    assert len(upstream.requests) == 2


async def test_both_sdks_know_what_it_is(tmp_path: Path) -> None:
    policy = PRICES + LIMIT.format("requests = 1").replace('"local"', '"*"')
    async with ScriptedUpstream() as upstream, running_node(tmp_path, upstream=upstream, policy=policy) as node:

        def ask_openai(text: str) -> None:
            with openai.OpenAI(base_url=f"{node.url}/v1", api_key="sk-a", max_retries=0) as client:
                client.chat.completions.create(model="m", messages=[{"role": "user", "content": text}])

        def ask_anthropic(text: str) -> None:
            with anthropic.Anthropic(base_url=node.url, api_key="sk-a", max_retries=0) as client:
                client.messages.create(model="m", max_tokens=5, messages=[{"role": "user", "content": text}])

        await asyncio.to_thread(ask_openai, "One?")
        for ask, error in ((ask_openai, openai.RateLimitError), (ask_anthropic, anthropic.RateLimitError)):
            with pytest.raises(error) as caught:  # type: ignore[arg-type]
                await asyncio.to_thread(ask, "Two?")
            assert int(caught.value.response.headers["retry-after"]) > 0
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("mode", ["", "bypass"])
@pytest.mark.parametrize("accepted", ["identity", "gzip"])
async def test_who_leaves_before_the_end_pays_for_what_came(tmp_path: Path, mode: str, accepted: str) -> None:
    """The usage comes last: who hangs up before it would never reach a limit of tokens."""
    never = asyncio.Event()
    chunks = [chunk(word) for word in ("a", "b", "c", "THE END")]
    script = lambda _: Answer(headers=SSE_HEADERS, chunks=[*chunks, never])  # noqa: E731
    headers = {**JSON, "Accept-Encoding": accepted, **({"X-Edgecache-Mode": mode} if mode else {})}
    async with (
        ScriptedUpstream(script=script) as upstream,
        running_node(tmp_path, upstream=upstream, policy=PRICES) as node,
    ):
        asked = chat_body("Why?", stream=True)
        async with node.session.post(f"{node.url}/v1/chat/completions", data=asked, headers=headers) as response:
            await response.content.readuntil(b"THE END")
        await upstream.wait_connections(0)
        await node.landed()
        assert sums(node)["spent"][:3] == (1, len(asked) // 4, 4)


async def test_a_bypassed_stream_is_asked_for_what_it_cost(tmp_path: Path) -> None:
    async with (
        ScriptedUpstream(lambda _: "So it is.") as upstream,
        running_node(tmp_path, upstream=upstream, policy=PRICES) as node,
    ):
        answer = await node.chat("Why?", stream=True, headers={"X-Edgecache-Mode": "bypass"})
        assert b"usage" not in answer.body
        assert sums(node)["spent"][:3] == (1, 10, 3)


async def test_a_stream_that_tells_no_usage_is_estimated(tmp_path: Path) -> None:
    """Nothing is asked of a provider beside a request that is not read for sure."""
    async with (
        ScriptedUpstream(lambda _: "So it is.") as upstream,
        running_node(tmp_path, upstream=upstream, policy=PRICES) as node,
    ):
        answer = await node.chat("Why?", stream=True, web_search_options={})
        assert b"usage" not in answer.body
        assert sums(node)["spent"][:3] == (1, len(upstream.requests[0].body) // 4, answer.body.count(b"data: "))


async def test_what_is_passed_through_with_our_key_is_limited_too(tmp_path: Path) -> None:
    policy = '[[route]]\nname = "all"\npath = "/v1/*"\n' + LIMIT.format("requests = 1").replace('"local"', '"*"')
    async with (
        ScriptedUpstream() as upstream,
        running_node(tmp_path, upstream=upstream, policy=policy, key="k") as node,
    ):
        ours = {"Authorization": f"Bearer {await node.token('team')}"}
        asked = [await node.ask("GET", "/v1/files", headers=ours) for _ in range(2)]
        assert [one.status for one in asked] == [404, 429]
    assert len(upstream.requests) == 1


async def test_no_websocket_where_tokens_are_limited(tmp_path: Path) -> None:
    """What is said there nobody counts."""
    policy = '[[route]]\nname = "all"\npath = "/v1/*"\n' + LIMIT.format("tokens = 10").replace('"local"', '"*"')
    async with (
        ScriptedUpstream() as upstream,
        running_node(tmp_path, upstream=upstream, policy=policy, key="k") as node,
    ):
        headers = {
            "Authorization": f"Bearer {await node.token('team')}",
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        }
        refused = await node.ask("GET", "/v1/realtime", headers=headers)
        assert (refused.status, "tokens or money" in refused.error["message"]) == (403, True)
    assert upstream.requests == []


def chunk(text: str) -> bytes:
    return event({"id": "c", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": text}}]})
