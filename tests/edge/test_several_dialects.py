"""One answer, every dialect: what was filled through one serves the others; upstreams may speak another."""

import contextlib
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from anthropic.types import Message
from openai.types.chat import ChatCompletion

from edgecache.settings import UpstreamSettings
from edgecache.testing.node import Node, Reply, running_node
from edgecache.testing.scripted_upstream import SSE_HEADERS, Answer, Received, ScriptedUpstream, event

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
VERSION = {"anthropic-version": "2023-06-01", "Content-Type": "application/json"}
TOOL = {"name": "weather", "description": "Of a city.", "parameters": {"type": "object", "properties": {}}}

QUESTION: dict[str, dict[str, Any]] = {
    CHAT: {
        "model": "m",
        "max_tokens": 50,
        "temperature": 0,
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why is the sky blue?"}],
        "tools": [{"type": "function", "function": TOOL}],
    },
    MESSAGES: {
        "model": "m",
        "max_tokens": 50,
        "temperature": 0.0,
        "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Why is the sky blue?"}]}],
        "tools": [{"name": "weather", "description": "Of a city.", "input_schema": TOOL["parameters"]}],
        "metadata": {"user_id": "u"},
    },
}
"""The same question."""


def provider(received: Received) -> Answer:
    """A provider of both dialects, that says in which it was asked."""
    asked = json.loads(received.body)
    if received.path == CHAT:
        return chat_answer(asked)
    assert received.path == MESSAGES, received
    return messages_answer(asked)


def chat_answer(asked: dict[str, Any]) -> Answer:
    head = {"id": "chatcmpl-1", "created": 7, "model": asked["model"]}
    usage = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
    if not asked.get("stream"):
        message = {"role": "assistant", "content": "By chat.", "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        whole = {**head, "object": "chat.completion", "choices": [choice], "usage": usage}
        return Answer(body=json.dumps(whole).encode())
    head["object"] = "chat.completion.chunk"
    deltas = [({"role": "assistant", "content": ""}, None), ({"content": "By "}, None), ({"content": "chat."}, None)]
    chunks = [
        event({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})
        for delta, finish in (*deltas, ({}, "stop"))
    ]
    return Answer(
        headers=SSE_HEADERS, chunks=[*chunks, event({**head, "choices": [], "usage": usage}), event("[DONE]")]
    )


def messages_answer(asked: dict[str, Any]) -> Answer:
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": asked["model"]}
    if not asked.get("stream"):
        usage = {"input_tokens": 9, "output_tokens": 2}
        content = [{"type": "text", "text": "By messages."}]
        whole = {**head, "content": content, "stop_reason": "end_turn", "stop_sequence": None, "usage": usage}
        return Answer(body=json.dumps(whole).encode())
    started = {
        **head,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 9, "output_tokens": 1},
    }
    told: list[dict[str, Any]] = [
        {"type": "message_start", "message": started},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "By "}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "messages."}},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": 2},
        },
        {"type": "message_stop"},
    ]
    return Answer(headers=SSE_HEADERS, chunks=[b"event: %s\n" % one["type"].encode() + event(one) for one in told])


async def ask(node: Node, path: str, **more: Any) -> Reply:
    answer = await node.ask("POST", path, json.dumps({**QUESTION[path], **more}).encode(), headers=VERSION)
    assert answer.status == 200, answer.body
    return answer


def text(path: str, answer: Reply) -> str:
    """What it says, as the SDK reads it: a stream is put together here as plainly as can be."""
    if not answer.headers["Content-Type"].startswith("text/event-stream"):
        if path == CHAT:
            return ChatCompletion.model_validate_json(answer.body).choices[0].message.content or ""
        block = Message.model_validate_json(answer.body).content[0]
        return block.text if block.type == "text" else ""
    if path == CHAT:
        return answer.text
    return "".join(one["delta"].get("text", "") for one in answer.events() if one["type"] == "content_block_delta")


