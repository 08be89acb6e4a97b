"""A miss, then hits: exact and in other words, in both framings. Every hit is one that the upstream did not see."""

import json
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from edgecache.testing.node import Clock, Node, Reply, running_node
from edgecache.testing.scripted_upstream import JSON_HEADERS, SSE_HEADERS, Answer, ScriptedUpstream, event

QUESTION = "How do I enable dark mode in the settings?"
PARAPHRASE = "How do I turn on dark mode in the settings?"
OPPOSITE = "How do I disable dark mode in the settings?"
USAGE = {"include_usage": True}

MESSAGE = {"role": "assistant", "content": "Öffne\u00a0…", "refusal": None, "x_unknown": {"deep": [1, 2.50]}}
COMPLETION = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-4o",
    "x_vendor": {"cost": 1e-7},
    "choices": [{"index": 0, "message": MESSAGE, "logprobs": None, "finish_reason": "stop", "x_choice": True}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5, "x_cached": 1},
}


async def asked_twice(node: Node, upstream: ScriptedUpstream, first: dict, second: dict) -> tuple[Reply, Reply]:
    """A miss and the hit that follows it."""
    miss = await node.chat(QUESTION, **first)
    assert (miss.status, miss.headers["X-Cache"]) == (200, "MISS")
    await node.landed()
    seen = len(upstream.requests)
    hit = await node.chat(QUESTION, **second)
    assert (hit.status, hit.headers["X-Cache"]) == (200, "HIT")
    assert len(upstream.requests) == seen
    return miss, hit


# --- the bytes ----------------------------------------------------------------------------------------------------


async def test_the_second_time_a_question_is_answered_from_the_cache(node: Node, upstream: ScriptedUpstream) -> None:
    sent = json.dumps(COMPLETION, indent=3).encode()
    upstream.enqueue(Answer(body=sent))
    miss, hit = await asked_twice(node, upstream, {}, {})
    assert miss.body == hit.body == sent
    assert hit.headers["Content-Type"] == miss.headers["Content-Type"] == "application/json"


async def test_a_stream_is_played_again_with_the_providers_bytes(node: Node, upstream: ScriptedUpstream) -> None:
    first = {"stream": True, "stream_options": USAGE}
    miss, hit = await asked_twice(node, upstream, first, first)
    assert miss.body == hit.body
    assert miss.body.count(b"data: ") > 3
    assert hit.headers["Content-Type"].startswith("text/event-stream")


