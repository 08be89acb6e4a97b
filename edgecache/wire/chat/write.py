"""A conversation as a chat request, for providers that speak nothing else."""

from collections.abc import Iterator
from typing import Any

import msgspec

from edgecache.core.messages import (
    Audio,
    Conversation,
    File,
    Format,
    Image,
    Message,
    Part,
    Refusal,
    Text,
    Thinking,
    Tool,
    ToolChoice,
    ToolResult,
    ToolUse,
)
from edgecache.errors import Untranslatable


def write_request(conversation: Conversation, model: str, *, stream: bool) -> bytes:
    """See `Dialect.write_request`. Usage is asked for on a stream; what a model told of its reasoning is left out, as
    this dialect has no place for it.
    """
    if conversation.other:
        raise Untranslatable(f"OpenAI chat has no counterpart of `{next(iter(conversation.other))}`.")
    said: dict[str, Any] = {
        "model": model,
        "messages": [told for message in conversation.messages for told in _message(message)],
        "max_completion_tokens": conversation.max_tokens,
        "temperature": conversation.temperature,
        "top_p": conversation.top_p,
        "stop": list(conversation.stop) or None,
        "n": conversation.count if conversation.count != 1 else None,
        "tools": [_tool(tool) for tool in conversation.tools] or None,
        "tool_choice": _choice(conversation.choice),
        "parallel_tool_calls": conversation.parallel,
        "response_format": _format(conversation.format),
        "reasoning_effort": conversation.effort,
        "stream": stream or None,
        "stream_options": {"include_usage": True} if stream else None,
    }
    return msgspec.json.encode({name: value for name, value in said.items() if value is not None})


def _message(message: Message) -> Iterator[dict[str, Any]]:
    named = {} if message.name is None else {"name": message.name}
    if message.role == "tool":
        yield from map(_result, message.parts)
        return
    calls = [_call(part) for part in message.parts if isinstance(part, ToolUse)]
    content = [_part(part) for part in message.parts if not isinstance(part, ToolUse | Thinking)]
    told: dict[str, Any] = {"role": message.role, "content": _plain(content) if content else None, **named}
    if calls:
        told["tool_calls"] = calls
    if not content and not calls:
        raise Untranslatable("A message says nothing that OpenAI chat has a place for.")
    yield told


def _plain(content: list[dict[str, Any]]) -> Any:
    """One text is sent as servers that know no parts read it."""
    return content[0]["text"] if len(content) == 1 and content[0]["type"] == "text" else content


def _result(part: Part) -> dict[str, Any]:
    """Whether a tool failed has no place here but in what it says."""
    if not isinstance(part, ToolResult):
        raise _no_counterpart(part)
    content = [_part(inner) for inner in part.parts]
    return {"role": "tool", "tool_call_id": part.id, "content": _plain(content) if content else ""}


def _call(part: ToolUse) -> dict[str, Any]:
    return {"id": part.id, "type": "function", "function": {"name": part.name, "arguments": part.arguments}}


def _part(part: Part) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    if isinstance(part, Refusal):
        return {"type": "refusal", "refusal": part.text}
    if isinstance(part, Image):
        detail = {} if part.detail is None else {"detail": part.detail}
        return {"type": "image_url", "image_url": {"url": part.url or _data_url(part.media, part.data), **detail}}
    if isinstance(part, Audio):
        return {"type": "input_audio", "input_audio": {"data": part.data, "format": part.format}}
    if isinstance(part, File) and part.data:
        name = {} if part.name is None else {"filename": part.name}
        return {"type": "file", "file": {"file_data": _data_url(part.media, part.data), **name}}
    raise _no_counterpart(part)


def _data_url(media: str, data: str) -> str:
    """RFC 2397."""
    return f"data:{media};base64,{data}"


def _no_counterpart(part: Part) -> Untranslatable:
    return Untranslatable(f"OpenAI chat has no counterpart of a part of type {part.__struct_config__.tag!r}.")


def _tool(tool: Tool) -> dict[str, Any]:
    told = {name: value for name, value in msgspec.to_builtins(tool).items() if value is not None}
    return {"type": "function", "function": told}


def _choice(choice: ToolChoice | None) -> Any:
    if choice is None or choice.kind != "tool":
        return None if choice is None else choice.kind
    return {"type": "function", "function": {"name": choice.name}}


def _format(form: Format | None) -> dict[str, Any] | None:
    if form is None or form.kind != "json_schema":
        return None if form is None else {"type": form.kind}
    told = {name: value for name, value in msgspec.to_builtins(form).items() if value is not None and name != "kind"}
    return {"type": "json_schema", "json_schema": {"name": "answer", **told}}