@pytest.mark.parametrize("again_streamed", [False, True])
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(("filled", "asked"), [(a, b) for a in QUESTION for b in QUESTION])
async def test_what_was_filled_through_one_serves_the_others(
    tmp_path: Path, filled: str, asked: str, streamed: bool, again_streamed: bool
) -> None:
    async with ScriptedUpstream(script=provider) as upstream, running_node(tmp_path, upstream=upstream) as node:
        first = await ask(node, filled, stream=streamed)
        again = await ask(node, asked, stream=again_streamed)
        assert (first.headers["X-Cache"], again.headers["X-Cache"]) == ("MISS", "HIT")
        assert text(filled, first) == text(asked, again) == ("By chat." if filled == CHAT else "By messages.")
        kind = "text/event-stream" if again_streamed else "application/json"
        assert again.headers["Content-Type"].startswith(kind)
        if filled == asked and streamed == again_streamed:
            assert again.body == first.body
        if filled != asked:
            told = "openai.chat" if filled == CHAT else "anthropic.messages"
            assert f'detail="told from {told}"' in again.headers["Cache-Status"]
        once_more = await ask(node, asked, stream=again_streamed)
        assert (once_more.headers["X-Cache"], once_more.body) == ("HIT", again.body)
    assert len(upstream.requests) == 1


@pytest.mark.parametrize(
    ("path", "more"),
    [
        (CHAT, {"logprobs": True}),
        (CHAT, {"seed": 7}),
        (CHAT, {"stop": ["x"]}),
        (CHAT, {"n": 2}),
        (MESSAGES, {"top_k": 3}),
        (MESSAGES, {"thinking": {"type": "enabled", "budget_tokens": 1024}}),
        (MESSAGES, {"stop_sequences": ["x"]}),
    ],
)
async def test_what_only_one_dialect_can_ask_serves_no_other(tmp_path: Path, path: str, more: dict[str, Any]) -> None:
    other = MESSAGES if path == CHAT else CHAT
    async with ScriptedUpstream(script=provider) as upstream, running_node(tmp_path, upstream=upstream) as node:
        answers = [await ask(node, path, **more), await ask(node, path, **more), await ask(node, other)]
        assert [one.headers["X-Cache"] for one in answers] == ["MISS", "HIT", "MISS"]
    assert [received.path for received in upstream.requests] == [path, other]


async def test_an_answer_that_another_dialect_cannot_tell_is_asked_for(tmp_path: Path) -> None:
    """Citations have no place in chat: who asks there gets an answer of its own."""
    where = {"document_index": 0, "document_title": None, "start_char_index": 0, "end_char_index": 2}
    citation = {"type": "char_location", "cited_text": "So", **where}
    cited = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn",
        "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 1},
        "content": [{"type": "text", "text": "So.", "citations": [citation]}],
    }  # fmt: skip
    async with ScriptedUpstream(script=provider) as upstream, running_node(tmp_path, upstream=upstream) as node:
        upstream.enqueue(Answer(body=json.dumps(cited).encode()))
        answers = [await ask(node, MESSAGES), await ask(node, MESSAGES), await ask(node, CHAT), await ask(node, CHAT)]
        assert [one.headers["X-Cache"] for one in answers] == ["MISS", "HIT", "MISS", "HIT"]
    assert len(upstream.requests) == 2


# --- upstreams that speak another ---------------------------------------------------------------------------------


