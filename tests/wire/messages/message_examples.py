"""Requests and answers of Anthropic Messages: some written here, and those recorded (pydantic-ai, MIT)."""

import functools
import json
from typing import Any

import anthropic
import httpx2
import msgspec
import pytest
from shared_data import data_folder

from edgecache.core.canonical import Identity, identify
from edgecache.core.entry import Scope
from edgecache.wire.dialect import Request
from edgecache.wire.messages import MESSAGES

PATH = "/v1/messages"


def user(*content: Any) -> dict[str, Any]:
    """Blocks, or a text."""
    whole = content[0] if len(content) == 1 and isinstance(content[0], str) else list(content)
    return {"role": "user", "content": whole}


def assistant(*content: Any) -> dict[str, Any]:
    return {**user(*content), "role": "assistant"}


def text(words: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": words, **more}


def use(id: str, name: str = "f", **arguments: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": id, "name": name, "input": arguments}


def result(id: str, content: Any = "done", **more: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": id, "content": content, **more}


def ask(*messages: Any, **fields: Any) -> dict[str, Any]:
    return {"model": "m", "max_tokens": 9, "messages": list(messages) or [user("Why?")], **fields}


def read(fields: Any) -> Request:
    return MESSAGES.read(json.dumps(fields).encode(), PATH)


def identity(fields: Any) -> Identity:
    question = read(fields).question
    assert question.uncacheable is None, question.uncacheable
    return identify(question, Scope("tenant"), {}, "", path="/v1", rules=(), secret=b"s")


CITED = {"type": "char_location", "cited_text": "x", "document_index": 0, "start_char_index": 0, "end_char_index": 1}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
TOOL: dict[str, Any] = {
    "name": "f",
    "description": "d",
    "input_schema": {"type": "object", "properties": {"cache_control": {}}},
}
CACHED: dict[str, Any] = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
OTHER: dict[str, Any] = {
    "top_k": 5,
    "thinking": {"type": "adaptive"},
    "context_management": {"edits": []},
    "new": 1,
    "system": 5,
    "temperature": "hot",
    "max_tokens": True,
    "stop_sequences": [1],
    "tools": [{**TOOL, "defer_loading": True}],
    "tool_choice": {"type": "tool"},
    "output_config": {"task_budget": {"total": 5}},
    "output_format": {"type": "json_object"},
}
USAGE = {
    "input_tokens": 3,
    "cache_creation_input_tokens": 20,
    "cache_read_input_tokens": 100,
    "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 0},
    "output_tokens": 40,
    "output_tokens_details": {"thinking_tokens": 30},
    "service_tier": "standard",
    "inference_geo": "global",
}


def answer(*content: Any, stop: str | None = "end_turn", **more: Any) -> dict[str, Any]:
    blocks = list(content) or [text("Because.")]
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m-1", "content": blocks}
    return {**head, "stop_reason": stop, "stop_sequence": None, "usage": USAGE, **more}


def encode(value: Any) -> bytes:
    return msgspec.json.encode(value)


ANSWERS = {
    "text": answer(),
    "two texts": answer(text("a"), text("b \u2713")),
    "cited": answer(text("a", citations=[CITED, CITED]), text("b", citations=None)),
    "tools": answer(text("I look."), use("a", x=1.5, y={"z": [None]}), use("b", "g"), stop="tool_use"),
    "direct call": answer({**use("a"), "caller": {"type": "direct"}}, stop="tool_use"),
    "thinking": answer({"type": "thinking", "thinking": "Hm.", "signature": "s=="}, text("Yes.")),
    "thinking not shown": answer({"type": "thinking", "thinking": "", "signature": "s=="}, text("Yes.")),
    "sealed": answer({"type": "redacted_thinking", "data": "xyz"}, text("Yes.")),
    "stop sequence": answer(stop="stop_sequence", stop_sequence="END"),
    "refusal": answer(stop="refusal", stop_details={"type": "refusal", "category": "bio", "explanation": None}),
    "length": answer(stop="max_tokens", container=None),
    "searched": answer(
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "q"}},
        {"type": "web_search_tool_result", "tool_use_id": "s", "content": []},
        text("Found."),
        container={"id": "c", "expires_at": "2026-01-01T00:00:00Z", "skills": None},
        context_management={"applied_edits": []},
    ),
    "compacted": answer({"type": "compaction", "content": "Before: x", "encrypted_content": "e"}, text("Go on.")),
    "nothing": {**answer(), "content": []},
}


class Sdk:
    """The official client, reading what is put here."""

    def __init__(self) -> None:
        self.body, self.status, self.media = b"", 200, "text/event-stream"
        transport = httpx2.MockTransport(self._respond)
        self.client = anthropic.Anthropic(
            api_key="x", max_retries=0, http_client=httpx2.Client(transport=transport), base_url="http://test"
        )

    def _respond(self, request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(self.status, headers={"content-type": self.media}, content=self.body)

    def gathered(self, stream: bytes) -> dict[str, Any]:
        """The final message of a stream. Fields that the SDK adds with null are left out."""
        self.body, self.media = stream, "text/event-stream"
        asked: Any = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "q"}]}
        with self.client.beta.messages.stream(**asked) as events:
            return without_null(events.get_final_message().to_dict(mode="json"))

    def ask(self) -> Any:
        asked: Any = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "q"}]}
        return self.client.messages.create(**asked)


def without_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_null(item) for name, item in value.items() if item is not None}
    return [without_null(item) for item in value] if isinstance(value, list) else value


@functools.cache
def recorded() -> dict[str, tuple[bytes, str, bytes]]:
    """Name -> request, framing and answer of each recorded exchange with `POST /v1/messages`."""
    yaml = pytest.importorskip("yaml", reason="PyYAML reads the recordings")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    found = {}
    for path in sorted(data_folder("cassettes").rglob("*.yaml")):
        words = path.read_text()
        if "api.anthropic.com/v1/messages" not in words:
            continue
        for number, exchange in enumerate(yaml.load(words, Loader=loader)["interactions"]):
            uri = exchange["request"]["uri"]
            if "anthropic.com/v1/messages" in uri and "count_tokens" not in uri:
                found[f"{path.stem}-{number}"] = _exchange(exchange)
    return found


def _exchange(exchange: dict[str, Any]) -> tuple[bytes, str, bytes]:
    asked, answered = exchange["request"], exchange["response"]
    request = json.dumps(asked["parsed_body"]).encode() if "parsed_body" in asked else str(asked["body"]).encode()
    if "parsed_body" in answered:
        return request, "json", json.dumps(answered["parsed_body"]).encode()
    body = answered["body"]
    body = body if isinstance(body, str) else body["string"]
    return request, "sse", body.encode() if isinstance(body, str) else body
