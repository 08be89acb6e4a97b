"""OpenAI `POST /v1/chat/completions`: reading the request. Source: the OpenAI API description, schema
`CreateChatCompletionRequest`.
"""

import json
import re
from collections.abc import Iterable
from typing import Any

import msgspec

from edgecache.core.canonical import Question
from edgecache.errors import BadRequest

DIALECT = "openai.chat"

IGNORED = frozenset({"stream", "stream_options", "user", "metadata", "safety_identifier", "service_tier", "store"})
"""Fields that do not change what a right answer is. A closed list: any other field is identity."""
IGNORED_PREFIX = "prompt_cache_"

_NEUTRAL = {"max_completion_tokens": "max_tokens"}
_LONE_SURROGATE = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])")
_TEXT_GOES_HERE = {"type": "text", "text": ""}
"""Looks like a text part because it stands for the only one: content that keeps its texts has none, or several."""

MAX_DEPTH = 256
"""Levels of nesting that are read. Fewer than the interpreter's stack allows wherever it stands, so that what was read
once can also be encoded."""
LARGEST_LOOKED_AT = 4 << 20
"""Bytes. Looking for repeated keys is a second parse, slower than the first: larger bodies go without, and uncached."""
_CONTAINERS = (dict, list)
_wide = msgspec.json.Decoder(float_hook=float)


class ChatRequest(msgspec.Struct, frozen=True):
    """One request: `body` as it came, `fields` as they were read, and what they ask. `stream` and `include_usage`
    are about the response being sent, not about the answer.
    """

    body: bytes
    fields: Any
    question: Question
    stream: bool
    include_usage: bool

    @property
    def model(self) -> str:
        return self.question.model


def read_chat(body: bytes) -> ChatRequest:
    """Read a request. What only a provider can judge is not refused, but marked as not to be cached.

    Raises:
        BadRequest: not JSON at all; the message says what to change.
    """
    fields, problem = decode(body)
    if not isinstance(fields, dict):
        question = _uncacheable("", "the body is not an object")
        return ChatRequest(body, fields, question, False, False)
    options = fields.get("stream_options")
    include_usage = isinstance(options, dict) and options.get("include_usage") is True
    return ChatRequest(body, fields, _question(fields, problem), fields.get("stream") is True, include_usage)