def speaking(upstream: ScriptedUpstream, *dialects: str, **more: Any) -> dict[str, Any]:
    return {"upstreams": (UpstreamSettings(name="only", url=upstream.url, speaks=dialects, **more),)}


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(("asked", "spoken"), [(CHAT, "anthropic.messages"), (MESSAGES, "openai.chat")])
async def test_an_upstream_of_the_other_kind_is_spoken_to_in_its_own(
    tmp_path: Path, asked: str, spoken: str, streamed: bool
) -> None:
    async with (
        ScriptedUpstream(script=provider) as upstream,
        running_node(tmp_path, **speaking(upstream, spoken)) as node,
    ):
        first = await ask(node, asked, stream=streamed)
        again = await ask(node, asked, stream=streamed)
        assert text(asked, first) == text(asked, again) == ("By chat." if spoken == "openai.chat" else "By messages.")
        assert (first.headers["X-Cache"], again.headers["X-Cache"]) == ("MISS", "HIT")
    sent = upstream.requests[0].json()
    assert isinstance(sent, dict)
    if spoken == "anthropic.messages":
        assert upstream.requests[0].header("anthropic-version") == "2023-06-01"
        assert (sent["system"], sent["max_tokens"]) in [
            ("Be brief.", 50),
            ([{"type": "text", "text": "Be brief."}], 50),
        ]
    else:
        assert sent["messages"] == QUESTION[CHAT]["messages"]
        assert sent["tools"] == QUESTION[CHAT]["tools"]
    assert len(upstream.requests) == 1


async def test_its_errors_are_told_in_the_clients_words(tmp_path: Path) -> None:
    async with (
        ScriptedUpstream(script=provider) as upstream,
        running_node(tmp_path, **speaking(upstream, "openai.chat")) as node,
    ):
        error = {"message": "Too long.", "type": "invalid_request_error", "param": None, "code": None}
        upstream.enqueue(Answer(status=400, body=json.dumps({"error": error}).encode()))
        answer = await node.ask("POST", MESSAGES, json.dumps(QUESTION[MESSAGES]).encode(), headers=VERSION)
        assert answer.status == 400
        assert answer.json()["type"] == "error"
        assert (answer.error["type"], answer.error["message"]) == ("invalid_request_error", "Too long.")


async def test_each_upstream_is_asked_what_it_speaks(tmp_path: Path) -> None:
    """Callers' own keys go to the provider whose dialect they speak, what is passed through too."""
    async with (
        ScriptedUpstream(script=provider) as gpt,
        ScriptedUpstream(script=provider) as claude,
        running_node(
            tmp_path,
            upstreams=(
                UpstreamSettings(name="openai", url=gpt.url, speaks=("openai.chat", "openai.responses")),
                UpstreamSettings(name="anthropic", url=claude.url, speaks=("anthropic.messages",)),
            ),
        ) as node,
    ):
        for path, more in ((CHAT, {"seed": 1}), (MESSAGES, {"top_k": 1})):
            await ask(node, path, **more)
        claude.enqueue(Answer(body=b'{"input_tokens": 9}'))
        counted = await node.ask("POST", "/v1/messages/count_tokens", b"{}", headers=VERSION)
        assert counted.body == b'{"input_tokens": 9}'
        claude.enqueue(Answer(body=b"{}"))
        gpt.enqueue(Answer(body=b"{}"))
        await node.ask("GET", "/v1/files", headers=VERSION)
        await node.ask("GET", "/v1/files")
    assert [one.path for one in gpt.requests] == [CHAT, "/v1/files"]
    assert [one.path for one in claude.requests] == [MESSAGES, "/v1/messages/count_tokens", "/v1/files"]


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
async def test_long_answers_are_told_beside_the_event_loop(tmp_path: Path, path: str) -> None:
    """The fixture of this folder fails the test where the loop is blocked; here the answer must come at all."""
    long = "word " * 60_000
    choice = {"index": 0, "message": {"role": "assistant", "content": long}, "finish_reason": "stop"}
    whole = json.dumps({"id": "c", "object": "chat.completion", "model": "m", "choices": [choice]}).encode()
    async with ScriptedUpstream(script=provider) as upstream, running_node(tmp_path, upstream=upstream) as node:
        upstream.enqueue(Answer(body=whole))
        await ask(node, CHAT)
        for _ in range(2):
            answer = await ask(node, path, stream=True)
            assert (answer.headers["X-Cache"], text(path, answer)) == ("HIT", long)
    assert len(upstream.requests) == 1


