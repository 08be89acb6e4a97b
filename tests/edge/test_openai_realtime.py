"""The openai SDK's WebSockets, Realtime and Responses, through a node in front of a scripted server."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import openai
import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from edgecache.testing.node import Node, running_node

POLICY = """
[[route]]
name = "live"
path = "/v1/realtime"
mode = "off"

[[route]]
name = "responses"
path = "/v1/responses"
mode = "off"
"""
SESSION = {"type": "realtime", "model": "gpt-realtime"}


async def send(connection: ServerConnection, **event: Any) -> None:
    await connection.send(json.dumps({"event_id": "e", **event}))


async def realtime(connection: ServerConnection) -> None:
    """A session that says again what the last item said."""
    await send(connection, type="session.created", session=SESSION)
    said = ""
    async for message in connection:
        event = json.loads(message)
        if event["type"] == "conversation.item.create":
            said = event["item"]["content"][0]["text"]
        elif event["type"] == "response.create":
            for word in said.split():
                await send(
                    connection,
                    type="response.output_text.delta",
                    response_id="r",
                    item_id="i",
                    output_index=0,
                    content_index=0,
                    delta=word,
                )
            await send(connection, type="response.done", response={"id": "r", "object": "realtime.response"})


async def responses(connection: ServerConnection) -> None:
    async for message in connection:
        event = json.loads(message)
        shape = {"id": "r", "object": "response", "created_at": 1, "model": event["model"], "output": []}
        await send(connection, type="response.created", sequence_number=0, response={**shape, "status": "in_progress"})
        await send(connection, type="response.completed", sequence_number=1, response={**shape, "status": "completed"})


@asynccontextmanager
async def through(folder: Path) -> AsyncGenerator[tuple[Node, openai.AsyncOpenAI, list[ServerConnection]], None]:
    """A node that has the provider's key, the SDK with a token of ours, and what the provider was asked."""
    asked: list[ServerConnection] = []

    async def handle(connection: ServerConnection) -> None:
        asked.append(connection)
        assert connection.request is not None
        with suppress(ConnectionClosed):
            await (realtime if "/realtime" in connection.request.path else responses)(connection)

    async with (
        serve(handle, "127.0.0.1", 0) as server,
        running_node(
            folder,
            upstream=f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}",
            key="sk-ops",
            policy=POLICY,
        ) as node,
        openai.AsyncOpenAI(
            api_key=await node.token("sdk"),
            base_url=f"{node.url}/v1",
            websocket_base_url=f"ws://127.0.0.1:{node.port}/v1",
        ) as client,
    ):
        yield node, client, asked


async def test_a_realtime_session(tmp_path: Path) -> None:
    async with through(tmp_path) as (_, client, asked):
        async with client.realtime.connect(model="gpt-realtime") as connection:
            assert (await connection.recv()).type == "session.created"
            content: Any = [{"type": "input_text", "text": "one two three"}]
            await connection.conversation.item.create(item={"type": "message", "role": "user", "content": content})
            await connection.response.create()
            words = []
            async for event in connection:
                if event.type == "response.done":
                    break
                assert event.type == "response.output_text.delta"
                words.append(event.delta)
            assert words == ["one", "two", "three"]
        (provider,) = asked
        assert provider.request is not None
        assert provider.request.path == "/v1/realtime?model=gpt-realtime"
        assert provider.request.headers["Authorization"] == "Bearer sk-ops"
        await provider.wait_closed()
        assert provider.close_code == 1000


async def test_responses_over_a_websocket(tmp_path: Path) -> None:
    async with through(tmp_path) as (_, client, asked):
        async with client.responses.connect() as connection:
            for _ in range(2):
                await connection.response.create(model="gpt-5", input="Hi")
                assert [(await connection.recv()).type for _ in range(2)] == ["response.created", "response.completed"]
        (provider,) = asked
        assert provider.request is not None
        assert provider.request.headers["Authorization"] == "Bearer sk-ops"


async def test_a_token_that_is_not_known_is_refused_as_the_sdk_expects(tmp_path: Path) -> None:
    async with through(tmp_path) as (node, _, asked):
        stranger = openai.AsyncOpenAI(api_key="edgecache-unknown", websocket_base_url=f"ws://127.0.0.1:{node.port}/v1")
        with pytest.raises(Exception, match="401"):
            async with stranger.realtime.connect(model="gpt-realtime"):
                pass
        assert asked == []
        await stranger.close()
