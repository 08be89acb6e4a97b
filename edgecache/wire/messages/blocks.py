"""Content blocks of Anthropic Messages as typed values, for requests and answers alike.

Source: the types of Anthropic's Python SDK (`anthropic.types`, `anthropic.types.beta`). A block is known here only if
each of its fields is: what is not stays as it came (`Foreign`). Null stands for a field that is not there.
"""

import base64
from typing import Annotated, Any, Literal

import msgspec

from edgecache.core.messages import File, Foreign, Image, Part, Text, Thinking, ToolResult, ToolUse

NAME = "anthropic.messages"

Nothing = Annotated[list[Any], msgspec.Meta(max_length=0)]
_MARK = "cache_control"
"""Marks what the provider may keep of a prompt, which says nothing about the answer."""


class Known(msgspec.Struct, tag_field="type", forbid_unknown_fields=True):
    """Anything with a `type`."""


class Base64(Known, tag="base64"):
    media_type: str
    data: str


class Url(Known, tag="url"):
    url: str


class PlainText(Known, tag="text"):
    media_type: Literal["text/plain"]
    data: str


class Direct(Known, tag="direct"):
    """A call that the model itself made."""


class TextBlock(Known, tag="text"):
    text: str
    citations: Nothing = []


class ImageBlock(Known, tag="image"):
    source: Base64 | Url


class Citations(msgspec.Struct, forbid_unknown_fields=True):
    enabled: bool = False


class DocumentBlock(Known, tag="document"):
    source: Base64 | Url | PlainText
    title: str | None = None
    citations: Citations = msgspec.field(default_factory=Citations)


class ThinkingBlock(Known, tag="thinking"):
    thinking: str
    signature: str = ""


class RedactedBlock(Known, tag="redacted_thinking"):
    data: str


class ToolUseBlock(Known, tag="tool_use"):
    id: str
    name: str
    input: dict[str, Any]
    caller: Direct | None = None


class ToolResultBlock(Known, tag="tool_result"):
    tool_use_id: str
    content: str | list[Any] = []
    is_error: bool | None = None


_Any = TextBlock | ImageBlock | DocumentBlock | ThinkingBlock | RedactedBlock | ToolUseBlock | ToolResultBlock


def part(block: Any, kinds: tuple[type[Part], ...]) -> Part:
    """The block as a part of one of these kinds, else as it is."""
    found = understood(block)
    return found if isinstance(found, kinds) else foreign(block)


def foreign(value: Any) -> Foreign:
    return Foreign(dialect=NAME, value=bare(value))


def bare(value: Any) -> Any:
    """Without marks: on blocks and the blocks within them, never in what a tool is given or made of."""
    if isinstance(value, list):
        return [bare(item) for item in value]
    if not isinstance(value, dict):
        return value
    told = {name: item for name, item in value.items() if name != _MARK}
    return {name: bare(item) if name in ("content", "source") else item for name, item in told.items()}


def said(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None and name != _MARK}


def understood(block: Any) -> Part | None:
    """None where the neutral words cannot say it."""
    if not isinstance(block, dict):
        return None
    try:
        found: Any = msgspec.convert(said(block), _Any)
    except msgspec.ValidationError:
        return None
    return _part(found)


def _part(block: Known) -> Part | None:
    match block:
        case TextBlock():
            return Text(text=block.text)
        case ImageBlock():
            return _image(block.source)
        case DocumentBlock():
            return None if block.citations.enabled else _file(block)
        case ThinkingBlock():
            return Thinking(text=block.thinking, signature=block.signature)
        case RedactedBlock():
            return Thinking(data=block.data)
        case ToolUseBlock():
            return ToolUse(id=block.id, name=block.name, arguments=msgspec.json.encode(block.input).decode())
        case ToolResultBlock():
            return ToolResult(id=block.tool_use_id, parts=_result(block.content), failed=block.is_error)
    return None


def _image(source: Base64 | Url) -> Image:
    return Image(url=source.url) if isinstance(source, Url) else Image(media=source.media_type, data=source.data)


def _file(block: DocumentBlock) -> File:
    """A text is told as its bytes in UTF-8, which is what it is elsewhere."""
    source = block.source
    if isinstance(source, Url):
        return File(name=block.title, url=source.url)
    plain = isinstance(source, PlainText)
    data = base64.b64encode(source.data.encode()).decode() if plain else source.data
    return File(name=block.title, media=source.media_type, data=data)


def _result(content: str | list[Any]) -> tuple[Part, ...]:
    return parts(content, (Text, Image, File))


def parts(content: str | list[Any], kinds: tuple[type[Part], ...]) -> tuple[Part, ...]:
    """A string is short for one text."""
    if isinstance(content, str):
        return (Text(text=content),)
    return tuple(part(block, kinds) for block in content)
