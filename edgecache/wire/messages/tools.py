"""Tools of Messages requests: those the application runs, and those the provider does."""

from typing import Any, Literal

import msgspec

from edgecache.core.messages import Tool, ToolChoice
from edgecache.wire.messages.blocks import Nothing, said

OF_APPLICATION = ("bash_", "browser_", "computer_", "memory_", "text_editor_")
"""How the types of tools begin that only this dialect knows and the application runs. A closed list: any other tool
with a type is taken to be run by the provider."""
KINDS = {"auto": "auto", "any": "required", "none": "none", "tool": "tool"}


class CustomTool(msgspec.Struct, forbid_unknown_fields=True):
    """A tool that others can say as well: what it has beyond that is at its default."""

    name: str
    input_schema: dict[str, Any]
    description: str | None = None
    strict: bool | None = None
    type: Literal["custom"] = "custom"
    defer_loading: bool = False
    allowed_callers: list[Literal["direct"]] = []
    input_examples: Nothing = []


class Choice(msgspec.Struct, forbid_unknown_fields=True):
    type: Literal["auto", "any", "none", "tool"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


def read_tools(tools: list[Any]) -> tuple[Tool, ...] | None:
    """None where one of them is not sayable in neutral words."""
    try:
        found = [msgspec.convert(said(tool), CustomTool) for tool in tools if isinstance(tool, dict)]
    except msgspec.ValidationError:
        return None
    if len(found) < len(tools) or any(tool.defer_loading for tool in found):
        return None
    return tuple(
        Tool(name=tool.name, description=tool.description, parameters=tool.input_schema, strict=tool.strict)
        for tool in found
    )


def read_choice(choice: Any) -> tuple[ToolChoice, bool | None] | None:
    """The choice, and whether several calls at once are allowed; None where it is no such thing."""
    try:
        found = msgspec.convert(said(choice) if isinstance(choice, dict) else choice, Choice)
    except msgspec.ValidationError:
        return None
    if (found.name is None) is (found.type == "tool"):
        return None
    parallel = None if found.disable_parallel_tool_use is None else not found.disable_parallel_tool_use
    return ToolChoice(kind=KINDS[found.type], name=found.name), parallel


def run_by_provider(tools: Any) -> bool:
    """Whether any is; of what is no list of tools nothing is."""
    return isinstance(tools, list) and any(_is_run(tool) for tool in tools)


def _is_run(tool: Any) -> bool:
    kind = tool.get("type") if isinstance(tool, dict) else None
    if kind is None or kind == "custom":
        return False
    return not (isinstance(kind, str) and kind.startswith(OF_APPLICATION))
