"""Events of this API, and a whole answer as all of them. Source: the OpenAI API description, schema
`ResponseStreamEvent`, and the order in which providers were recorded to send them.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec


class Numbered:
    """Makes the events of one stream, numbered from 0."""

    def __init__(self) -> None:
        self._next = 0

    def __repr__(self) -> str:
        return f"<Numbered: {self._next} events>"

    def __call__(self, kind: str, **fields: Any) -> bytes:
        payload = msgspec.json.encode({"type": kind, **fields, "sequence_number": self._next})
        self._next += 1
        return b"event: " + kind.encode() + b"\ndata: " + payload + b"\n\n"


def to_stream(body: bytes) -> bytes:
    """A whole answer as its stream: each text in one piece, then the response object with the bytes it came with.

    Raises:
        msgspec.DecodeError: it is no object.
    """
    event = Numbered()
    body = msgspec.json.format(body, indent=-1)  # a line of an event has no line ends
    raw = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    begun = {**raw, **{name: value for name, value in _AT_FIRST.items() if name in raw}}
    told = [event("response.created", response=begun), event("response.in_progress", response=begun)]
    output = msgspec.json.decode(raw.get("output", b"[]"))
    for index, item in enumerate(output if isinstance(output, list) else ()):
        told += (event(kind, **fields) for kind, fields in _item_events(index, item))
    end = "response.incomplete" if _status(raw) == "incomplete" else "response.completed"
    return b"".join((*told, event(end, response=msgspec.Raw(body))))


_AT_FIRST: Mapping[str, Any] = {
    "status": "in_progress", "output": [], "output_text": "", "usage": None, "completed_at": None,
    "incomplete_details": None, "moderation": None,
}  # fmt: skip
"""What is not known when an answer begins."""

Event = tuple[str, dict[str, Any]]


def _status(raw: Mapping[str, msgspec.Raw]) -> Any:
    return msgspec.json.decode(raw.get("status", b"null"))


def _item_events(index: int, item: Any) -> Iterator[Event]:
    """What is not made as described is told as it is, without its steps."""
    kind = item.get("type") if isinstance(item, dict) else None
    steps = _STEPS.get(kind) if isinstance(kind, str) else None
    if steps is None:
        yield "response.output_item.added", {"output_index": index, "item": item}
    else:
        empty, events = steps
        begun = {**item, **{name: value for name, value in empty.items() if name in item}}
        yield "response.output_item.added", {"output_index": index, "item": begun}
        where = {"item_id": item.get("id", ""), "output_index": index}
        yield from ((event, {**where, **fields}) for event, fields in events(item))
    yield "response.output_item.done", {"output_index": index, "item": item}


# --- the steps of one item ----------------------------------------------------------------------------------------


def _parts(item: Mapping[str, Any], name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    parts = item.get(name)
    for index, part in enumerate(parts if isinstance(parts, list) else ()):
        if isinstance(part, dict):
            yield index, part


def _content(item: Mapping[str, Any]) -> Iterator[Event]:
    for index, part in _parts(item, "content"):
        where = {"content_index": index}
        kind = part.get("type")
        known = _CONTENT.get(kind) if isinstance(kind, str) else None
        field = known[1] if known else "text"
        empty = {name: type(value)() for name, value in part.items() if name in (field, "annotations", "logprobs")}
        yield "response.content_part.added", {**where, "part": {**part, **empty}}
        if known:
            yield from ((event, {**where, **fields}) for event, fields in _said(known[0], field, part))
        yield "response.content_part.done", {**where, "part": part}


_CONTENT: Final[Mapping[str, tuple[str, str]]] = {
    "output_text": ("output_text", "text"),
    "refusal": ("refusal", "refusal"),
    "reasoning_text": ("reasoning_text", "text"),
}


def _said(name: str, field: str, part: Mapping[str, Any]) -> Iterator[Event]:
    """One text: its delta, unless it is empty, its citations, and its end."""
    logprobs = {"logprobs": part.get("logprobs") or []} if name == "output_text" else {}
    if part.get(field):
        yield f"response.{name}.delta", {"delta": part[field], **logprobs}
    annotations = part.get("annotations") if name == "output_text" else None
    for index, annotation in enumerate(annotations if isinstance(annotations, list) else ()):
        yield "response.output_text.annotation.added", {"annotation_index": index, "annotation": annotation}
    yield f"response.{name}.done", {field: part.get(field, ""), **logprobs}


def _reasoning(item: Mapping[str, Any]) -> Iterator[Event]:
    for index, part in _parts(item, "summary"):
        where = {"summary_index": index}
        yield "response.reasoning_summary_part.added", {**where, "part": {**part, "text": ""}}
        told = _said("reasoning_summary_text", "text", part)
        yield from ((event, {**where, **fields}) for event, fields in told)
        yield "response.reasoning_summary_part.done", {**where, "part": part}
    yield from _content(item)


def _function(item: Mapping[str, Any]) -> Iterator[Event]:
    for event, fields in _said("function_call_arguments", "arguments", item):
        yield event, {**fields, "name": item.get("name")} if event.endswith(".done") else fields


def _custom(item: Mapping[str, Any]) -> Iterator[Event]:
    yield from _said("custom_tool_call_input", "input", item)


def _by_provider(*stages: str) -> Callable[[Mapping[str, Any]], Iterator[Event]]:
    def told(item: Mapping[str, Any]) -> Iterator[Event]:
        yield from ((f"response.{item['type']}.{stage}", {}) for stage in stages)

    return told


def _mcp(item: Mapping[str, Any]) -> Iterator[Event]:
    yield "response.mcp_call.in_progress", {}
    yield from _said("mcp_call_arguments", "arguments", item)
    yield f"response.mcp_call.{'failed' if item.get('error') else 'completed'}", {}


def _code(item: Mapping[str, Any]) -> Iterator[Event]:
    yield "response.code_interpreter_call.in_progress", {}
    yield from _said("code_interpreter_call_code", "code", item)
    yield "response.code_interpreter_call.interpreting", {}
    yield "response.code_interpreter_call.completed", {}


_BEGUN: Final[Mapping[str, Any]] = {"status": "in_progress"}
_STEPS: Final[Mapping[str, tuple[Mapping[str, Any], Callable[[Mapping[str, Any]], Iterator[Event]]]]] = {
    "message": ({**_BEGUN, "content": []}, _content),
    "reasoning": ({**_BEGUN, "summary": [], "content": []}, _reasoning),
    "function_call": ({**_BEGUN, "arguments": ""}, _function),
    "custom_tool_call": ({**_BEGUN, "input": ""}, _custom),
    "web_search_call": (_BEGUN, _by_provider("in_progress", "searching", "completed")),
    "file_search_call": ({**_BEGUN, "results": None}, _by_provider("in_progress", "searching", "completed")),
    "image_generation_call": ({**_BEGUN, "result": None}, _by_provider("in_progress", "generating", "completed")),
    "code_interpreter_call": ({**_BEGUN, "code": "", "outputs": None}, _code),
    "mcp_list_tools": ({"tools": []}, _by_provider("in_progress", "completed")),
    "mcp_call": ({**_BEGUN, "arguments": "", "output": None}, _mcp),
}
"""What of an item is not yet there when it begins, and its steps."""
