"""What an answer says of itself, and one framing made from the other."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from recorded import DONE, LOGPROBS, TEXT, TOOLS, TWO, USAGE, WRITTEN, chunk, delta, recorded

from edgecache.core.entry import Framing
from edgecache.wire import sse
from edgecache.wire.chat.reply import (
    render,
    summarise,
    to_json,
    to_stream,
    without_usage,
)


def whole(body: bytes) -> dict[str, Any]:
    """The stream as one answer, which the official SDK must be able to read."""
    answer = to_json(body)
    ChatCompletion.model_validate_json(answer)
    found = json.loads(answer)
    assert isinstance(found, dict)
    return found


def message(body: bytes, index: int = 0) -> dict[str, Any]:
    found = whole(body)["choices"][index]["message"]
    assert isinstance(found, dict)
    return found


# --- stream -> one body -------------------------------------------------------------------------------------------


def test_text() -> None:
    answer = whole(TEXT)
    assert answer["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hello \u2713", "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ]
    assert (answer["object"], answer["usage"], answer["id"]) == ("chat.completion", USAGE, "c1")


def test_parallel_tool_calls() -> None:
    """Some providers repeat `id` and `type` as null or empty: what was told first stays."""
    assert message(TOOLS)["tool_calls"] == [
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}},
        {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
    ]


def test_tool_calls_without_index_are_one_each() -> None:
    calls = [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    body = (
        chunk(delta(tool_calls=calls)) + chunk(delta(tool_calls=[{**calls[0], "id": "b"}], finish="tool_calls")) + DONE
    )
    assert [one["id"] for one in message(body)["tool_calls"]] == ["a", "b"]


def test_several_choices() -> None:
    assert [message(TWO, index)["content"] for index in (0, 1)] == ["AB", "xy"]


def test_log_probabilities_grow() -> None:
    [choice] = whole(LOGPROBS)["choices"]
    assert [one["token"] for one in choice["logprobs"]["content"]] == ["A", "B"]


def test_a_role_told_in_every_chunk_is_one_role() -> None:
    body = (
        chunk(delta(role="assistant", content="a")) + chunk(delta(role="assistant", content="b", finish="stop")) + DONE
    )
    assert message(body)["role"] == "assistant"


def test_a_last_delta_that_is_null() -> None:
    body = chunk(delta(content="a")) + chunk({"index": 0, "delta": None, "finish_reason": "stop"}) + DONE
    assert message(body)["content"] == "a"
    only = chunk({"index": 0, "delta": None, "finish_reason": "stop"}) + DONE
    assert message(only)["content"] is None


def test_padding_of_a_stream_is_not_part_of_the_answer() -> None:
    """`obfuscation` hides the length of each chunk on the wire."""
    assert "obfuscation" not in whole(chunk(delta(content="a", finish="stop"), obfuscation="xyz") + DONE)


def test_unknown_fields_survive() -> None:
    body = chunk(delta(content="a", reasoning_content="be"), x_provider={"a": 1}, citations=["u"])
    body += chunk({**delta(reasoning_content="cause", finish="stop"), "matched_stop": 7}) + DONE
    answer = whole(body)
    assert (answer["x_provider"], answer["citations"]) == ({"a": 1}, ["u"])
    assert answer["choices"][0]["matched_stop"] == 7
    assert answer["choices"][0]["message"]["reasoning_content"] == "because"


def test_lists_beside_the_delta_grow() -> None:
    """vLLM tells the ids of the tokens of each chunk in the choice."""
    body = chunk({**delta(content="a"), "token_ids": [1]}) + chunk({**delta(content="b"), "token_ids": [2, 1]})
    body += chunk({**delta(finish="stop"), "token_ids": None}) + DONE
    assert whole(body)["choices"][0]["token_ids"] == [1, 2, 1]
    assert whole(to_stream(to_json(body), include_usage=False))["choices"][0]["token_ids"] == [1, 2, 1]


def test_dictionaries_beside_the_delta_merge() -> None:
    """Azure tells its filters' results as it has them, the same text again and again, and then nothing."""
    safe = {"filtered": False, "severity": "safe"}
    results = [
        {},
        {"hate": safe},
        {"hate": safe, "violence": {"filtered": False}},
        {"violence": {"severity": "low"}},
        {},
    ]
    chunks = (chunk({**delta(content="a"), "content_filter_results": one}) for one in results)
    body = b"".join(chunks) + chunk(delta(finish="stop")) + DONE
    expected = {"hate": safe, "violence": {"filtered": False, "severity": "low"}}
    assert whole(body)["choices"][0]["content_filter_results"] == expected


