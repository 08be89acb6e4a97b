"""The fields of a request as a conversation. Source: the OpenAI API description, schema `CreateResponse`."""

from collections.abc import Mapping
from typing import Any

import msgspec

from edgecache.core.messages import Conversation, Format, Message, Text, Tool, ToolChoice
from edgecache.wire.responses.items import Unknown, read_input

_NULL_IS_NOTHING = frozenset({
    "background", "context_management", "conversation", "include", "input", "instructions", "max_output_tokens",
    "max_tool_calls", "moderation", "parallel_tool_calls", "previous_response_id", "prompt", "reasoning", "temperature",
    "text", "tool_choice", "tools", "top_logprobs", "top_p", "truncation",
})  # fmt: skip
_AS_GOOD_AS_NOTHING: Mapping[str, Any] = {
    "background": False,
    "include": [],
    "instructions": "",
    "reasoning": {},
    "text": {},
    "tools": [],
    "truncation": "disabled",
}
"""What the description says is the default, and what is empty."""


def read_conversation(fields: Mapping[str, Any]) -> Conversation | None:
    """Of the fields that are identity; None where `input` is none, or nothing is said at all. What has no counterpart,
    or another type than described, is among `other`.
    """
    left = {name: value for name, value in fields.items() if not _is_nothing(name, value)}
    try:
        messages = (*_instructions(left), *read_input(left.pop("input", None)))
    except Unknown:
        return None
    if not messages:
        return None
    return Conversation(
        messages=messages,
        tools=_tools(left),
        choice=_choice(left),
        parallel=_take(left, "parallel_tool_calls", bool),
        max_tokens=_take(left, "max_output_tokens", int),
        temperature=_take(left, "temperature", float),
        top_p=_take(left, "top_p", float),
        format=_format(left),
        effort=_effort(left),
        other=left,
    )


def for_others(conversation: Conversation) -> Conversation:
    """The same without what merely asks for more to be told, where there is more: a provider of another dialect has
    none of it to tell, and to truncate is to fail where it does not.
    """
    other = dict(conversation.other)
    if other.get("include") == ["reasoning.encrypted_content"]:
        del other["include"]
    if other.get("truncation") == "auto":
        del other["truncation"]
    reasoning = other.get("reasoning")
    if isinstance(reasoning, dict) and reasoning.keys() <= {"summary", "generate_summary", "context"}:
        del other["reasoning"]
    return msgspec.structs.replace(conversation, other=other)


def _is_nothing(name: str, value: Any) -> bool:
    if value is None:
        return name in _NULL_IS_NOTHING
    nothing = _AS_GOOD_AS_NOTHING.get(name)
    return type(value) is type(nothing) and value == nothing


def _take(left: dict[str, Any], name: str, kind: Any) -> Any:
    """The value, if it is of this type, which is then taken out of `left`."""
    if name not in left:
        return None
    try:
        value = msgspec.convert(left[name], kind, strict=True)
    except (msgspec.ValidationError, OverflowError):
        return None
    del left[name]
    return value


def _instructions(left: dict[str, Any]) -> tuple[Message, ...]:
    instructions = _take(left, "instructions", str)
    return () if instructions is None else (Message(role="system", parts=(Text(text=instructions),)),)


# --- tools --------------------------------------------------------------------------------------------------------

_FUNCTION = frozenset({"type", "name", "description", "parameters", "strict"})


def _tools(left: dict[str, Any]) -> tuple[Tool, ...]:
    """All of them, or none where one is no function: their order says something."""
    tools = left.get("tools")
    if not isinstance(tools, list) or not all(_is_function(tool) for tool in tools):
        return ()
    try:
        read = tuple(_tool(tool) for tool in tools)
    except msgspec.ValidationError:
        return ()
    del left["tools"]
    return read


def _is_function(tool: Any) -> bool:
    if not isinstance(tool, dict) or tool.get("type") != "function":
        return False
    return all(name in _FUNCTION or value is None for name, value in tool.items())


def _tool(fields: Mapping[str, Any]) -> Tool:
    """A function that does not say whether it is strict is so where its schema can be (`FunctionToolParam`). Others
    are not, which is what saying nothing means in every other dialect.
    """
    tool: Tool = msgspec.convert(fields, Tool, strict=True)
    strict = is_closed(tool.parameters) if tool.strict is None and tool.parameters else tool.strict
    return msgspec.structs.replace(tool, strict=strict or None)


def is_closed(schema: Any) -> bool:
    """Whether each object of a JSON schema requires all its fields and takes no others, as strict mode demands."""
    if isinstance(schema, list):
        return all(map(is_closed, schema))
    if not isinstance(schema, dict):
        return True
    if schema.get("type") == "object" or "properties" in schema:
        fields, required = schema.get("properties") or {}, schema.get("required") or []
        if schema.get("additionalProperties") is not False:
            return False
        if not isinstance(fields, dict) or not isinstance(required, list) or not all(map(_is_text, required)):
            return False
        if not fields.keys() <= set(required):
            return False
    return all(map(is_closed, schema.values()))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _choice(left: dict[str, Any]) -> ToolChoice | None:
    value = left.get("tool_choice")
    if isinstance(value, str) and value in ("auto", "none", "required"):
        return ToolChoice(kind=left.pop("tool_choice"))
    if not isinstance(value, dict) or value.keys() != {"type", "name"} or value["type"] != "function":
        return None
    if not isinstance(value["name"], str):
        return None
    return ToolChoice(kind="tool", name=left.pop("tool_choice")["name"])


# --- the form of the answer ---------------------------------------------------------------------------------------


def _format(left: dict[str, Any]) -> Format | None:
    """The rest of `text` has no counterpart."""
    said = left.get("text")
    if not isinstance(said, dict):
        return None
    told, rest = said.get("format"), {name: value for name, value in said.items() if name != "format"}
    if told is None or told == {"type": "text"}:
        _rest(left, "text", rest)
        return None
    if not isinstance(told, dict) or not told.keys() <= {"type", "name", "description", "schema", "strict"}:
        return None
    try:
        form: Format = msgspec.convert({**told, "kind": told.get("type")}, Format, strict=True)
    except msgspec.ValidationError:
        return None
    if form.kind not in ("json_object", "json_schema"):
        return None
    _rest(left, "text", rest)
    return form


def _effort(left: dict[str, Any]) -> str | None:
    said = left.get("reasoning")
    if not isinstance(said, dict) or not isinstance(said.get("effort", ""), str | None):
        return None
    _rest(left, "reasoning", {name: value for name, value in said.items() if name != "effort"})
    effort: str | None = said.get("effort")
    return effort


def _rest(left: dict[str, Any], name: str, rest: Mapping[str, Any]) -> None:
    said = {field: value for field, value in rest.items() if value is not None}
    if said:
        left[name] = said
    else:
        del left[name]