def decode(body: bytes) -> tuple[Any, str | None]:
    """The document, and why it must not be cached although it can be read.

    Raises:
        BadRequest: malformed, not UTF-8, nested deeper than `MAX_DEPTH`, an integer of thousands of digits.
    """
    try:
        value, problem = _decode(body)
        if not _is_deep(body, value):
            return value, problem or _repeated_key(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(_what_to_change(body, error)) from None
    except RecursionError:
        pass
    raise BadRequest(f"The JSON body is nested too deeply: at most {MAX_DEPTH} levels are read.")


def _decode(body: bytes) -> tuple[Any, str | None]:
    try:
        return msgspec.json.decode(body), None
    except msgspec.ValidationError:  # a number that neither a double nor 4,300 digits hold; the rest is still unread
        return _wide.decode(body), "a number is out of range"


def _is_deep(body: bytes, value: Any) -> bool:
    """Level by level, and only where there are brackets enough."""
    if body.count(b"{") + body.count(b"[") <= MAX_DEPTH:
        return False
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [child for item in level for child in _children(item) if isinstance(child, _CONTAINERS)]
        if not level:
            return False
    return True


def _children(item: Any) -> Iterable[Any]:
    return item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()


def _what_to_change(body: bytes, error: Exception) -> str:
    if not body.strip():
        return "The request body is empty: send a JSON object with `model` and `messages`."
    if body.startswith(b"\xef\xbb\xbf"):
        return "The request body begins with a byte order mark: send the JSON without it."
    if isinstance(error, UnicodeDecodeError) or body.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in body[:4]:
        return "The request body is not UTF-8: encode the JSON as UTF-8."
    if isinstance(error, msgspec.ValidationError):
        return "The JSON body holds an integer of more than 4,300 digits: send fewer digits, or a string."
    if "surrogate" in str(error) or _LONE_SURROGATE.search(body):
        return "The JSON body holds a lone surrogate (\\ud800 to \\udfff): send the character whole, or leave it out."
    return f"The request body could not be parsed as JSON: {error}."


class _Repeated(Exception):
    """A key stands twice in one object."""


def _repeated_key(body: bytes) -> str | None:
    """Parsers differ in which of two values counts, so such a request is never cached."""
    if len(body) > LARGEST_LOOKED_AT:
        return "the body is over 4 MiB and not looked at for repeated keys"
    try:
        json.loads(body, object_pairs_hook=_refuse_repeated)
    except _Repeated as found:
        return f"the key {found} stands twice"
    return None


def _refuse_repeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise _Repeated(next(repr(name[:40]) for name in names if names.count(name) > 1))
    return found


def _uncacheable(model: str, why: str) -> Question:
    return Question(operation="chat", model=model, fields={}, text="", uncacheable=why)


def _question(fields: dict[str, Any], problem: str | None) -> Question:
    model = fields.get("model")
    if not isinstance(model, str):
        return _uncacheable("", "`model` is missing")
    why = problem or _why_uncacheable(fields)
    if why:
        return _uncacheable(model, why)
    messages, text, exact_only = _take_text_out(fields["messages"])
    identity = {name: value for name, value in fields.items() if not _is_ignored(name)}
    return Question(
        operation="chat",
        model=model,
        fields={**_neutral(identity), "messages": messages},
        text=text,
        exact_only=exact_only or _why_exact_only(fields["messages"]),
    )


def _is_ignored(name: str) -> bool:
    return name in IGNORED or name == "model" or name.startswith(IGNORED_PREFIX)


def _neutral(fields: dict[str, Any]) -> dict[str, Any]:
    """Several names of one thing become one, unless a request uses two of them."""
    named = {_NEUTRAL.get(name, name): value for name, value in fields.items()}
    return named if len(named) == len(fields) else fields


def _why_uncacheable(fields: dict[str, Any]) -> str | None:
    messages = fields.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(item, dict) for item in messages):
        return "`messages` is not a list of messages"
    if not isinstance(fields.get("stream", False), bool | None):
        return "`stream` is not a boolean"
    modalities = fields.get("modalities")
    if fields.get("audio") or (isinstance(modalities, list) and "audio" in modalities):
        return "audio output is not reused"
    return None


def _take_text_out(messages: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], str, str | None]:
    """The messages without the last user text, that text, and why there is none to be fuzzy about."""
    last = messages[-1]
    content = last.get("content")
    if last.get("role") != "user":
        return messages, "", "the last message is not the user's"
    if isinstance(content, str):
        return [*messages[:-1], {**last, "content": [_TEXT_GOES_HERE]}], content, None
    if not isinstance(content, list):
        return messages, "", "the last message has no text"
    texts = [number for number, part in enumerate(content) if _is_plain_text(part)]
    if len(texts) != 1:
        return messages, "", "the last message has no text, or several"
    parts = [_TEXT_GOES_HERE if number == texts[0] else part for number, part in enumerate(content)]
    return [*messages[:-1], {**last, "content": parts}], content[texts[0]]["text"], None


def _is_plain_text(part: Any) -> bool:
    return isinstance(part, dict) and part.keys() == {"type", "text"} and isinstance(part["text"], str)


def _why_exact_only(messages: list[dict[str, Any]]) -> str | None:
    for message in messages:
        if message.get("role") in ("tool", "function") or message.get("tool_calls") or message.get("function_call"):
            return "the history holds tool results"
    return None


def end_users(fields: Any) -> tuple[str, ...]:
    """Whom a request says it is made for, under each name there is; what is no string says nothing."""
    if not isinstance(fields, dict):
        return ()
    metadata = fields.get("metadata")
    named = (fields.get("user"), fields.get("safety_identifier"), _user_id(metadata))
    return tuple(dict.fromkeys(user for user in named if isinstance(user, str) and user))


def _user_id(metadata: Any) -> Any:
    return metadata.get("user_id") if isinstance(metadata, dict) else None


def with_usage(body: bytes) -> bytes:
    """The same request asking for usage at the end of the stream; every other value keeps its bytes. A wrong type is
    left for the provider to refuse.
    """
    fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    try:
        options = msgspec.json.decode(fields.get("stream_options", b"{}"), type=dict[str, msgspec.Raw] | None) or {}
        msgspec.json.decode(options.get("include_usage", b"null"), type=bool | None)
    except msgspec.ValidationError:
        return body
    return msgspec.json.encode({**fields, "stream_options": {**options, "include_usage": True}})
