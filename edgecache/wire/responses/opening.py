"""The response object as an answer that is written here begins, and the ids in it."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Final

from edgecache.wire.dialect import Request
from edgecache.wire.responses.thoughts import MADE_HERE

PREFIX: Final = "resp_"


class Ids:
    """The same for the same answer, in whatever dialect it was told first."""

    def __init__(self, name: str) -> None:
        known = name.startswith(PREFIX)
        self._stem = name.removeprefix(PREFIX) if known else hashlib.blake2b(name.encode(), digest_size=24).hexdigest()

    def __repr__(self) -> str:
        return f"<Ids of {self.response}>"

    @property
    def response(self) -> str:
        return PREFIX + self._stem

    def item(self, prefix: str, index: int) -> str:
        return f"{prefix}{self._stem}_{index}"

    def reasoning(self, index: int) -> str:
        return self.item(MADE_HERE, index)


def opening(request: Request, name: str, model: str, created: int) -> dict[str, Any]:
    """What a provider repeats of a request, as this one has it. Nothing is kept here to go on with, which `store`
    says.
    """
    fields = request.fields if isinstance(request.fields, dict) else {}
    said = {field: _said(fields.get(field), fits, default) for field, (fits, default) in _REPEATED.items()}
    return {
        "id": name,
        "object": "response",
        "created_at": created,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "metadata": {},
        "model": model,
        "output": [],
        "previous_response_id": None,
        "store": False,
        "usage": None,
        "user": None,
        **said,
        **{field: value for field, value in (request.echo or {}).items() if value is not None},
        "text": _text(fields.get("text")),
        "tools": [_tool(tool) for tool in _tools(fields.get("tools"))],
    }


def _said(value: Any, fits: Callable[[Any], bool], default: Any) -> Any:
    return value if fits(value) else default


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_truth(value: Any) -> bool:
    return isinstance(value, bool)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_choice(value: Any) -> bool:
    return isinstance(value, str | dict)


_REPEATED: Mapping[str, tuple[Callable[[Any], bool], Any]] = {
    "instructions": (_is_text, None),
    "max_output_tokens": (_is_count, None),
    "max_tool_calls": (_is_count, None),
    "parallel_tool_calls": (_is_truth, True),
    "reasoning": (_is_object, {"effort": None, "summary": None}),
    "temperature": (_is_number, 1.0),
    "tool_choice": (_is_choice, "auto"),
    "top_p": (_is_number, 1.0),
    "truncation": (_is_text, "disabled"),
}


def _text(said: Any) -> dict[str, Any]:
    told = said if isinstance(said, dict) else {}
    form = told.get("format")
    return {**told, "format": form if isinstance(form, dict) else {"type": "text"}}


def _tools(tools: Any) -> list[dict[str, Any]]:
    return [tool for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    """A function says whether it is strict, also where the request did not."""
    return {"parameters": None, "strict": True, **tool} if tool.get("type") == "function" else tool