async def test_events_that_arrive_in_pieces_and_comments_keep_their_bytes(
    node: Node, upstream: ScriptedUpstream
) -> None:
    chunk = event({"choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}]})
    chunks = [b": ping\r\n\r\n", chunk[:7], chunk[7:], b"event: x\ndata: {}\n", b"\n", b"data: [DONE]\n", b"\n"]
    upstream.enqueue(Answer(headers=SSE_HEADERS, chunks=chunks))
    miss, hit = await asked_twice(node, upstream, {"stream": True}, {"stream": True})
    assert miss.body == hit.body == b"".join(chunks)


async def test_a_stream_is_served_from_what_came_as_json(node: Node, upstream: ScriptedUpstream) -> None:
    upstream.enqueue(Answer(body=json.dumps(COMPLETION).encode()))
    _, hit = await asked_twice(node, upstream, {}, {"stream": True, "stream_options": USAGE})
    assert hit.headers["Content-Type"].startswith("text/event-stream")
    assert hit.body.endswith(b"data: [DONE]\n\n")
    events = hit.events()
    assert hit.text == MESSAGE["content"]
    assert events[0]["choices"][0]["delta"]["x_unknown"] == MESSAGE["x_unknown"]
    assert events[-1]["usage"] == COMPLETION["usage"]
    assert {event["object"] for event in events} == {"chat.completion.chunk"}
    assert all(event["x_vendor"] == COMPLETION["x_vendor"] for event in events)


async def test_json_is_served_from_what_came_as_a_stream(node: Node, upstream: ScriptedUpstream) -> None:
    miss, hit = await asked_twice(node, upstream, {"stream": True}, {})
    assert hit.headers["Content-Type"] == "application/json"
    answer = hit.json()
    assert answer["object"] == "chat.completion"
    assert hit.text == miss.text == f"You asked: {QUESTION}"
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"]["prompt_tokens"] == 10


async def test_a_provider_that_answers_a_stream_with_json_is_turned_into_a_stream(
    node: Node, upstream: ScriptedUpstream
) -> None:
    """And the other way round: what the client asked for is what it gets."""
    upstream.enqueue(Answer(body=json.dumps(COMPLETION).encode()))
    miss, hit = await asked_twice(node, upstream, {"stream": True}, {"stream": True})
    assert miss.body == hit.body
    assert miss.headers["Content-Type"].startswith("text/event-stream")
    assert miss.text == MESSAGE["content"]


async def test_a_provider_that_streams_unasked_is_turned_into_json(node: Node, upstream: ScriptedUpstream) -> None:
    chunk = event({"id": "1", "choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}]})
    upstream.enqueue(Answer(headers=SSE_HEADERS, chunks=[chunk, b"data: [DONE]\n\n"]))
    miss, hit = await asked_twice(node, upstream, {}, {})
    assert miss.json() == hit.json()
    assert miss.headers["Content-Type"] == "application/json"
    assert miss.text == "Hi"


# --- usage on streams ---------------------------------------------------------------------------------------------


async def test_usage_is_asked_for_on_a_stream_and_hidden_from_who_did_not_ask(
    node: Node, upstream: ScriptedUpstream
) -> None:
    miss, hit = await asked_twice(node, upstream, {"stream": True}, {"stream": True})
    assert upstream.requests[0].json()["stream_options"] == USAGE
    assert miss.body == hit.body
    assert b"usage" not in miss.body
    shown = await node.chat(QUESTION, stream=True, stream_options=USAGE)
    assert shown.headers["X-Cache"] == "HIT"
    assert shown.events()[-1]["usage"]["total_tokens"] > 0
    assert len(upstream.requests) == 1


async def test_a_stream_with_a_length_loses_it_where_usage_is_hidden(node: Node, upstream: ScriptedUpstream) -> None:
    usage = event({"choices": [], "usage": {"prompt_tokens": 1}})
    chunk = event({"choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}]})
    upstream.enqueue(Answer(headers=SSE_HEADERS, body=chunk + usage + b"data: [DONE]\n\n"))
    miss, hit = await asked_twice(node, upstream, {"stream": True}, {"stream": True})
    assert miss.body == hit.body == chunk + b"data: [DONE]\n\n"


async def test_a_whole_answer_is_asked_for_with_the_bytes_that_came(node: Node, upstream: ScriptedUpstream) -> None:
    body = b'{ "model":"gpt-4o",\n "temperature": 1.0e0, "messages":[{"role":"user","content":"\\u0041 1.50"}], "x":[]}'
    await node.ask("POST", "/v1/chat/completions", body, headers={"Content-Type": "application/json"})
    assert upstream.requests[0].body == body


# --- headers ------------------------------------------------------------------------------------------------------


async def test_answers_explain_themselves(node: Node, upstream: ScriptedUpstream, clock: Clock) -> None:
    miss = await node.chat(QUESTION)
    assert miss.headers["Cache-Status"] == "edgecache; fwd=miss; fwd-status=200; stored"
    assert miss.headers["X-Served-By"] == "node-under-test"
    assert "Age" not in miss.headers
    clock.now += 12.9
    hit = await node.chat(QUESTION)
    assert hit.headers["Cache-Status"] == "edgecache; hit; ttl=3588"
    assert hit.headers["Age"] == "12"
    assert hit.headers["X-Served-By"] == "node-under-test"
    assert hit.headers["X-Edgecache-Id"] == miss.headers["X-Edgecache-Id"]
    assert len(hit.headers["X-Edgecache-Id"]) == 32


async def test_a_streamed_miss_does_not_claim_to_know_whether_it_is_stored(node: Node) -> None:
    miss = await node.chat(QUESTION, stream=True)
    assert miss.headers["Cache-Status"] == "edgecache; fwd=miss; fwd-status=200"
    assert miss.headers["X-Cache"] == "MISS"


HEADERS = (
    *JSON_HEADERS,
    ("Surrogate-Key", "a b"),
    ("Cache-Tag", "c"),
    ("Edge-Cache-Tag", "d"),
    ("xkey", "e"),
    ("Cache-Groups", '"f"'),
    ("Set-Cookie", "session=1"),
    ("Set-Cookie", "other=2"),
    ("x-ratelimit-remaining-requests", "7"),
    ("anthropic-ratelimit-tokens-limit", "7"),
    ("CF-Ray", "1"),
    ("Age", "7"),
    ("X-Cache", "theirs"),
    ("x-request-id", "req_1"),
    ("openai-organization", "org"),
    ("openai-processing-ms", "7"),
    ("Access-Control-Allow-Origin", "https://example.org"),
    ("Clear-Site-Data", "*"),
    ("Link", "<https://example.org>; rel=preload"),
    ("X-Echo", "whatever was sent"),
    ("openai-version", "2020-10-01"),
)
PRIVATE = (
    "Set-Cookie", "x-ratelimit-remaining-requests", "anthropic-ratelimit-tokens-limit", "CF-Ray", "x-request-id",
    "openai-organization", "openai-processing-ms", "Access-Control-Allow-Origin", "Clear-Site-Data", "Link", "X-Echo",
)  # fmt: skip
TAGS = ("Surrogate-Key", "Cache-Tag", "Edge-Cache-Tag", "xkey", "Cache-Groups")


async def test_what_belongs_to_one_response_is_not_given_to_others(node: Node, upstream: ScriptedUpstream) -> None:
    upstream.enqueue(Answer(headers=HEADERS, body=json.dumps(COMPLETION).encode()))
    miss, hit = await asked_twice(node, upstream, {}, {})
    assert miss.headers.getall("Set-Cookie") == ["session=1", "other=2"]
    assert miss.headers["x-ratelimit-remaining-requests"] == "7"
    assert not [name for name in PRIVATE if name in hit.headers]
    assert not [name for name in TAGS if name in hit.headers or name in miss.headers]
    assert hit.headers["openai-version"] == miss.headers["openai-version"] == "2020-10-01"
    assert hit.headers["Age"] == "0"
    assert "Age" not in miss.headers
    assert miss.headers.getall("X-Cache") == ["MISS"]


async def test_one_clients_connection_header_does_not_close_the_next_ones_connection(node: Node) -> None:
    """Hits within one second are answered with the same headers, into which aiohttp writes `Connection`."""
    for _ in range(2):
        await node.chat(QUESTION)
    closing = await node.chat(QUESTION, headers={"Connection": "close"})
    assert (closing.headers["X-Cache"], closing.headers["Connection"]) == ("HIT", "close")
    kept = await node.chat(QUESTION)
    assert kept.headers["X-Cache"] == "HIT"
    assert "Connection" not in kept.headers


# --- in other words -----------------------------------------------------------------------------------------------


async def test_a_question_in_other_words_is_answered_from_the_cache(node: Node, upstream: ScriptedUpstream) -> None:
    miss = await node.chat(QUESTION)
    hit = await node.chat(PARAPHRASE)
    assert hit.headers["X-Cache"] == "HIT"
    assert hit.headers["Cache-Status"] == 'edgecache; hit; ttl=3600; detail="semantic 0.962"'
    assert hit.headers["X-Edgecache-Id"] == miss.headers["X-Edgecache-Id"]
    assert hit.body == miss.body
    streamed = await node.chat(PARAPHRASE, stream=True)
    assert streamed.text == miss.text
    assert len(upstream.requests) == 1


async def test_the_opposite_question_is_not(node: Node, upstream: ScriptedUpstream) -> None:
    await node.chat(QUESTION)
    other = await node.chat(OPPOSITE)
    assert other.headers["Cache-Status"].startswith("edgecache; fwd=miss; fwd-status=200; stored; detail=")
    assert other.headers["Cache-Status"].endswith('detail="semantic 0.938 opposites"')
    assert other.text == f"You asked: {OPPOSITE}"
    assert len(upstream.requests) == 2


SYSTEM = {"role": "system", "content": "You are terse."}
TOOL_TURNS = [
    {"role": "assistant", "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": ""}}]},
    {"role": "tool", "tool_call_id": "1", "content": "42"},
]


def turns(question: str, *before: dict) -> list[dict]:
    return [*before, {"role": "user", "content": question}]


@pytest.mark.parametrize(
    ("first", "second", "fields"),
    [
        (turns(QUESTION), turns(PARAPHRASE, SYSTEM), {}),
        (turns(QUESTION, *TOOL_TURNS), turns(PARAPHRASE, *TOOL_TURNS), {}),
        (turns("word " * 3_000 + QUESTION), turns("word " * 3_000 + PARAPHRASE), {}),
        (turns("Wie schalte ich den dunklen Modus ein?"), turns("Wie kann ich den dunklen Modus einschalten?"), {}),
        (turns(QUESTION), turns(PARAPHRASE), {"temperature": 0.5}),
        (turns(QUESTION), turns(PARAPHRASE), {"model": "another"}),
        (turns(QUESTION), turns(PARAPHRASE), {"x_unknown": 1}),
    ],
    ids=["another system prompt", "tool results", "too long", "not English", "temperature", "model", "unknown field"],
)
async def test_only_the_exact_question_is_a_hit_where_that_is_all_that_is_right(
    node: Node, upstream: ScriptedUpstream, first: list[dict], second: list[dict], fields: dict
) -> None:
    await node.chat(first)
    other = await node.chat(second, **fields)
    assert other.headers["X-Cache"] == "MISS"
    again = await node.chat(second, **fields)
    assert again.headers["X-Cache"] == "HIT"
    assert len(upstream.requests) == 2


async def test_an_answer_with_tool_calls_is_found_by_the_exact_question_only(
    node: Node, upstream: ScriptedUpstream
) -> None:
    calls = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    message = {"role": "assistant", "content": None, "tool_calls": calls}
    answer = {**COMPLETION, "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}
    upstream.enqueue(Answer(body=json.dumps(answer).encode()))
    await asked_twice(node, upstream, {}, {})
    assert (await node.chat(PARAPHRASE)).headers["X-Cache"] == "MISS"


@pytest.mark.parametrize("ignored", ["user", "metadata", "safety_identifier", "prompt_cache_key", "service_tier"])
async def test_fields_that_do_not_change_the_answer_do_not_hide_it(
    node: Node, upstream: ScriptedUpstream, ignored: str
) -> None:
    await asked_twice(node, upstream, {}, {ignored: "anything"})


@pytest.mark.parametrize("name", ["OpenAI-Beta", "OpenAI-Organization", "OpenAI-Project", "api-version"])
async def test_headers_that_change_the_answer_are_told_apart(node: Node, upstream: ScriptedUpstream, name: str) -> None:
    await node.chat(QUESTION)
    for _ in range(2):
        await node.chat(QUESTION, headers={name: "a"})
    await node.chat(QUESTION, headers={name: "b"})
    assert [request.header(name) for request in upstream.requests] == [None, "a", "b"]


# --- for how long -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("question", [QUESTION, PARAPHRASE])
async def test_an_answer_is_served_until_its_time_is_over_and_not_a_moment_longer(
    node: Node, upstream: ScriptedUpstream, clock: Clock, question: str
) -> None:
    """Nor within the second in which it was a hit, whose head is remembered."""
    clock.now += 0.5
    await node.chat(QUESTION)
    clock.now += 3_599.9
    for _ in range(2):
        assert (await node.chat(question)).headers["X-Cache"] == "HIT"
    clock.now += 0.1
    assert (await node.chat(question)).headers["X-Cache"] == "MISS"
    assert len(upstream.requests) == 2


async def test_the_origin_says_for_how_long(node: Node, upstream: ScriptedUpstream, clock: Clock) -> None:
    headers = (*JSON_HEADERS, ("CDN-Cache-Control", "max-age=5"), ("Cache-Control", "max-age=50"))
    upstream.enqueue(Answer(headers=headers, body=json.dumps(COMPLETION).encode()))
    _, hit = await asked_twice(node, upstream, {}, {})
    assert hit.headers["Cache-Status"] == "edgecache; hit; ttl=5"
    assert "Cache-Control" not in hit.headers
    clock.now += 5
    assert (await node.chat(QUESTION)).headers["X-Cache"] == "MISS"


async def test_a_purge_ends_it_within_the_second_in_which_it_was_a_hit(node: Node, upstream: ScriptedUpstream) -> None:
    await node.chat(QUESTION)
    for _ in range(2):
        hit = await node.chat(QUESTION)
        assert hit.headers["X-Cache"] == "HIT"
    purged = await node.manage("POST", f"/purge/id/{hit.headers['X-Edgecache-Id']}")
    assert purged.status == 200
    assert (await node.chat(QUESTION)).headers["X-Cache"] == "MISS"
    assert len(upstream.requests) == 2


# --- after a restart ----------------------------------------------------------------------------------------------


@pytest.fixture
async def filled(tmp_path: Path, upstream: ScriptedUpstream) -> AsyncGenerator[Path, None]:
    """The folder of a node that was stopped after it had stored an answer."""
    async with running_node(tmp_path, upstream=upstream, policy='[[route]]\nname = "r"\nmode = "semantic"') as node:
        await node.chat(QUESTION)
    yield tmp_path


@pytest.mark.parametrize("question", [QUESTION, PARAPHRASE])
async def test_a_restart_loses_nothing(filled: Path, upstream: ScriptedUpstream, question: str) -> None:
    async with running_node(filled, upstream=upstream) as node:
        while (await node.ask("GET", "/readyz", admin=True)).json()["index"]["state"] != "done":
            pass
        assert (await node.chat(question)).headers["X-Cache"] == "HIT"
    assert len(upstream.requests) == 1