async def test_nothing_is_kept_of_what_requests_only_repeat(tmp_path: Path) -> None:
    """What one asks to see repeated of it is no identity, and large: it must not fill the memory."""
    async with ScriptedUpstream(script=provider) as upstream, running_node(tmp_path, upstream=upstream) as node:
        upstream.enqueue(response(store=False))
        await respond(node, store=False)
        only = {**VERSION, "Cache-Control": "only-if-cached"}
        for number in range(4):
            body = json.dumps({**ASKED, "metadata": {"ticket": str(number) * 100_000}}).encode()
            assert (await node.ask("POST", RESPONSES, body, headers=only)).status == 504
        rendered = node.app._open_parts["rendered"]
        assert rendered.statistics().items == 0


HEAD = {"id": "c", "object": "chat.completion.chunk", "created": 7, "model": "m"}


def chat_chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
    return event({**HEAD, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})


@pytest.mark.parametrize("finish", [None, "error", "insufficient_system_resource"])
@pytest.mark.parametrize("path", [MESSAGES, "/v1/responses"])
async def test_a_stream_that_has_not_finished_is_not_told_as_whole(
    tmp_path: Path, path: str, finish: str | None
) -> None:
    """Servers send [DONE] after failures too, and have reasons of their own for them."""
    chunks = [chat_chunk({"content": "So"}), *([chat_chunk({}, finish)] if finish else []), event("[DONE]")]
    async with (
        ScriptedUpstream(script=lambda _: Answer(headers=SSE_HEADERS, chunks=chunks)) as upstream,
        running_node(tmp_path, **speaking(upstream, "openai.chat")) as node,
    ):
        body = json.dumps({**(QUESTION[MESSAGES] if path == MESSAGES else {**ASKED, "store": False}), "stream": True})
        for _ in range(2):
            async with node.session.post(node.url + path, data=body, headers=VERSION) as response:
                received = b""
                with contextlib.suppress(aiohttp.ClientPayloadError):
                    async for piece in response.content.iter_any():
                        received += piece
            assert b"So" in received
            assert b"message_stop" not in received
            assert b"completed" not in received
            assert b"error" in received
        assert await node.stored() == 0
    assert len(upstream.requests) == 2


@pytest.mark.parametrize("path", [MESSAGES, "/v1/responses"])
async def test_an_answer_that_ended_for_reasons_of_its_server_is_told_to_nobody_else(tmp_path: Path, path: str) -> None:
    choice = {"index": 0, "message": {"role": "assistant", "content": "So"}, "finish_reason": "error"}
    whole = json.dumps({**HEAD, "object": "chat.completion", "choices": [choice]}).encode()
    async with (
        ScriptedUpstream(script=lambda _: Answer(body=whole)) as upstream,
        running_node(tmp_path, **speaking(upstream, "openai.chat")) as node,
    ):
        body = json.dumps(QUESTION[MESSAGES] if path == MESSAGES else {**ASKED, "store": False}).encode()
        answer = await node.ask("POST", path, body, headers=VERSION)
        assert answer.status == 502
        assert "'error'" in answer.error["message"]
        assert await node.stored() == 0


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_refusal_stays_one(tmp_path: Path, streamed: bool) -> None:
    """Told as an answer it would be stored, and found by others."""
    delta, usage = {"role": "assistant", "content": None, "refusal": "I cannot."}, {"prompt_tokens": 1}
    choice = {"index": 0, "message": delta, "finish_reason": "stop"}
    whole = json.dumps({**HEAD, "object": "chat.completion", "choices": [choice], "usage": usage}).encode()
    stream = [chat_chunk(delta), chat_chunk({}, "stop"), event("[DONE]")]
    said = Answer(headers=SSE_HEADERS, chunks=stream) if streamed else Answer(body=whole)
    async with (
        ScriptedUpstream(script=lambda _: said) as upstream,
        running_node(tmp_path, **speaking(upstream, "openai.chat")) as node,
    ):
        for _ in range(2):
            answer = await ask(node, MESSAGES, stream=streamed)
            assert answer.headers["X-Cache"] == "MISS"
            assert text(MESSAGES, answer) == "I cannot."
            assert b'"stop_reason":"refusal"' in answer.body
    assert len(upstream.requests) == 2


