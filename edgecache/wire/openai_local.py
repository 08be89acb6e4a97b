"""What OpenAI's dialects share where the local model answers: limits of numbers, and refusals in OpenAI's words."""

import re
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from edgecache.errors import BadRequest

_AT = re.compile(r"(.*) - at `\$\.?(.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(\w+)`")
_NO_HINTS: Mapping[str, str] = {}

Probability = Annotated[float, msgspec.Meta(ge=0, le=1)]
Positive = Annotated[int, msgspec.Meta(ge=1, le=1 << 31)]


def refuse(fields: Mapping[str, Any], unsupported: Mapping[str, str]) -> None:
    """Raises BadRequest for the first field that asks for what the local model does not do."""
    for name, what in unsupported.items():
        if fields.get(name):
            raise BadRequest(f"The local model cannot {what}: leave out `{name}`.", param=name)


def refusal(error: msgspec.ValidationError, hints: Mapping[str, str] = _NO_HINTS) -> BadRequest:
    """Names the field, and for some says what would be right."""
    found = _AT.fullmatch(str(error))
    problem, place = found.groups() if found else (str(error), "")
    if missing := _MISSING.fullmatch(problem):
        param = f"{place}.{missing[1]}".lstrip(".")
        return BadRequest(f"Missing required parameter: '{param}'.", param=param)
    return BadRequest(f"Invalid value for '{place}': {problem}{hints.get(place, '')}.", param=place)


def turn_role(role: str) -> str:
    """The local model knows system, user and assistant."""
    return "system" if role == "developer" else role