def test_nothing_after_the_end_counts() -> None:
    assert message(TEXT + chunk(delta(content=" and more")) + DONE)["content"] == "Hello \u2713"


def sdk_delta(stream: bytes) -> dict[int, dict[str, Any]]:
    """What the official SDK's own accumulation makes of the choices."""
    from openai.lib.streaming._deltas import accumulate_delta

    found: dict[int, dict[str, Any]] = {}
    for event in sse.EventSplitter(len(stream) + 1).feed(stream):
        payload = sse.data(event)
        if payload in (None, b"[DONE]"):
            continue
        for choice in ChatCompletionChunk.model_validate_json(payload).choices:
            changed = choice.delta.model_dump(exclude_unset=True, warnings=False)
            found[choice.index] = accumulate_delta(found.get(choice.index, {}), changed)  # type: ignore[arg-type,assignment]
    return found


def told(value: Any) -> Any:
    """Without nulls and without the numbers that only order the pieces of a stream."""
    if isinstance(value, dict):
        return {name: told(inner) for name, inner in value.items() if inner is not None and name != "index"}
    return [told(item) for item in value] if isinstance(value, list) else value


def test_recorded_streams_gather_as_the_official_sdk_gathers_them() -> None:
    streams = recorded()
    assert streams
    for name, stream in streams.items():
        ours = {choice["index"]: told(choice["message"]) for choice in whole(stream)["choices"]}
        theirs = {index: told({"role": "assistant", **found}) for index, found in sdk_delta(stream).items()}
        assert ours == theirs, name
        assert summarise(Framing.SSE, stream).why_not_stored in (None, "finish_reason length"), name


# --- one body -> stream -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WRITTEN)
def test_there_and_back_keeps_the_meaning(name: str) -> None:
    once = to_json(WRITTEN[name])
    stream = to_stream(once, include_usage=True)
    for event in sse.EventSplitter().feed(stream):
        if event != sse.DONE:
            ChatCompletionChunk.model_validate_json(sse.data(event) or b"")
    assert json.loads(to_json(stream)) == json.loads(once)


def test_recorded_streams_there_and_back() -> None:
    for stream in recorded().values():
        once = to_json(stream)
        assert json.loads(to_json(to_stream(once, include_usage=True))) == json.loads(once)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
reserved = {
    "index",
    "message",
    "delta",
    "finish_reason",
    "logprobs",
    "choices",
    "usage",
    "object",
    "obfuscation",
    "error",
}
unknown = st.dictionaries(st.text(min_size=1, max_size=5).filter(lambda name: name not in reserved), json_values)
tool_calls = st.lists(
    st.builds(
        lambda id_, name, arguments: {
            "id": id_,
            "type": "function",
            "function": {"name": name, "arguments": arguments},
        },
        st.text(min_size=1),
        st.text(),
        st.text(),
    ),
    min_size=1,
    max_size=3,
)
told_messages = st.builds(
    lambda content, calls: {"role": "assistant", "content": content, **({"tool_calls": calls} if calls else {})},
    st.none() | st.text(),
    st.none() | tool_calls,
)


@given(
    st.lists(st.tuples(told_messages, st.sampled_from(["stop", "length", "tool_calls"]), unknown), max_size=3), unknown
)
def test_any_answer_there_and_back(
    told: list[tuple[dict[str, Any], str, dict[str, Any]]], more: dict[str, Any]
) -> None:
    choices = [
        {"index": number, "message": message, "logprobs": None, "finish_reason": finish, **extra}
        for number, (message, finish, extra) in enumerate(told)
    ]
    answer = {**more, "object": "chat.completion", "choices": choices, "usage": USAGE}
    stream = to_stream(json.dumps(answer).encode(), include_usage=True)
    assert json.loads(to_json(stream)) == answer
    assert without(
        json.loads(to_json(to_stream(json.dumps(answer).encode(), include_usage=False))), "usage"
    ) == without(answer if choices else {"object": "chat.completion", "choices": []}, "usage")


