"""What OpenAI and Anthropic send, in short: an upstream for the SDKs, in each dialect, streamed and not.

The answer says what was asked; a request with tools, whose last message is the user's, gets two calls of them.
"""

import base64
import json
import struct
from collections.abc import Iterator
from typing import Any, Final

from edgecache.testing.scripted_upstream import SSE_HEADERS, Answer, Received, default_script, event

CALLS: Final = (("call_1", "weather", '{"city": "Paris"}'), ("call_2", "weather", '{"city": "Oslo"}'))
TOKENS: Final = (10, 4)
"""Of prompt and completion."""
HEAD: Final = {"id": "resp_1", "object": "response", "created_at": 1_700_000_000, "error": None, "metadata": {}}
SETTINGS: Final = {
    "incomplete_details": None,
    "instructions": None,
    "parallel_tool_calls": True,
    "temperature": 1.0,
    "top_p": 1.0,
    "text": {"format": {"type": "text"}},
    "truncation": "disabled",
    "max_output_tokens": None,
    "previous_response_id": None,
    "reasoning": {"effort": None, "summary": None},
    "store": True,
    "user": None,
}


def provider(request: Received) -> Answer:
    """The script of both providers."""
    for suffix, answer in (("/chat/completions", _chat), ("/responses", _responses), ("/messages", _messages)):
        if request.method == "POST" and request.path.endswith(suffix):
            return answer(json.loads(request.body))
    if request.path.endswith("/embeddings"):
        return _embeddings(json.loads(request.body))
    if request.path.endswith("/count_tokens"):
        return Answer(body=b'{"input_tokens": 12}')
    return default_script("You asked: {}".format)(request)


def said(question: str) -> str:
    """What the answer to a question is."""
    return f"You asked: {question}"


def _answer(whole: Any, events: Iterator[bytes], stream: Any) -> Answer:
    return Answer(headers=SSE_HEADERS, chunks=list(events)) if stream else Answer(body=json.dumps(whole).encode())


def _question(messages: Any) -> str:
    """The last user text of messages in any dialect."""
    if isinstance(messages, str):
        return messages
    content = next(message["content"] for message in reversed(messages) if message.get("role") == "user")
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def _calls(asked: Any, messages: Any) -> bool:
    """Unless the last word is what a tool gave."""
    if not asked.get("tools") or isinstance(messages, str):
        return bool(asked.get("tools"))
    content = messages[-1].get("content")
    given = isinstance(content, list) and any(part["type"] == "tool_result" for part in content)
    return messages[-1].get("role") == "user" and not given


def _words(text: str) -> list[str]:
    return [text[at : at + 5] for at in range(0, len(text), 5)]


# --- chat completions ---------------------------------------------------------------------------------------------


def _chat(asked: Any) -> Answer:
    calls = _calls(asked, asked["messages"])
    text = None if calls else said(_question(asked["messages"]))
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
    if calls:
        message["tool_calls"] = [_chat_call(call) for call in CALLS]
    finish = "tool_calls" if calls else "stop"
    usage = {"prompt_tokens": TOKENS[0], "completion_tokens": TOKENS[1], "total_tokens": sum(TOKENS)}
    head = {"id": "chatcmpl-1", "created": 1_700_000_000, "model": asked["model"]}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
    whole = {**head, "object": "chat.completion", "choices": [choice], "usage": usage}
    with_usage = (asked.get("stream_options") or {}).get("include_usage")
    return _answer(whole, _chat_events(head, text, finish, usage if with_usage else None), asked.get("stream"))


def _chat_call(call: tuple[str, str, str]) -> dict[str, Any]:
    return {"id": call[0], "type": "function", "function": {"name": call[1], "arguments": call[2]}}