async def test_bypassed_requests_are_translated_too(tmp_path: Path) -> None:
    """SDKs ask for compressed answers: those could be neither translated nor counted."""
    async with (
        ScriptedUpstream(script=provider) as upstream,
        running_node(tmp_path, **speaking(upstream, "openai.chat")) as node,
    ):
        headers = {**VERSION, "X-Edgecache-Mode": "bypass", "Accept-Encoding": "gzip"}
        answer = await node.ask("POST", MESSAGES, json.dumps(QUESTION[MESSAGES]).encode(), headers=headers)
        assert (answer.status, text(MESSAGES, answer)) == (200, "By chat.")
        assert upstream.requests[0].header("accept-encoding") is None
        upstream.enqueue(Answer(headers=[("Content-Type", "text/html")], body=b"<html>"))
        answer = await node.ask("POST", MESSAGES, json.dumps(QUESTION[MESSAGES]).encode(), headers=headers)
        assert (answer.status, answer.json()["type"]) == (502, "error")


async def test_what_it_cannot_be_told_is_refused_and_asks_nobody(tmp_path: Path) -> None:
    async with (
        ScriptedUpstream(script=provider) as upstream,
        running_node(tmp_path, **speaking(upstream, "openai.chat")) as node,
    ):
        body = json.dumps({**QUESTION[MESSAGES], "top_k": 3}).encode()
        answer = await node.ask("POST", MESSAGES, body, headers=VERSION)
        assert answer.status == 400
        assert "top_k" in answer.error["message"]
    assert upstream.requests == []


# --- Responses, which the provider may keep ------------------------------------------------------------------------

RESPONSES = "/v1/responses"
ASKED = {
    "model": "m",
    "max_output_tokens": 50,
    "temperature": 0,
    "instructions": "Be brief.",
    "input": "Why is the sky blue?",
    "tools": [{"type": "function", **TOOL, "strict": False}],
}


def response(store: bool, **more: Any) -> Answer:
    content = [{"type": "output_text", "text": "By responses.", "annotations": [], "logprobs": []}]
    message = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": content}
    usage = {
        "input_tokens": 9, "output_tokens": 2, "total_tokens": 11,
        "input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0},
    }  # fmt: skip
    whole = {
        "id": "resp_1", "object": "response", "created_at": 7, "status": "completed", "error": None, "model": "m",
        "incomplete_details": None, "instructions": "Be brief.", "output": [message], "parallel_tool_calls": True,
        "tool_choice": "auto", "tools": [], "temperature": 0.0, "top_p": 1.0, "store": store, "usage": usage,
        "metadata": {}, **more,
    }  # fmt: skip
    return Answer(body=json.dumps(whole).encode())


async def respond(node: Node, **more: Any) -> Reply:
    return await node.ask("POST", RESPONSES, json.dumps({**ASKED, **more}).encode(), headers=VERSION)


async def test_a_response_that_the_provider_does_not_keep_serves_every_dialect(tmp_path: Path) -> None:
    async with ScriptedUpstream(script=provider) as upstream, running_node(tmp_path, upstream=upstream) as node:
        upstream.enqueue(response(store=False))
        first = await respond(node, store=False)
        unstrict = {"tools": [{"type": "function", "function": {**TOOL, "strict": False}}]}
        chat = await ask(node, CHAT, **unstrict)
        assert (first.headers["X-Cache"], chat.headers["X-Cache"]) == ("MISS", "HIT")
        assert text(CHAT, chat) == "By responses."
        streamed = await respond(node, store=False, stream=True)
        assert streamed.headers["X-Cache"] == "HIT"
        assert streamed.events()[-1]["response"]["output"][0]["content"][0]["text"] == "By responses."
    assert len(upstream.requests) == 1


