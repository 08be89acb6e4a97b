"""A conversation as a request of this dialect, for providers that speak nothing else."""

from collections.abc import Iterator
from typing import Any

import msgspec

from edgecache.core.messages import (
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
    """See `Dialect.write_request`. The provider is asked to keep nothing. What a model told of its reasoning is left
    out: only the provider that sealed it could read it.
    """
    _check(conversation)
    instructions, messages = _instructions(conversation.messages)
    said: dict[str, Any] = {
        "model": model,
        "instructions": instructions,
        "input": [item for message in messages for item in _items(message)],
        "tools": [_tool(tool) for tool in conversation.tools] or None,
        "tool_choice": _choice(conversation.choice),
        "parallel_tool_calls": conversation.parallel,
        "max_output_tokens": conversation.max_tokens,
        "temperature": conversation.temperature,
        "top_p": conversation.top_p,
        "text": _format(conversation.format),
        "reasoning": None if conversation.effort is None else {"effort": conversation.effort},
        "stream": stream or None,
    }
    told = {name: value for name, value in said.items() if value is not None}
    return msgspec.json.encode({**told, "store": False})


def _check(conversation: Conversation) -> None:
    if conversation.other:
        raise _no_counterpart(f"`{next(iter(conversation.other))}`")
    if conversation.stop:
        raise _no_counterpart("texts that stop an answer")
    if conversation.count != 1:
        raise _no_counterpart("several answers to one request")


def _no_counterpart(what: str) -> Untranslatable:
    return Untranslatable(f"OpenAI Responses has no counterpart of {what}.")


def _instructions(messages: tuple[Message, ...]) -> tuple[str | None, tuple[Message, ...]]:
    """A system prompt of one text that comes first stands apart."""
    first = messages[0] if messages else None
    if first is None or first.role != "system" or first.name is not None or len(first.parts) != 1:
        return None, messages
    [part] = first.parts
    return (part.text, messages[1:]) if isinstance(part, Text) and part.text else (None, messages)


# --- messages -----------------------------------------------------------------------------------------------------


def _items(message: Message) -> Iterator[dict[str, Any]]:
    """Calls are items beside the message: what was said stays in its order."""
    if message.name is not None:
        raise _no_counterpart("the `name` of a message")
    content: list[dict[str, Any]] = []
    for part in message.parts:
        if isinstance(part, ToolUse | ToolResult):
            yield from _message(message.role, content)
            content = []
            yield _call(part) if isinstance(part, ToolUse) else _result(part)
        elif not isinstance(part, Thinking):
            content.append(_part(part, said="output_text" if message.role == "assistant" else "input_text"))
    yield from _message(message.role, content)


def _message(role: str, content: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    if content:
        yield {"type": "message", "role": role, "content": _plain(content)}


def _plain(content: list[dict[str, Any]]) -> Any:
    """One text is a text."""
    return content[0]["text"] if len(content) == 1 and "text" in content[0] else content


def _call(part: ToolUse) -> dict[str, Any]:
    return {"type": "function_call", "call_id": part.id, "name": part.name, "arguments": part.arguments}


def _result(part: ToolResult) -> dict[str, Any]:
    """Whether a tool failed has no place here but in what it says."""
    content = [_part(inner, said="input_text") for inner in part.parts]
    return {"type": "function_call_output", "call_id": part.id, "output": _plain(content) if content else ""}


def _part(part: Part, *, said: str) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"type": said, "text": part.text}
    if isinstance(part, Refusal):
        return {"type": "refusal", "refusal": part.text}
    if isinstance(part, Image):
        url = part.url or _data_url(part.media, part.data)
        return {"type": "input_image", "image_url": url, "detail": part.detail or "auto"}
    if isinstance(part, File):
        return _file(part)
    raise _no_counterpart(f"a part of type {part.__struct_config__.tag!r}")


def _file(part: File) -> dict[str, Any]:
    """Data comes with a name, which tells what it is."""
    if part.url:
        return {"type": "input_file", "file_url": part.url}
    data = _data_url(part.media, part.data)
    return {"type": "input_file", "filename": part.name or "file", "file_data": data}


def _data_url(media: str, data: str) -> str:
    """RFC 2397."""
    return f"data:{media};base64,{data}"


# --- tools and form -----------------------------------------------------------------------------------------------


def _tool(tool: Tool) -> dict[str, Any]:
    """A function is strict here unless it says otherwise, which it is nowhere else."""
    told = {name: value for name, value in msgspec.to_builtins(tool).items() if value is not None}
    return {"type": "function", "parameters": None, **told, "strict": bool(tool.strict)}


def _choice(choice: ToolChoice | None) -> Any:
    if choice is None or choice.kind != "tool":
        return None if choice is None else choice.kind
    return {"type": "function", "name": choice.name}


def _format(form: Format | None) -> dict[str, Any] | None:
    if form is None:
        return None
    if form.kind != "json_schema":
        return {"format": {"type": form.kind}}
    told = {name: value for name, value in msgspec.to_builtins(form).items() if value is not None and name != "kind"}
    return {"format": {"type": "json_schema", "name": "answer", **told}}