def _chat_events(head: Any, text: str | None, finish: str, usage: Any) -> Iterator[bytes]:
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": None if text is None else ""}]
    deltas += [{"content": word} for word in _words(text or "")]
    for number, call in enumerate(CALLS if text is None else ()):
        begun = _chat_call((call[0], call[1], ""))
        deltas.append({"tool_calls": [{"index": number, **begun}]})
        deltas += [{"tool_calls": [{"index": number, "function": {"arguments": word}}]} for word in _words(call[2])]
    shape = {**head, "object": "chat.completion.chunk"}
    for delta in deltas:
        yield event({**shape, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}]})
    yield event({**shape, "choices": [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": finish}]})
    if usage is not None:
        yield event({**shape, "choices": [], "usage": usage})
    yield event("[DONE]")


# --- embeddings ---------------------------------------------------------------------------------------------------


def vector_of(text: str) -> list[float]:
    """Numbers that a 32-bit float holds exactly."""
    return [float(len(text)), float(sum(text.encode()) % 97), 0.5]


def _embeddings(asked: Any) -> Answer:
    texts = [asked["input"]] if isinstance(asked["input"], str) else asked["input"]
    packed = asked.get("encoding_format") == "base64"
    vectors = [base64.b64encode(struct.pack("<3f", *vector_of(text))).decode() for text in texts]
    told = vectors if packed else [vector_of(text) for text in texts]
    data = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(told)]
    usage = {"prompt_tokens": 2 * len(texts), "total_tokens": 2 * len(texts)}
    return Answer(body=json.dumps({"object": "list", "data": data, "model": asked["model"], "usage": usage}).encode())


# --- responses ----------------------------------------------------------------------------------------------------


def _responses(asked: Any) -> Answer:
    calls = _calls(asked, asked["input"])
    text = said(_question(asked["input"]))
    items = [_function_call(call) for call in CALLS] if calls else [_message_item(text)]
    usage = {"input_tokens": TOKENS[0], "output_tokens": TOKENS[1], "total_tokens": sum(TOKENS)}
    usage |= {
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0},
    }
    settings = {**SETTINGS, "tools": asked.get("tools") or [], "tool_choice": asked.get("tool_choice") or "auto"}
    begun = {**HEAD, **settings, "model": asked["model"], "status": "in_progress", "output": [], "usage": None}
    whole = {**begun, "status": "completed", "output": items, "usage": usage}
    return _answer(whole, _numbered(_response_events(begun, whole, items)), asked.get("stream"))


def response_saying(text: str) -> Answer:
    """Another answer than what was asked."""
    head = {**HEAD, **SETTINGS, "tools": [], "tool_choice": "auto", "model": "gpt-4o", "status": "completed"}
    return Answer(body=json.dumps({**head, "output": [_message_item(text)]}).encode())


def _function_call(call: tuple[str, str, str]) -> dict[str, Any]:
    name, arguments = call[1], call[2]
    head = {"type": "function_call", "id": f"fc_{call[0]}", "call_id": call[0], "status": "completed"}
    return {**head, "name": name, "arguments": arguments}


def _message_item(text: str) -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [part]}


def _response_events(begun: Any, whole: Any, items: list[Any]) -> Iterator[dict[str, Any]]:
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    for at, item in enumerate(items):
        empty = {"content": []} if item["type"] == "message" else {"arguments": ""}
        yield {
            "type": "response.output_item.added",
            "output_index": at,
            "item": {**item, "status": "in_progress", **empty},
        }
        yield from _text_events(at, item) if item["type"] == "message" else _argument_events(at, item)
        yield {"type": "response.output_item.done", "output_index": at, "item": item}
    yield {"type": "response.completed", "response": whole}


def _text_events(at: int, item: Any) -> Iterator[dict[str, Any]]:
    place = {"item_id": item["id"], "output_index": at, "content_index": 0}
    (part,) = item["content"]
    yield {"type": "response.content_part.added", **place, "part": {**part, "text": ""}}
    for word in _words(part["text"]):
        yield {"type": "response.output_text.delta", **place, "delta": word, "logprobs": [], "obfuscation": "xyz"}
    yield {"type": "response.output_text.done", **place, "text": part["text"], "logprobs": []}
    yield {"type": "response.content_part.done", **place, "part": part}


def _argument_events(at: int, item: Any) -> Iterator[dict[str, Any]]:
    place = {"item_id": item["id"], "output_index": at}
    for word in _words(item["arguments"]):
        yield {"type": "response.function_call_arguments.delta", **place, "delta": word, "obfuscation": "xyz"}
    named = {"name": item["name"], "arguments": item["arguments"]}
    yield {"type": "response.function_call_arguments.done", **place, **named}


def _numbered(events: Iterator[dict[str, Any]]) -> Iterator[bytes]:
    for number, told in enumerate(events):
        yield f"event: {told['type']}\n".encode() + event({**told, "sequence_number": number})


# --- messages -----------------------------------------------------------------------------------------------------


def _messages(asked: Any) -> Answer:
    calls = _calls(asked, asked["messages"])
    text = said(_question(asked["messages"]))
    used = [{"type": "tool_use", "id": name, "name": tool, "input": json.loads(put)} for name, tool, put in CALLS]
    blocks = used if calls else [{"type": "text", "text": text}]
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": asked["model"]}
    counted = {"cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "service_tier": "standard"}
    usage = {"input_tokens": TOKENS[0], "output_tokens": TOKENS[1], **counted}
    ended = {"stop_reason": "tool_use" if calls else "end_turn", "stop_sequence": None}
    whole = {**head, "content": blocks, **ended, "usage": usage}
    begun = {**head, "content": [], "stop_reason": None, "stop_sequence": None, "usage": {**usage, "output_tokens": 1}}
    events = _message_events(begun, blocks, {"delta": ended, "usage": {"output_tokens": TOKENS[1]}})
    return _answer(whole, (f"event: {told['type']}\n".encode() + event(told) for told in events), asked.get("stream"))


def _message_events(begun: Any, blocks: list[Any], ended: Any) -> Iterator[dict[str, Any]]:
    yield {"type": "message_start", "message": begun}
    for index, block in enumerate(blocks):
        is_text = block["type"] == "text"
        empty = {**block, "text": ""} if is_text else {**block, "input": {}}
        yield {"type": "content_block_start", "index": index, "content_block": empty}
        yield {"type": "ping"}
        for word in _words(block["text"] if is_text else json.dumps(block["input"])):
            delta = {"type": "text_delta", "text": word}
            if not is_text:
                delta = {"type": "input_json_delta", "partial_json": word}
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    yield {"type": "message_delta", **ended}
    yield {"type": "message_stop"}
