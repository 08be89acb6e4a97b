"""A conversation as a Messages request, for a provider that speaks nothing else."""

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any

import msgspec

from edgecache.core.messages import (
    Conversation,
    File,
    Foreign,
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
from edgecache.wire.dialect import Untellable
from edgecache.wire.messages.blocks import NAME
from edgecache.wire.messages.reply import arguments_of, thinking_blocks
from edgecache.wire.messages.tools import KINDS

MAX_TOKENS = 4_096
"""The API requires a limit; this one stands where a conversation has none."""
EFFORTS = frozenset({"low", "medium", "high", "xhigh", "max"})
_CHOICES = {kind: name for name, kind in KINDS.items()}
_NOT_IN_IDS = re.compile(r"[^a-zA-Z0-9_-]")
_SYSTEM = ("system", "developer")
_ANYTHING = {"type": "object", "properties": {}}
"""The parameters of a tool that has none."""


def write_request(conversation: Conversation, model: str, *, stream: bool) -> bytes:
    """
    Raises:
        Untranslatable: naming what has no counterpart.
    """
    _check(conversation)
    messages = conversation.messages
    first = next((at for at, message in enumerate(messages) if message.role not in _SYSTEM), len(messages))
    needed = {
        "model": model,
        "max_tokens": conversation.max_tokens or MAX_TOKENS,
        "messages": _turns(messages[first:]),
    }
    more: dict[str, Any] = {
        "system": _system(messages[:first]),
        "temperature": conversation.temperature,
        "top_p": conversation.top_p,
        "stop_sequences": list(conversation.stop),
        "output_config": _config(conversation),
        "stream": stream or None,
        **_tools(conversation),
    }
    said = {name: value for name, value in more.items() if value not in (None, [], {}, "")}
    return msgspec.json.encode({**needed, **said})


def _check(conversation: Conversation) -> None:
    for name in conversation.other:
        raise _no(f"`{name[:100]}`")
    if conversation.count != 1:
        raise _no("several answers to one request")
    if all(message.role in _SYSTEM for message in conversation.messages):
        raise _no("a conversation in which nobody but the system speaks")
    if conversation.messages[-1].role == "assistant":
        raise _no("an answer to the assistant's own words, which it would continue")
    if conversation.temperature is not None and conversation.temperature > 1:
        raise _no("a temperature above 1")


def _no(what: str) -> Untranslatable:
    return Untranslatable(f"Anthropic Messages has no counterpart of {what}.")


# --- fields -------------------------------------------------------------------------------------------------------


def _tools(conversation: Conversation) -> dict[str, Any]:
    """A choice is of tools, and says also whether several may be called at once."""
    if not conversation.tools:
        if conversation.choice and conversation.choice.kind in ("required", "tool"):
            raise _no("a choice of tools without tools")
        return {}
    told = _choice(conversation.choice) if conversation.choice else {}
    if conversation.parallel is not None and told.get("type") != "none":
        told = {"type": "auto", **told, "disable_parallel_tool_use": not conversation.parallel}
    return {"tools": [_tool(tool) for tool in conversation.tools], "tool_choice": told}


def _choice(choice: ToolChoice) -> dict[str, Any]:
    if choice.kind not in _CHOICES:
        raise _no(f"the choice of tools `{choice.kind[:100]}`")
    return {"type": _CHOICES[choice.kind], **({"name": choice.name} if choice.name is not None else {})}


def _tool(tool: Tool) -> dict[str, Any]:
    told = {"description": tool.description, "strict": tool.strict}
    said = {name: value for name, value in told.items() if value is not None}
    return {"name": tool.name, **said, "input_schema": tool.parameters or _ANYTHING}


def _config(conversation: Conversation) -> dict[str, Any]:
    told: dict[str, Any] = {}
    if conversation.effort is not None:
        if conversation.effort not in EFFORTS:
            raise _no(f"the reasoning effort `{conversation.effort[:100]}`")
        told["effort"] = conversation.effort
    if conversation.format is not None:
        told["format"] = {"type": "json_schema", "schema": _schema(conversation.format)}
    return told


def _schema(form: Format) -> Mapping[str, Any]:
    if form.kind != "json_schema" or form.schema is None:
        raise _no(f"the response format `{form.kind}` without a schema")
    return form.schema


# --- messages -----------------------------------------------------------------------------------------------------


def _system(messages: Iterable[Message]) -> str | list[dict[str, Any]]:
    """Several become one, a block for each of their texts."""
    return _content([block for message in messages for part in message.parts for block in _blocks(part)])


def _turns(messages: Iterable[Message]) -> list[dict[str, Any]]:
    """The API joins neighbours of one role, and takes results of tools only at the beginning of the next user's turn:
    neighbours are joined here.
    """
    turns = []
    for role, run in groupby(messages, _role):
        blocks = [block for message in run for block in _of_message(message)]
        turns.append({"role": role, "content": _content(blocks)})
    return turns


def _role(message: Message) -> str:
    """Results of tools are the user's; a system message in the middle is taken by newer models."""
    return {"tool": "user", "developer": "system"}.get(message.role, message.role)


def _of_message(message: Message) -> list[dict[str, Any]]:
    if message.name is not None:
        raise _no("the `name` of a message's author")
    return [block for part in message.parts for block in _blocks(part)]


def _content(blocks: list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    """A lone text as a string. The API refuses empty texts."""
    if len(blocks) == 1 and blocks[0].keys() == {"type", "text"}:
        text: str = blocks[0]["text"]
        return text
    return [block for block in blocks if block != {"type": "text", "text": ""}]


# --- blocks -------------------------------------------------------------------------------------------------------


def _blocks(part: Part) -> tuple[dict[str, Any], ...]:
    match part:
        case Text() | Refusal():
            return ({"type": "text", "text": part.text},)
        case Image():
            return ({"type": "image", "source": _source(part)},)
        case File():
            return (_document(part),)
        case Thinking():
            return thinking_blocks(part)
        case ToolUse():
            return (_call(part),)
        case ToolResult():
            return (_result(part),)
        case Foreign(dialect=dialect, value=value) if dialect == NAME and isinstance(value, dict):
            return (value,)
    raise _no(_name(part))


def _name(part: Part) -> str:
    return f"a part of {part.dialect}" if isinstance(part, Foreign) else f"a part of type {type(part).__name__.lower()}"


def _source(part: Image | File) -> dict[str, Any]:
    if part.data:
        return {"type": "base64", "media_type": part.media, "data": part.data}
    if not part.url:
        raise _no("a part with neither data nor a URL")
    return {"type": "url", "url": part.url}


def _document(part: File) -> dict[str, Any]:
    plain = part.media.partition(";")[0].strip().startswith("text/")
    if part.data and not plain and part.media != "application/pdf":
        raise _no(f"a file of type `{part.media[:100]}`")
    source = {"type": "text", "media_type": "text/plain", "data": _plain(part.data)} if plain else _source(part)
    return {"type": "document", "source": source, **({"title": part.name} if part.name is not None else {})}


def _plain(data: str) -> str:
    try:
        return base64.b64decode(data, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        raise _no("a text file that is not UTF-8 in base64") from None


def _call(part: ToolUse) -> dict[str, Any]:
    try:
        arguments = arguments_of(part.arguments)
    except Untellable:
        raise _no("a tool call whose arguments are no JSON object") from None
    return {"type": "tool_use", "id": _id(part.id), "name": part.name, "input": arguments}


def _id(text: str) -> str:
    """The API takes letters, digits, `_` and `-` only; others make ids such as `functions.f:0`."""
    return _NOT_IN_IDS.sub("_", text)


def _result(part: ToolResult) -> dict[str, Any]:
    content = _content([block for inner in part.parts for block in _blocks(inner)])
    failed = {} if part.failed is None else {"is_error": part.failed}
    return {"type": "tool_result", "tool_use_id": _id(part.id), "content": content, **failed}
