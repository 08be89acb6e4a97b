"""Answers of this API: some written here, and those recorded from providers (pydantic-ai, MIT)."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from openai import omit
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter
from shared_data import data_folder

from edgecache.core.entry import Framing
from edgecache.wire import sse

_events: TypeAdapter[ResponseStreamEvent] = TypeAdapter(ResponseStreamEvent)
USAGE = {
    "input_tokens": 9,
    "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
    "output_tokens": 5,
    "output_tokens_details": {"reasoning_tokens": 3},
    "total_tokens": 14,
}


def response(*output: Any, **more: Any) -> dict[str, Any]:
    return {
        "id": "resp_1", "object": "response", "created_at": 7, "status": "completed", "error": None,
        "incomplete_details": None, "instructions": None, "metadata": {}, "model": "m-1", "output": list(output),
        "parallel_tool_calls": True, "store": True, "temperature": 1.0, "tool_choice": "auto", "tools": [],
        "top_p": 1.0, "usage": USAGE, "user": None, **more,
    }  # fmt: skip


def text(said: str, **more: Any) -> dict[str, Any]:
    return {"type": "output_text", "text": said, "annotations": [], "logprobs": [], **more}


def message(*content: Any, name: str = "msg_1", **more: Any) -> dict[str, Any]:
    item = {"id": name, "type": "message", "status": "completed", "role": "assistant", "content": list(content)}
    return {**item, **more}


def call(name: str = "fc_1", arguments: str = '{"x":1}', **more: Any) -> dict[str, Any]:
    said = {"call_id": f"call_{name}", "name": "f", "arguments": arguments}
    return {"id": name, "type": "function_call", "status": "completed", **said, **more}


def reasoning(*summary: str, name: str = "rs_1", **more: Any) -> dict[str, Any]:
    return {
        "id": name,
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": text} for text in summary],
        **more,
    }


REFUSAL = {"type": "refusal", "refusal": "No."}
CITATION = {"type": "url_citation", "url": "https://example.org", "title": "E", "start_index": 0, "end_index": 1}
LOGPROB = {"token": "A", "logprob": -0.5, "bytes": [65], "top_logprobs": []}
SEARCH = {"id": "ws_1", "type": "web_search_call", "status": "completed", "action": {"type": "search", "query": "q"}}
CUSTOM = {"id": "ct_1", "type": "custom_tool_call", "call_id": "c", "name": "sql", "input": "select 1"}

WRITTEN: dict[str, dict[str, Any]] = {
    "text": response(message(text("Hello \u2713"))),
    "refusal": response(message(REFUSAL)),
    "two parts": response(message(text("a"), text("b"))),
    "calls": response(message(text("Wait.")), call(), call("fc_2", "{}")),
    "reasoning": response(reasoning("First.", "Then.", encrypted_content="gAAA"), message(text("4"))),
    "raw reasoning": response(
        reasoning(content=[{"type": "reasoning_text", "text": "Hm."}], status="completed"), message(text("4"))
    ),
    "citation": response(message(text("A", annotations=[CITATION]))),
    "logprobs": response(message(text("A", logprobs=[LOGPROB]))),
    "search": response(SEARCH, message(text("found"))),
    "custom": response(CUSTOM),
    "code": response({
        "id": "ci_1", "type": "code_interpreter_call", "status": "completed", "code": "1+1", "container_id": "c",
        "outputs": None,
    }),
    "mcp": response({
        "id": "mcp_1", "type": "mcp_call", "status": "completed", "arguments": "{}", "name": "n", "server_label": "s",
        "output": "x", "error": None, "approval_request_id": None,
    }),
    "compaction": response({"id": "cmp_1", "type": "compaction", "encrypted_content": "gAAA"}),
    "incomplete": response(
        message(text("Hel"), status="incomplete"),
        status="incomplete",
        incomplete_details={"reason": "max_output_tokens"},
    ),
}  # fmt: skip
TELLABLE = ("text", "refusal", "two parts", "calls", "reasoning", "raw reasoning", "incomplete")


def exchanges() -> Iterator[tuple[str, bytes, bytes]]:
    """Name, request and answer of each recorded exchange at `/responses`."""
    yaml = pytest.importorskip("yaml", reason="PyYAML reads the recordings")
    for path in sorted(data_folder("cassettes").rglob("*.yaml")):
        told = path.read_text()
        if "/responses" not in told:
            continue
        for number, interaction in enumerate(yaml.load(told, yaml.CSafeLoader)["interactions"]):
            request, answer = interaction["request"], interaction["response"]
            if request["method"] == "POST" and request["uri"].endswith("/responses"):
                yield f"{path.stem}-{number}", _body(request), _body(answer)


def _body(side: dict[str, Any]) -> bytes:
    body = side.get("parsed_body") or side["body"]
    body = body["string"] if isinstance(body, dict) and "string" in body else body
    if isinstance(body, bytes):
        return body
    return body.encode() if isinstance(body, str) else json.dumps(body).encode()


def framing_of(body: bytes) -> Framing:
    return Framing.JSON if body.startswith(b"{") else Framing.SSE


def payloads(stream: bytes) -> list[dict[str, Any]]:
    events = sse.EventSplitter(len(stream) + 1).feed(stream)
    return [json.loads(data) for data in map(sse.data, events) if data and data != b"[DONE]"]


def accumulated(stream: bytes) -> Response:
    """The stream as the official SDK accumulates it, its events held against the SDK's types on the way."""
    state: ResponseStreamState[Any] = ResponseStreamState(input_tools=[], text_format=omit)
    told = payloads(stream)
    assert [event["sequence_number"] for event in told] == list(range(len(told)))
    for event in told:
        state.handle_event(_events.validate_python({**event, **_of_today(event)}))
    assert state._completed_response is not None
    return state._completed_response


def _of_today(event: dict[str, Any]) -> dict[str, Any]:
    return {"response": of_today(event["response"])} if "response" in event else {}


def of_today(response: dict[str, Any]) -> dict[str, Any]:
    """With what the SDK requires of usage, and providers did not tell when these answers were recorded."""
    usage = response.get("usage")
    if not usage:
        return response
    details = {"cache_write_tokens": 0, **usage["input_tokens_details"]}
    return {**response, "usage": {**usage, "input_tokens_details": details}}


def validated(body: bytes) -> dict[str, Any]:
    """What the SDK's own model takes."""
    found = json.loads(body)
    assert isinstance(found, dict)
    Response.model_validate(of_today(found))
    return found
