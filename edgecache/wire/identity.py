"""What makes two requests the same question, whatever dialect they are written in."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, NoReturn

import msgspec

from edgecache.core.canonical import Question
from edgecache.core.messages import Audio, Conversation, File, Foreign, Image, Message, Part, Text, ToolResult, ToolUse

CONVERSATION = "conversation"
"""The operation of every dialect in which a model is talked to."""
_TEXT_GOES_HERE = Text(text="")
"""Looks like a text because it stands for the only one: a message that keeps its texts has none, or several."""
_LARGE = 1 << 10
"""Characters from which on attachments stand in an identity by their digest."""


def question_of(
    conversation: Conversation,
    *,
    dialect: str,
    model: str,
    problem: str | None = None,
    exact_only: str | None = None,
) -> Question:
    """The same for the same conversation, unless it holds what only `dialect` knows. `problem` says why nothing of it
    may be cached, `exact_only` why it is not to be found by other words.
    """
    if problem is not None:
        return uncacheable(model, problem)
    messages, text, why = _take_text_out(conversation.messages)
    return Question(
        operation=CONVERSATION,
        model=model,
        fields=_fields(conversation, messages, dialect),
        text=text,
        exact_only=exact_only or _unknown(conversation.messages) or why,
        of_agent=conversation.of_agent,
    )


def raw_question(
    fields: Mapping[str, Any],
    *,
    dialect: str,
    model: str,
    problem: str | None = None,
    exact_only: str | None = None,
    text: str = "",
) -> Question:
    """For what cannot be said in the words of no dialect: `fields` are all that is identity, with `text` taken out."""
    if problem is not None:
        return uncacheable(model, problem)
    return Question(operation=dialect, model=model, fields=fields, text=text, exact_only=exact_only)


def uncacheable(model: str, why: str) -> Question:
    return Question(operation="", model=model, fields={}, text="", uncacheable=why)


def _fields(conversation: Conversation, messages: tuple[Message, ...], dialect: str) -> dict[str, Any]:
    """What was said, and nothing where nothing was. Which text ended an answer is told in one dialect only, so that
    one asked to stop at some is bound to it, as is what no other can say. A schema is what it is, whatever its name.
    """
    said = {name: getattr(conversation, name) for name in conversation.__struct_fields__ if name not in _APART}
    fields = {name: _plain(value) for name, value in said.items() if value not in (None, (), {})}
    fields["messages"] = [_message(message, names) for names in [_call_names(messages)] for message in messages]
    fields["count"] = conversation.count
    if conversation.format is not None:
        fields["format"].pop("name", None)
    bound = {"other": conversation.other, "stop": conversation.stop}
    return {**fields, **({dialect: bound} if any(bound.values()) else {})}


_NOT_STRICT = ("strict", False)
"""As good as nothing: codecs of dialects that are strict by default say so."""
_APART = ("messages", "count", "stop", "other")


def _plain(value: Any) -> Any:
    """Numbers that are the same are written the same: 1 and 1.0 are one temperature."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value) if abs(value) < 1 << 53 else value
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, msgspec.Struct):
        told = msgspec.to_builtins(value)
        return {name: item for name, item in told.items() if item is not None and (name, item) != _NOT_STRICT}
    return value


def _message(message: Message, names: Mapping[str, str]) -> dict[str, Any]:
    """Models have either system or developer messages: each takes the one for the other."""
    role = "system" if message.role == "developer" else message.role
    told: dict[str, Any] = {"role": role, "parts": [_part(part, names) for part in message.parts]}
    return told if message.name is None else {**told, "name": message.name}


def _part(part: Part, names: Mapping[str, str]) -> Any:
    """Attachments count by digest, calls of tools by their place: their ids are random and say nothing."""
    if isinstance(part, ToolUse):
        return {"type": "tool_use", "id": names[part.id], "name": part.name, "arguments": _arguments(part.arguments)}
    if isinstance(part, ToolResult):
        told = {"type": "tool_result", "id": names.get(part.id, {"unknown": part.id}), "failed": bool(part.failed)}
        return {**told, "parts": [_part(inner, names) for inner in part.parts]}
    if isinstance(part, Image | File | Audio) and len(part.data) > _LARGE:
        digest = hashlib.blake2b(part.data.encode(errors="surrogatepass"), digest_size=32).hexdigest()
        return {**_plain(msgspec.structs.replace(part, data="")), "digest": digest}
    return _plain(part)


def _call_names(messages: tuple[Message, ...]) -> dict[str, str]:
    uses = (part.id for message in messages for part in message.parts if isinstance(part, ToolUse))
    return {name: f"#{place}" for place, name in enumerate(dict.fromkeys(uses))}


def _arguments(text: str) -> Any:
    """However a client spaces the JSON of arguments and orders its keys. What is none stays a text, and so does what
    reading would change: a key that stands twice, numbers with a point.
    """
    try:
        return {"json": json.loads(text, object_pairs_hook=_once, parse_float=_as_written)}
    except (ValueError, RecursionError):
        return {"text": text}


def _as_written(number: str) -> NoReturn:
    raise ValueError(f"{number} would be rounded")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice")
    return found


def _unknown(messages: tuple[Message, ...]) -> str | None:
    """Why what holds parts that nobody here knows is found word for word only: they may be anything."""
    parts = [part for message in messages for part in message.parts]
    inner = [part for result in parts if isinstance(result, ToolResult) for part in result.parts]
    unknown = any(isinstance(part, Foreign) for part in (*parts, *inner))
    return "it holds what is not known here" if unknown else None


def _take_text_out(messages: tuple[Message, ...]) -> tuple[tuple[Message, ...], str, str | None]:
    """The messages without the last user text, that text, and why there is none to be fuzzy about."""
    if not messages or messages[-1].role != "user":
        return messages, "", "the last message is not the user's"
    last = messages[-1]
    places = [place for place, part in enumerate(last.parts) if isinstance(part, Text)]
    if len(places) != 1:
        return messages, "", "the last message has no text, or several"
    found = last.parts[places[0]]
    assert isinstance(found, Text)
    parts = (*last.parts[: places[0]], _TEXT_GOES_HERE, *last.parts[places[0] + 1 :])
    return (*messages[:-1], msgspec.structs.replace(last, parts=parts)), found.text, None