async def test_who_may_go_on_with_a_response_gets_only_one_that_is_kept(tmp_path: Path) -> None:
    """`store` is true where nothing is said: what another dialect's provider answered, or one without, is no answer."""
    async with ScriptedUpstream(script=provider) as upstream, running_node(tmp_path, upstream=upstream) as node:
        upstream.enqueue(response(store=False), response(store=True))
        cached = [
            (await respond(node, store=False)).headers["X-Cache"],
            (await respond(node)).headers["X-Cache"],
            (await respond(node)).headers["X-Cache"],
            (await respond(node, store=False)).headers["X-Cache"],
        ]
        assert cached == ["MISS", "MISS", "HIT", "HIT"]
    assert len(upstream.requests) == 2


async def test_what_a_response_repeats_of_its_request_is_that_of_this_request(tmp_path: Path) -> None:
    async with ScriptedUpstream(script=provider) as upstream, running_node(tmp_path, upstream=upstream) as node:
        upstream.enqueue(response(store=True, metadata={"ticket": "1"}, user="ann"))
        first = await respond(node, metadata={"ticket": "1"}, user="ann")
        again = await respond(node, metadata={"ticket": "2"}, user="bob")
        assert (first.headers["X-Cache"], again.headers["X-Cache"]) == ("MISS", "HIT")
        assert (again.json()["metadata"], again.json()["user"]) == ({"ticket": "2"}, "bob")
        other = {**again.json(), "metadata": {"ticket": "1"}, "user": "ann"}
        assert other == first.json()
    assert len(upstream.requests) == 1


@pytest.mark.parametrize(
    "more",
    [
        {"previous_response_id": "resp_0"},
        {"conversation": "conv_1"},
        {"background": True},
        {"tools": [{"type": "web_search"}]},
        {"input": [{"type": "item_reference", "id": "msg_0"}]},
    ],
)
async def test_what_is_bound_to_a_conversation_or_has_effects_is_not_reused(
    tmp_path: Path, more: dict[str, Any]
) -> None:
    async with ScriptedUpstream(script=provider) as upstream, running_node(tmp_path, upstream=upstream) as node:
        upstream.enqueue(response(store=True), response(store=True))
        assert [(await respond(node, **more)).headers["X-Cache"] for _ in range(2)] == ["BYPASS", "BYPASS"]
    assert len(upstream.requests) == 2


async def test_threads_have_messages_too_and_are_passed_through(tmp_path: Path) -> None:
    policy = '[[route]]\nname = "all"\npath = "/v1/*"\n'
    async with ScriptedUpstream() as upstream, running_node(tmp_path, upstream=upstream, policy=policy) as node:
        upstream.enqueue(*[Answer(body=b'{"id": "msg_1"}')] * 2)
        body = json.dumps({"role": "user", "content": "Hi", "model": "m", "messages": [], "max_tokens": 1}).encode()
        answers = [await node.ask("POST", "/v1/threads/t/messages", body, headers=VERSION) for _ in range(2)]
        assert [one.body for one in answers] == [b'{"id": "msg_1"}'] * 2
    assert [received.body for received in upstream.requests] == [body, body]


async def test_tokens_are_counted_by_the_provider(tmp_path: Path) -> None:
    """With the operator's key, as the messages themselves are."""
    async with ScriptedUpstream() as upstream, running_node(tmp_path, upstream=upstream, key="sk-operator") as node:
        upstream.enqueue(Answer(body=b'{"input_tokens": 9}'))
        headers = {**VERSION, "x-api-key": await node.token("app")}
        counted = await node.ask(
            "POST", "/v1/messages/count_tokens", json.dumps(QUESTION[MESSAGES]).encode(), headers=headers
        )
        assert (counted.status, counted.body) == (200, b'{"input_tokens": 9}')
    assert upstream.requests[0].header("authorization") == "Bearer sk-operator"
