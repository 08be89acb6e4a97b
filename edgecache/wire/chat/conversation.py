"""Chat messages and the conversation they are: read from, and written for providers that speak nothing else."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from edgecache.core.messages import (
    Audio,
    Conversation,
    File,
    Foreign,
    Format,
    Image,
    Message,
    Part,
    Refusal,
    Text,
    Tool,
    ToolChoice,
    ToolResult,
    ToolUse,
)

DIALECT: Final = "openai.chat"
_ROLES = ("system", "developer", "user", "assistant")
_KNOWN = frozenset({
    "messages", "tools", "tool_choice", "parallel_tool_calls", "max_tokens", "max_completion_tokens", "temperature",
    "top_p", "stop", "response_format", "reasoning_effort", "n", "modalities",
})  # fmt: skip
_NULL_IS_NOTHING = frozenset({
    "audio", "frequency_penalty", "function_call", "functions", "logit_bias", "logprobs", "prediction",
    "presence_penalty", "seed", "top_logprobs", "verbosity", "web_search_options",
})  # fmt: skip
"""Fields of which the description says that null is as good as nothing."""


class _Unknown(Exception):
    """Not made as the description says: nobody here knows what it means."""


def read_conversation(fields: Mapping[str, Any]) -> Conversation | None:
    """Of the fields that are identity; None for what is not made as the description says."""
    try:
        return _conversation(fields)
    except (_Unknown, KeyError, TypeError, AttributeError, ValueError):
        return None


def _conversation(fields: Mapping[str, Any]) -> Conversation:
    lengths = [fields[name] for name in ("max_tokens", "max_completion_tokens") if fields.get(name) is not None]
    other = dict(_other(fields))
    if len(lengths) > 1:
        other |= {name: fields[name] for name in ("max_tokens", "max_completion_tokens")}
    if fields.get("modalities") not in (None, ["text"]):
        other["modalities"] = fields["modalities"]
    stop = fields.get("stop")
    return Conversation(
        messages=tuple(_message(item) for item in fields["messages"]),
        tools=tuple(_tool(item) for item in _items(fields.get("tools"))),
        choice=_choice(fields.get("tool_choice")),
        parallel=_typed(fields.get("parallel_tool_calls"), bool | None),
        max_tokens=_typed(lengths[0], int) if len(lengths) == 1 else None,
        temperature=_typed(fields.get("temperature"), float | None),
        top_p=_typed(fields.get("top_p"), float | None),
        stop=() if stop is None else (stop,) if isinstance(stop, str) else _typed(stop, tuple[str, ...]),
        format=_format(fields.get("response_format")),
        effort=_typed(fields.get("reasoning_effort"), str | None),
        count=1 if fields.get("n") is None else _typed(fields["n"], int),
        other=other,
    )


def _other(fields: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in fields.items():
        if name not in _KNOWN and not (value is None and name in _NULL_IS_NOTHING):
            yield name, value


def _typed(value: Any, kind: Any) -> Any:
    """Raises ValueError (msgspec's) for another type."""
    return msgspec.convert(value, kind, strict=True)


def _items(value: Any) -> Sequence[Any]:
    if not isinstance(value, list | None):
        raise _Unknown
    return value or ()


def _only(item: Mapping[str, Any], *names: str) -> None:
    if any(name not in names for name in item):
        raise _Unknown


# --- messages -----------------------------------------------------------------------------------------------------


def _message(item: Mapping[str, Any]) -> Message:
    role: Any = item.get("role")
    if role == "tool" and item.keys() <= {"role", "content", "tool_call_id"}:
        result = ToolResult(id=_typed(item["tool_call_id"], str), parts=_parts(item["content"]))
        return Message(role="tool", parts=(result,))
    if role not in _ROLES:
        return Message(role=str(role), parts=(Foreign(dialect=DIALECT, value=item),))
    parts = [*_parts(item.get("content")), *_said(item)]
    left = {name: value for name, value in item.items() if name not in _MESSAGE and value is not None}
    if left:
        parts.append(Foreign(dialect=DIALECT, value=left))
    return Message(role=role, parts=tuple(parts), name=_typed(item.get("name"), str | None))


_MESSAGE = frozenset({"role", "content", "name", "refusal", "tool_calls"})


def _said(item: Mapping[str, Any]) -> Iterator[Part]:
    """What an answer's message says beside its content."""
    if item.get("refusal") is not None:
        yield Refusal(text=_typed(item["refusal"], str))
    for call in _items(item.get("tool_calls")):
        yield _call(call)


def _call(call: Mapping[str, Any]) -> Part:
    function: Any = call.get("function")
    known = call.keys() == {"id", "type", "function"} and isinstance(function, dict)
    if not known or call["type"] != "function" or function.keys() != {"name", "arguments"}:
        return Foreign(dialect=DIALECT, value=call)
    name, arguments = _typed(function["name"], str), _typed(function["arguments"], str)
    return ToolUse(id=_typed(call["id"], str), name=name, arguments=arguments)


def _parts(content: Any) -> tuple[Part, ...]:
    if content is None:
        return ()
    if isinstance(content, str):
        return (Text(text=content),)
    if not isinstance(content, list) or not content:
        raise _Unknown
    return tuple(_part(part) for part in content)


def _part(part: Any) -> Part:
    """What is not made as the description says stays as it is."""
    try:
        return _PARTS[part["type"]](part)
    except (_Unknown, KeyError, TypeError, AttributeError, ValueError):
        return Foreign(dialect=DIALECT, value=part)


def _text(part: Mapping[str, Any]) -> Part:
    _only(part, "type", "text")
    return Text(text=_typed(part["text"], str))


def _refusal(part: Mapping[str, Any]) -> Part:
    _only(part, "type", "refusal")
    return Refusal(text=_typed(part["refusal"], str))


def _image(part: Mapping[str, Any]) -> Part:
    _only(part, "type", "image_url")
    image = part["image_url"]
    _only(image, "url", "detail")
    media, data = from_data_url(_typed(image["url"], str))
    detail = _typed(image.get("detail"), str | None)
    return Image(url="" if data else image["url"], media=media, data=data, detail=detail)


def _audio(part: Mapping[str, Any]) -> Part:
    _only(part, "type", "input_audio")
    audio = part["input_audio"]
    _only(audio, "data", "format")
    return Audio(format=_typed(audio["format"], str), data=_typed(audio["data"], str))


def _file(part: Mapping[str, Any]) -> Part:
    """One that the provider keeps under an id is known to nobody else."""
    _only(part, "type", "file")
    file = part["file"]
    _only(file, "file_data", "filename")
    media, data = from_data_url(_typed(file["file_data"], str))
    if not data:
        raise _Unknown
    return File(name=_typed(file.get("filename"), str | None), media=media, data=data)


_PARTS = {"text": _text, "refusal": _refusal, "image_url": _image, "input_audio": _audio, "file": _file}


def from_data_url(url: str) -> tuple[str, str]:
    """Media type and base64 of `data:<media>;base64,<data>` (RFC 2397); both empty for any other URL."""
    head, found, data = url.partition(";base64,")
    return (head[5:], data) if found and head[:5].lower() == "data:" else ("", "")


# --- tools and form -----------------------------------------------------------------------------------------------


def _tool(item: Mapping[str, Any]) -> Tool:
    """Raises _Unknown for custom tools and those the provider runs: only this dialect knows them."""
    _only(item, "type", "function")
    function = item["function"]
    _only(function, "name", "description", "parameters", "strict")
    if item["type"] != "function":
        raise _Unknown
    return _typed(function, Tool)  # type: ignore[no-any-return]


def _choice(value: Any) -> ToolChoice | None:
    if value is None:
        return None
    if isinstance(value, str):
        return ToolChoice(kind=value)
    _only(value, "type", "function")
    _only(value["function"], "name")
    if value["type"] != "function":
        raise _Unknown
    return ToolChoice(kind="tool", name=_typed(value["function"]["name"], str))


def _format(value: Any) -> Format | None:
    if value is None or value == {"type": "text"}:
        return None
    _only(value, "type", "json_schema")
    kind = _typed(value["type"], str)
    schema = value.get("json_schema") or {}
    _only(schema, "name", "description", "schema", "strict")
    return _typed({"kind": kind, **schema}, Format)  # type: ignore[no-any-return]
