"""Items of a conversation, as requests list them: read into messages. Source: the OpenAI API description, schemas
`InputItem`, `Item` and `InputContent`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from edgecache.core.messages import (
    File,
    Foreign,
    Image,
    Message,
    Part,
    Refusal,
    Text,
    Thinking,
    ToolResult,
    ToolUse,
)
from edgecache.wire.responses.thoughts import from_item

DIALECT: Final = "openai.responses"
_ROLES = ("system", "developer", "user", "assistant")
_SAYS_NOTHING = ("id", "status", "prompt_cache_breakpoint")
"""What items and parts carry that changes nothing of what a model reads: the item is there as a whole."""


class Unknown(Exception):
    """Not made as the description says: nobody here knows what it means."""


def read_input(value: Any) -> tuple[Message, ...]:
    """What a model said in one breath is one message, though it is told in an item each.

    Raises:
        Unknown: neither a text nor items.
    """
    if value is None or isinstance(value, str):
        return () if value is None else (Message(role="user", parts=(Text(text=value),)),)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise Unknown
    return tuple(_joined(map(_item, value)))


def _joined(messages: Iterable[Message]) -> Iterator[Message]:
    """Calls and thoughts belong to the message before them, and a message to the thoughts before it."""
    last: list[Part] = []
    for message in messages:
        if message.role == "assistant" and not _is_foreign(message.parts):
            if last and not _follows(last, message.parts):
                yield Message(role="assistant", parts=tuple(last))
                last = []
            last += message.parts
            continue
        if last:
            yield Message(role="assistant", parts=tuple(last))
            last = []
        yield message
    if last:
        yield Message(role="assistant", parts=tuple(last))


def _is_foreign(parts: tuple[Part, ...]) -> bool:
    return any(isinstance(part, Foreign) for part in parts)


def _follows(last: list[Part], parts: tuple[Part, ...]) -> bool:
    """The parts of a message are texts and refusals, so its first tells it from calls and thoughts."""
    return isinstance(parts[0], ToolUse | Thinking) or all(isinstance(part, Thinking) for part in last)


def _item(item: Mapping[str, Any]) -> Message:
    """What is not made as the description says stays as it is."""
    kind = item.get("type", "message")
    try:
        read = _ITEMS.get(kind) if isinstance(kind, str) else None
        return read(item) if read else _foreign(item)
    except (Unknown, KeyError, TypeError, AttributeError):
        return _foreign(item)


def _foreign(item: Mapping[str, Any]) -> Message:
    role = item.get("role")
    parts = (Foreign(dialect=DIALECT, value=item),)
    return Message(role=role if isinstance(role, str) and role in _ROLES else "assistant", parts=parts)


def _message(item: Mapping[str, Any]) -> Message:
    role = item["role"]
    parts = read_parts(item["content"])
    if role not in _ROLES or not parts:
        raise Unknown
    left = dict(_left(item, "type", "role", "content"))
    return Message(role=role, parts=(*parts, Foreign(dialect=DIALECT, value=left)) if left else parts)


def _call(item: Mapping[str, Any]) -> Message:
    _only(item, "type", "call_id", "name", "arguments")
    use = ToolUse(id=text(item["call_id"]), name=text(item["name"]), arguments=text(item["arguments"]))
    return Message(role="assistant", parts=(use,))


def _result(item: Mapping[str, Any]) -> Message:
    _only(item, "type", "call_id", "output")
    return Message(role="tool", parts=(ToolResult(id=text(item["call_id"]), parts=read_parts(item["output"])),))


def _thought(item: Mapping[str, Any]) -> Message:
    """One without its sealed content is looked up by its id, where only its own provider has it."""
    _only(item, "type", "id", "summary", "content", "encrypted_content")
    thought = from_item(item)
    if thought is None:
        raise Unknown
    return Message(role="assistant", parts=(thought,))


_ITEMS: Final[Mapping[str, Callable[[Mapping[str, Any]], Message]]] = {
    "message": _message,
    "function_call": _call,
    "function_call_output": _result,
    "reasoning": _thought,
}


def text(value: Any) -> str:
    """
    Raises:
        Unknown: it is none.
    """
    if not isinstance(value, str):
        raise Unknown
    return value


def _left(item: Mapping[str, Any], *known: str) -> Iterator[tuple[str, Any]]:
    """What an item says beside these fields. One that was not finished is not what it would be else."""
    for name, value in item.items():
        finished = name != "status" or value == "completed"
        if value is not None and name not in known and not (name in _SAYS_NOTHING and finished):
            yield name, value


def _only(item: Mapping[str, Any], *known: str) -> None:
    if any(True for _ in _left(item, *known)):
        raise Unknown


# --- parts --------------------------------------------------------------------------------------------------------


def read_parts(content: Any) -> tuple[Part, ...]:
    """
    Raises:
        Unknown: neither a text nor parts.
    """
    if isinstance(content, str):
        return (Text(text=content),)
    if not isinstance(content, list):
        raise Unknown
    return tuple(_part(part) for part in content)


def _part(part: Any) -> Part:
    try:
        return _PARTS[part["type"]](part)
    except (Unknown, KeyError, TypeError, AttributeError):
        return Foreign(dialect=DIALECT, value=part)


def _text(part: Mapping[str, Any]) -> Part:
    """A text with citations or log probabilities says more than its text."""
    _only({name: value or None for name, value in part.items()}, "type", "text")
    return Text(text=text(part["text"]))


def _refusal(part: Mapping[str, Any]) -> Part:
    _only(part, "type", "refusal")
    return Refusal(text=text(part["refusal"]))


def _image(part: Mapping[str, Any]) -> Part:
    """`detail` must be said here, so that saying the default is as good as saying nothing elsewhere."""
    _only(part, "type", "image_url", "detail")
    url, detail = text(part["image_url"]), text(part.get("detail") or "auto")
    media, data = _from_data_url(url)
    return Image(url="" if data else url, media=media, data=data, detail=None if detail == "auto" else detail)


def _file(part: Mapping[str, Any]) -> Part:
    """One that the provider keeps under an id is known to nobody else."""
    _only(part, "type", "file_url", "file_data", "filename")
    name, url = (None if part.get(field) is None else text(part[field]) for field in ("filename", "file_url"))
    media, data = _from_data_url(text(part.get("file_data") or ""))
    if bool(data) is bool(url):
        raise Unknown
    return File(name=name, url=url or "", media=media, data=data)


def _from_data_url(url: str) -> tuple[str, str]:
    """Media type and base64 of `data:<media>;base64,<data>` (RFC 2397); both empty for any other URL."""
    head, found, data = url.partition(";base64,")
    return (head[5:], data) if found and head[:5].lower() == "data:" else ("", "")


_PARTS: Final[Mapping[str, Callable[[Mapping[str, Any]], Part]]] = {
    "input_text": _text,
    "output_text": _text,
    "refusal": _refusal,
    "input_image": _image,
    "input_file": _file,
}
