"""Nodes as processes: killed, stopped, told to reload, started without a network, two on one Redis."""

import asyncio
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from node_process import NodeProcess

from edgecache.settings import StoreSettings
from edgecache.testing.redis_server import RedisServer
from edgecache.testing.scripted_upstream import SSE_HEADERS, Answer, ScriptedUpstream, event

DEADLINE = 60.0
CHAT = "/v1/chat/completions"


def chunk(text: str | None, finish: str | None = None) -> bytes:
    delta = {"content": text} if text is not None else {}
    return event({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
                  "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})  # fmt: skip


async def test_everything_acknowledged_survives_kill_9(make_node: Any, upstream: ScriptedUpstream) -> None:
    node: NodeProcess = make_node()
    await node.start()
    for number in range(20):
        await node.chat(f"question {number}")
    response, _ = await node.chat("question 3")
    assert response.headers["X-Cache"] == "HIT"
    purged, _ = await node.chat("question 7")
    headers = {"Fastly-Key": node.token}
    async with node.session.post(
        f"{node.url}/purge/id/{purged.headers['X-Edgecache-Id']}", headers=headers
    ) as acknowledged:
        assert acknowledged.status == 200
    await node.kill()
    upstream.requests.clear()

    again: NodeProcess = make_node(PIP_NO_INDEX="1", HTTPS_PROXY="http://127.0.0.1:9", NO_PROXY="127.0.0.1")
    await again.start()
    for number in range(20):
        response, text = await again.chat(f"question {number}")
        assert response.headers["X-Cache"] == ("MISS" if number == 7 else "HIT"), number
        assert text == f"You asked: question {number}"
    assert len(upstream.requests) == 1
    await again.kill()
    upstream.requests.clear()
    await again.start()
    assert (await again.chat("question 7"))[0].headers["X-Cache"] == "HIT"
    assert upstream.requests == []


async def streaming(node: NodeProcess) -> aiohttp.ClientResponse:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "tell me"}], "stream": True}
    response = await node.session.post(node.url + CHAT, json=body)
    assert response.status == 200
    return response


async def test_sigterm_lets_a_running_stream_come_to_its_end(make_node: Any, upstream: ScriptedUpstream) -> None:
    node: NodeProcess = make_node()
    await node.start()
    gate = asyncio.Event()
    chunks = [chunk("first"), gate, chunk("last"), chunk(None, "stop"), event("[DONE]")]
    upstream.enqueue(Answer(headers=SSE_HEADERS, chunks=chunks))
    response = await streaming(node)
    assert b"first" in await response.content.readany()
    node.signal(signal.SIGTERM)
    await node.wait_line("stopping")
    await refused(node)
    gate.set()
    rest = await response.content.read()
    assert b"last" in rest
    assert rest.endswith(b"data: [DONE]\n\n")
    assert await node.wait() == 0
    assert "Traceback" not in node.log
    await node.start()
    hit, _ = await node.chat("tell me")
    assert hit.headers["X-Cache"] == "HIT"  # what came to its end while it stopped was stored


async def refused(node: NodeProcess) -> None:
    """Return when nobody new is let in."""
    host, _, port = node.url.removeprefix("http://").partition(":")
    async with asyncio.timeout(DEADLINE):
        while True:
            try:
                _, writer = await asyncio.open_connection(host, int(port))
            except OSError:
                return
            writer.close()


async def test_at_the_deadline_a_stream_is_cut_and_not_stored(make_node: Any, upstream: ScriptedUpstream) -> None:
    node: NodeProcess = make_node(EDGECACHE_DRAIN="200ms")
    await node.start()
    upstream.enqueue(Answer(headers=SSE_HEADERS, chunks=[chunk("first"), asyncio.Event()]))
    response = await streaming(node)
    assert b"first" in await response.content.readany()
    node.signal(signal.SIGTERM)
    with pytest.raises(aiohttp.ClientPayloadError):
        await response.content.read()
    response.close()
    assert await node.wait() == 0
    assert "Traceback" not in node.log
    await node.start()
    assert (await node.chat("tell me"))[0].headers["X-Cache"] == "MISS"


BROKEN = '[[route]]\nname = "x"\nmode = "telepathic"\n'


async def test_sighup_reloads_the_policy_without_losing_a_request(make_node: Any, upstream: ScriptedUpstream) -> None:
    node: NodeProcess = make_node()
    policies = node.folder / "policies"
    policies.mkdir()
    (policies / "rules.toml").write_text('[[route]]\nname = "cached"\n')
    await node.start()
    gate = asyncio.Event()
    chunks = [chunk("first"), gate, chunk(None, "stop"), event("[DONE]")]
    upstream.enqueue(Answer(headers=SSE_HEADERS, chunks=chunks))
    running = await streaming(node)
    assert b"first" in await running.content.readany()
    await node.chat("kept")

    (policies / "rules.toml").write_text('[[route]]\nname = "not-cached"\nmode = "off"\n')
    node.signal(signal.SIGHUP)
    await node.wait_line("in force: 1 rules")
    assert (await node.chat("kept"))[0].headers["X-Cache"] == "BYPASS"

    (policies / "rules.toml").write_text(BROKEN)
    node.signal(signal.SIGHUP)
    assert "stays in force" in await node.wait_line("policy not reloaded")
    assert "rules.toml: route[1].mode" in await node.wait_line("telepathic")
    assert (await node.chat("kept"))[0].headers["X-Cache"] == "BYPASS"

    (policies / "rules.toml").write_text('[[route]]\nname = "cached"\n')
    node.signal(signal.SIGHUP)
    await node.wait_line("in force: 1 rules")
    assert (await node.chat("kept"))[0].headers["X-Cache"] == "HIT"  # a reload empties nothing
    gate.set()
    assert (await running.content.read()).endswith(b"[DONE]\n\n")


@pytest.fixture
async def redis(redis_installed: None) -> AsyncGenerator[RedisServer, None]:
    async with RedisServer() as server:
        yield server


async def test_two_nodes_on_one_redis(
    make_node: Any,
    upstream: ScriptedUpstream,
    redis: RedisServer,
    shared_store: Callable[[RedisServer, str], Awaitable[StoreSettings]],
) -> None:
    shared = await shared_store(redis, StoreSettings().prefix)
    store = {"EDGECACHE_STORE_URL": shared.url, "EDGECACHE_STORE_LEASE": f"{shared.lease:.0f}s"}
    one: NodeProcess = make_node("one", **store)
    two: NodeProcess = make_node("two", **store)
    await asyncio.gather(one.start(), two.start())
    await one.chat("shared?")
    assert (await two.chat("shared?"))[0].headers["X-Cache"] == "HIT"
    assert len(upstream.requests) == 1

    ran = await one.cli("purge", "--all")
    assert ran.code == 0, ran
    async with asyncio.timeout(DEADLINE):
        while (await two.chat("shared?"))[0].headers["X-Cache"] == "HIT":
            await asyncio.sleep(0.01)
    assert len(upstream.requests) == 2

    made = await one.cli("token", "create", "app")
    headers = {"Authorization": f"Bearer {made.out.strip()}"}
    async with asyncio.timeout(DEADLINE):
        while (await asked(two, headers)) != 200:
            await asyncio.sleep(0.05)
    await one.cli("token", "revoke", "app")
    assert await asked(one, headers) == 401
    async with asyncio.timeout(DEADLINE):
        while (await asked(two, headers)) != 401:
            await asyncio.sleep(0.05)


async def asked(node: NodeProcess, headers: dict[str, str]) -> int:
    body = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
    async with node.session.post(node.url + CHAT, json=body, headers=headers) as response:
        return response.status