def without(fields: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key != name}


def test_numbers_of_tool_calls_in_a_stored_body_do_not_confuse_the_stream() -> None:
    calls = [{"index": 0, "id": one, "type": "function", "function": {"name": one, "arguments": "{}"}} for one in "ab"]
    body = {"choices": [{"index": 0, "message": {"tool_calls": calls}, "finish_reason": "tool_calls"}]}
    assert [one["id"] for one in message_of(to_stream(json.dumps(body).encode(), include_usage=False))] == ["a", "b"]


def message_of(stream: bytes) -> list[dict[str, Any]]:
    calls = json.loads(to_json(stream))["choices"][0]["message"]["tool_calls"]
    assert isinstance(calls, list)
    return calls


def test_usage_is_streamed_only_where_it_was_asked_for() -> None:
    body = to_json(TEXT)
    assert b"usage" not in to_stream(body, include_usage=False)
    *_, last, done = sse.EventSplitter().feed(to_stream(body, include_usage=True))
    assert json.loads(sse.data(last) or b"")["usage"] == USAGE
    assert done == sse.DONE


def test_each_client_gets_its_framing() -> None:
    body = to_json(TEXT)
    assert render(Framing.JSON, body, stream=False, include_usage=False) == body
    assert render(Framing.SSE, TEXT, stream=True, include_usage=True) == TEXT
    assert render(Framing.SSE, TEXT, stream=False, include_usage=False) == body
    assert render(Framing.JSON, body, stream=True, include_usage=True) == to_stream(body, include_usage=True)
    assert b"usage" not in render(Framing.SSE, TEXT, stream=True, include_usage=False)


# --- usage on streams ---------------------------------------------------------------------------------------------


def test_a_client_that_did_not_ask_sees_no_usage() -> None:
    shown = render(Framing.SSE, TEXT, stream=True, include_usage=False)
    assert b"usage" not in shown
    assert json.loads(to_json(shown))["choices"] == json.loads(to_json(TEXT))["choices"]
    assert shown.endswith(DONE)


@pytest.mark.parametrize(
    "event",
    [
        DONE,
        b": ping\n\n",
        b'data: {"choices":[{"delta":{"content":"\\"usage\\""}}]}\n\n',
        b'data: {"choices":[{"delta":{},"finish_reason":"stop"}],"usage":{"total_tokens":1}}\n\n',
        b'data: "usage"\n\n',
        b'data: {"usage"\n\n',
        b'data: {"usage":null,"\xff":1}\n\n',
        b'data: {"usage":' + b"[" * 50_000 + b"\n\n",
    ],
)
def test_other_events_keep_their_bytes(event: bytes) -> None:
    assert without_usage(event) == event


@pytest.mark.parametrize("choices", [b"[]", b"[ ]", b"[\n]"])
def test_the_event_that_only_brings_usage_is_left_out(choices: bytes) -> None:
    event = b'data: {"choices":%s,"usage":{"total_tokens":1}}\n\n' % choices.replace(b"\n", b"\ndata: ")
    assert without_usage(event) == b""


def test_a_null_usage_is_taken_out_and_nothing_else_changes() -> None:
    event = b'data: {"x":1.50,"usage":null,"choices":[ {"index":0} ]}\n\n'
    assert without_usage(event) == b'data: {"x":1.50,"choices":[ {"index":0} ]}\n\n'
    expected = b'event: e\nid: 1\ndata: {"x":1.50,"choices":[ {"index":0} ]}\n\n'
    assert without_usage(b"event: e\nid: 1\n" + event) == expected


def test_data_in_several_lines_stays_data() -> None:
    event = b'data: {"usage":null,"choices":[{\ndata: "index":0}]}\n\n'
    assert json.loads(sse.data(without_usage(event)) or b"") == {"choices": [{"index": 0}]}
