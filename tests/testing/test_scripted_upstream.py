"""The scripted provider does what its tests ask of it, with real sockets."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from edgecache.testing.raw_upstream import RawUpstream
from edgecache.testing.scripted_upstream import Answer, ScriptedUpstream, Step, event, make_tls

CHAT = "/v1/chat/completions"


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def question(text: str, **more: object) -> dict[str, object]:
    return {"model": "m", "messages": [{"role": "user", "content": text}], **more}


async def test_a_chat_answer_is_made_from_the_last_user_text(client: aiohttp.ClientSession) -> None:
    async with ScriptedUpstream(str.upper) as upstream:
        answer = await client.post(upstream.url + CHAT + "?a=%20b", json=question("hello"))
        body = await answer.json()
    assert body["choices"][0]["message"]["content"] == "HELLO"
    assert (upstream.requests[0].path, upstream.requests[0].query) == (CHAT, "a=%20b")
    assert upstream.requests[0].json() == question("hello")


async def test_a_streamed_chat_answer_ends_with_usage_and_done(client: aiohttp.ClientSession) -> None:
    asked = question("one two", stream=True, stream_options={"include_usage": True})
    async with ScriptedUpstream(str.upper) as upstream, client.post(upstream.url + CHAT, json=asked) as answer:
        assert answer.content_type == "text/event-stream"
        lines = (await answer.text()).split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines[:-2]]
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks[:-1]) == "ONE TWO"
    assert chunks[-1]["usage"]["completion_tokens"] == 2


@pytest.mark.parametrize(
    "method, path, body, status",
    [("POST", CHAT, b"{", 400), ("POST", CHAT, b"[]", 400), ("GET", "/v1/models", b"", 200), ("GET", "/x", b"", 404)],
)
async def test_everything_else_has_an_answer_too(
    client: aiohttp.ClientSession, method: str, path: str, body: bytes, status: int
) -> None:
    async with ScriptedUpstream() as upstream, client.request(method, upstream.url + path, data=body) as answer:
        assert answer.status == status
        assert ("error" in await answer.json()) == (status >= 400)


async def test_queued_answers_come_first_and_keep_repeated_headers(client: aiohttp.ClientSession) -> None:
    headers = (("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"))
    async with ScriptedUpstream() as upstream:
        upstream.enqueue(Answer(status=429, headers=headers, body=b"slow down"))
        async with client.get(upstream.url) as answer:
            assert (answer.status, await answer.read()) == (429, b"slow down")
            assert answer.headers.getall("Set-Cookie") == ["a=1", "b=2"]
        async with client.get(upstream.url) as answer:
            assert answer.status == 404


async def test_barriers_hold_the_head_and_the_chunks(client: aiohttp.ClientSession) -> None:
    head, chunk = asyncio.Event(), asyncio.Event()
    async with ScriptedUpstream() as upstream:
        upstream.enqueue(Answer(before_head=head, chunks=[event("1"), chunk, event("2")]))
        asking = asyncio.ensure_future(client.get(upstream.url))
        await upstream.wait_requests(1)
        assert not asking.done()
        head.set()
        async with await asking as answer:
            assert await answer.content.readany() == b"data: 1\n\n"
            chunk.set()
            assert await answer.content.read() == b"data: 2\n\n"


async def test_a_cut_body_arrives_up_to_the_cut(client: aiohttp.ClientSession) -> None:
    async with ScriptedUpstream() as upstream:
        upstream.enqueue(Answer(chunks=[b"half", Step.CUT, b"never"]))
        async with client.get(upstream.url) as answer:
            assert await answer.content.readany() == b"half"
            with pytest.raises(aiohttp.ClientPayloadError):
                await answer.content.read()


async def test_a_hanging_answer_ends_with_its_client_and_connections_are_counted(client: aiohttp.ClientSession) -> None:
    async with ScriptedUpstream() as upstream:
        upstream.enqueue(Answer(before_head=asyncio.Event()))
        asking = asyncio.ensure_future(client.get(upstream.url))
        await upstream.wait_requests(1)
        assert (upstream.connections, upstream.accepted) == (1, 1)
        asking.cancel()
        await upstream.wait_connections(0)
        assert upstream.accepted == 1


async def test_closing_drops_hanging_requests_and_opening_again_keeps_the_port(client: aiohttp.ClientSession) -> None:
    async with ScriptedUpstream() as upstream:
        upstream.enqueue(Answer(before_head=asyncio.Event()))
        asking = asyncio.ensure_future(client.get(upstream.url))
        await upstream.wait_requests(1)
        url = upstream.url
        await upstream.close()
        with pytest.raises(aiohttp.ClientError):
            await asking
        await upstream.open()
        assert upstream.url == url
        async with client.get(url) as answer:
            assert answer.status == 404


async def test_tls_is_trusted_through_its_ca(client: aiohttp.ClientSession, tmp_path: Path) -> None:
    context, ca = make_tls(tmp_path)
    async with ScriptedUpstream(tls=context) as upstream:
        async with client.get(upstream.url, ssl=ssl.create_default_context(cafile=ca)) as answer:
            assert answer.status == 404
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await client.get(upstream.url)


async def test_the_raw_server_sends_what_it_is_given_and_closes(client: aiohttp.ClientSession) -> None:
    async with RawUpstream(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", b"five!") as upstream:
        async with client.post(upstream.url, data=b"body") as answer:
            with pytest.raises(aiohttp.ClientPayloadError):
                await answer.read()
        assert upstream.requests[0].endswith(b"\r\n\r\nbody")
        await upstream.wait_connections(0)


async def test_the_raw_server_resets_and_holds(client: aiohttp.ClientSession) -> None:
    async with RawUpstream(Step.CUT) as upstream:
        with pytest.raises(aiohttp.ClientConnectionError):
            await client.post(upstream.url)
    async with RawUpstream(asyncio.Event()) as upstream:
        asking = asyncio.ensure_future(client.get(upstream.url))
        await upstream.wait_requests(1)
        asking.cancel()
        await upstream.wait_connections(0)
