"""`POST /v1/messages`: reading the request. Source: `MessageCreateParams` of Anthropic's Python SDK, beta included."""

from collections.abc import Iterator
from itertools import groupby
from typing import Annotated, Any, TypeVar

import msgspec

from edgecache.core.messages import (
    Conversation,
    File,
    Format,
    Image,
    Message,
    Part,
    Text,
    Thinking,
    Tool,
    ToolChoice,
    ToolResult,
    ToolUse,
)
from edgecache.wire.bodies import decode
from edgecache.wire.dialect import Request
from edgecache.wire.identity import question_of, uncacheable
from edgecache.wire.messages.blocks import NAME, bare, foreign, parts, said
from edgecache.wire.messages.tools import read_choice, read_tools, run_by_provider
from edgecache.wire.users import end_users

IGNORED = frozenset({"cache_control", "metadata", "service_tier", "speed", "stream"})
"""Fields that do not change what a right answer is. A closed list: any other field is identity."""
AT_PROVIDER = {
    "mcp_servers": "tools run by the provider",
    "container": "a container of the provider",
    "thread": "a conversation held by the provider",
}
"""Fields that tie an answer to what the provider keeps or does."""
KINDS: dict[str, tuple[type[Part], ...]] = {
    "system": (Text,),
    "user": (Text, Image, File, ToolResult),
    "assistant": (Text, Thinking, ToolUse),
}

T = TypeVar("T")
Positive = Annotated[int, msgspec.Meta(ge=1)]


class JsonSchema(msgspec.Struct, tag="json_schema", tag_field="type", forbid_unknown_fields=True):
    schema: dict[str, Any]


def read(body: bytes) -> Request:
    """Read a request. What only a provider can judge is not refused, but marked as not to be cached.

    Raises:
        BadRequest: not JSON at all; the message says what to change.
    """
    fields, problem = decode(body)
    if not isinstance(fields, dict):
        return _unread(body, fields, "", "the body is not an object")
    model = fields.get("model")
    if not isinstance(model, str):
        return _unread(body, fields, "", "`model` is missing")
    problem = problem or _why_uncacheable(fields)
    conversation = _conversation(fields)
    if conversation is None:
        return _unread(body, fields, model, "`messages` is not a list of messages")
    return Request(
        dialect=NAME,
        body=body,
        fields=fields,
        question=question_of(
            conversation, dialect=NAME, model=model, problem=problem, exact_only=_why_exact_only(fields["messages"])
        ),
        stream=fields.get("stream") is True,
        conversation=conversation,
        users=end_users(fields),
    )


def _unread(body: bytes, fields: Any, model: str, why: str) -> Request:
    stream = isinstance(fields, dict) and fields.get("stream") is True
    question = uncacheable(model, why)
    return Request(dialect=NAME, body=body, fields=fields, question=question, stream=stream, users=end_users(fields))


def _why_uncacheable(fields: dict[str, Any]) -> str | None:
    if not isinstance(fields.get("stream", False), bool | None):
        return "`stream` is not a boolean"
    if run_by_provider(fields.get("tools")):
        return "tools run by the provider"
    if fields.get("max_tokens") == 0:
        return "`max_tokens` of 0 asks for no answer"
    return next((why for name, why in AT_PROVIDER.items() if fields.get(name)), None)


def _why_exact_only(messages: list[dict[str, Any]]) -> str | None:
    """Calls of the application's tools are seen in the conversation; those of the provider are known here only."""
    contents = (message.get("content") for message in messages)
    blocks = (block for content in contents if isinstance(content, list) for block in content)
    kinds = (block.get("type") for block in blocks if isinstance(block, dict))
    found = any(isinstance(kind, str) and kind.endswith(("_tool_use", "_tool_result")) for kind in kinds)
    return "the history holds tools run by the provider" if found else None


# --- the conversation ---------------------------------------------------------------------------------------------


