"""A conversation in the words of no dialect: what every codec reads its requests into, where nothing is lost by it.

What only one dialect can say is kept under its name (`Foreign`, `other`), and binds the request to that dialect: it is
neither found by others nor sent to a provider that speaks another.
"""

from collections.abc import Mapping
from typing import Any

import msgspec


class Part(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """A piece of a message."""


class Text(Part, frozen=True, kw_only=True, tag="text"):
    text: str


class Refusal(Part, frozen=True, kw_only=True, tag="refusal"):
    text: str


class Image(Part, frozen=True, kw_only=True, tag="image"):
    """`data` in base64 with its `media` type, or else a `url`. `detail` as OpenAI names it, None where not said."""

    url: str = ""
    media: str = ""
    data: str = ""
    detail: str | None = None


class File(Part, frozen=True, kw_only=True, tag="file"):
    """`data` in base64 with its `media` type, or else a `url`."""

    name: str | None = None
    url: str = ""
    media: str = ""
    data: str = ""


class Audio(Part, frozen=True, kw_only=True, tag="audio"):
    """`data` in base64; `format` as OpenAI names it, `wav` or `mp3`."""

    format: str
    data: str


class Thinking(Part, frozen=True, kw_only=True, tag="thinking"):
    """What a model told of its reasoning. `signature` proves it to the provider; `data` is what came sealed."""

    text: str = ""
    signature: str = ""
    data: str = ""


class ToolUse(Part, frozen=True, kw_only=True, tag="tool_use"):
    """A call of the application's tool. `arguments` is JSON text as the model wrote it."""

    id: str
    name: str
    arguments: str


class ToolResult(Part, frozen=True, kw_only=True, tag="tool_result"):
    """What the application's tool gave. `id` is the call's; `failed` None where it was not said."""

    id: str
    parts: tuple[Any, ...] = ()
    failed: bool | None = None


class Foreign(Part, frozen=True, kw_only=True, tag="foreign"):
    """A part, or a whole message, that only one dialect knows."""

    dialect: str
    value: Any


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """`role` is system, developer, user, assistant or tool; a message of role tool has one `ToolResult`."""

    role: str
    parts: tuple[Part, ...]
    name: str | None = None


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """A function of the application. `parameters` is a JSON schema; `strict` None where it was not said."""

    name: str
    description: str | None = None
    parameters: Mapping[str, Any] | None = None
    strict: bool | None = None


class ToolChoice(msgspec.Struct, frozen=True, kw_only=True):
    """`kind` is auto, none, required, or `tool` for the one called `name`."""

    kind: str
    name: str | None = None


class Format(msgspec.Struct, frozen=True, kw_only=True):
    """How the answer is to be written: `kind` is `json_object`, or `json_schema` by `schema`."""

    kind: str
    name: str | None = None
    description: str | None = None
    schema: Mapping[str, Any] | None = None
    strict: bool | None = None


class Conversation(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of a model. None and () where nothing was said. A system prompt that a dialect keeps apart from its
    messages is the first message, of role system. `parallel` allows several calls of tools at once, `effort` is of
    reasoning, `count` how many answers are wanted. `other` are fields of the request's dialect without a counterpart.
    """

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    choice: ToolChoice | None = None
    parallel: bool | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    format: Format | None = None
    effort: str | None = None
    count: int = 1
    other: Mapping[str, Any] = {}

    @property
    def of_agent(self) -> bool:
        """Whether its history holds calls or results of tools."""
        return any(isinstance(part, ToolUse | ToolResult) for message in self.messages for part in message.parts)