def _conversation(fields: dict[str, Any]) -> Conversation | None:
    """None where `messages` are none. Of the other fields those that are not as the API describes them go to `other`,
    with those that only this dialect has.
    """
    messages = fields.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(item, dict) for item in messages):
        return None
    rest = {name: value for name, value in said(fields).items() if name not in IGNORED}
    for name in ("model", "messages", *(name for name in AT_PROVIDER if not rest.get(name))):
        rest.pop(name, None)
    system, tools = _take_system(rest), _take_tools(rest)
    choice, parallel = _take_choice(rest)
    effort, form = _take_config(rest)
    return Conversation(
        messages=(*system, *_turns(messages)),
        tools=tools,
        choice=choice,
        parallel=parallel,
        max_tokens=_take(rest, "max_tokens", Positive),
        temperature=_take(rest, "temperature", float),
        top_p=_take(rest, "top_p", float),
        stop=tuple(_take(rest, "stop_sequences", list[str]) or ()),
        format=form,
        effort=effort,
        other=rest,
    )


def _take(rest: dict[str, Any], name: str, kind: Any) -> Any:
    """The value, taken out of `rest`; None, and nothing taken, where it is not of that kind."""
    if name not in rest:
        return None
    try:
        value = msgspec.convert(rest[name], kind)
    except msgspec.ValidationError:
        return None
    del rest[name]
    return value


def _take_system(rest: dict[str, Any]) -> tuple[Message, ...]:
    system = rest.get("system")
    if not isinstance(system, str | list):
        return ()
    del rest["system"]
    return (Message(role="system", parts=parts(system, (Text,))),) if system else ()


def _take_tools(rest: dict[str, Any]) -> tuple[Tool, ...]:
    """All, or none where this dialect alone can say one of them."""
    if not isinstance(rest.get("tools"), list):
        return ()
    tools = rest.pop("tools")
    found = read_tools(tools)
    if found is None:
        rest["tools"] = bare(tools)
    return found or ()


def _take_choice(rest: dict[str, Any]) -> tuple[ToolChoice | None, bool | None]:
    found = read_choice(rest.get("tool_choice"))
    if found is None:
        return None, None
    del rest["tool_choice"]
    return found


def _take_config(rest: dict[str, Any]) -> tuple[str | None, Format | None]:
    """Effort and format; the format has an older place, a field of its own."""
    config = rest.get("output_config")
    inner = said(config) if isinstance(config, dict) else {}
    effort, schema = _take(inner, "effort", str), _take(inner, "format", JsonSchema)
    if isinstance(config, dict):
        del rest["output_config"]
        rest.update({"output_config": inner} if inner else {})
    if schema is None and "format" not in inner:
        schema = _take(rest, "output_format", JsonSchema)
    return effort, Format(kind="json_schema", schema=schema.schema, strict=True) if schema else None


def _turns(messages: list[dict[str, Any]]) -> Iterator[Message]:
    """An answer continues the assistant's own words where they come last, which no other dialect does."""
    for message in messages[:-1]:
        yield from _messages(message)
    if messages[-1].get("role") == "assistant":
        yield Message(role="assistant", parts=(foreign(messages[-1]),))
    else:
        yield from _messages(messages[-1])


def _messages(message: dict[str, Any]) -> Iterator[Message]:
    """One, or several where it holds results of tools: each of them has a message of its own."""
    role, content = str(message.get("role")), message.get("content")
    kinds = KINDS.get(role) if message.keys() == {"role", "content"} else None
    if kinds is None or not isinstance(content, str | list):
        yield Message(role="user", parts=(foreign(message),))
        return
    found = parts(content, kinds)
    if not found:
        yield Message(role=role, parts=())
    for is_result, run in groupby(found, lambda part: isinstance(part, ToolResult)):
        if is_result:
            yield from (Message(role="tool", parts=(result,)) for result in run)
        else:
            yield Message(role=role, parts=tuple(run))
