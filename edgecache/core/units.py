"""Durations and sizes as people write them, and the reading of tables into structs with every error at once."""

import difflib
import re
import reprlib
from collections.abc import Mapping
from enum import Enum
from typing import Any, TypeVar, get_args

import msgspec

_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3_600, "d": 86_400}
_BYTES = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_NUMBER_AND_UNIT = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,18})?)\s*([A-Za-z]*)")

S = TypeVar("S", bound=msgspec.Struct)


class Duration(float):
    """Seconds; written as a number, or with a unit: `250ms`, `30s`, `5m`, `1h`, `7d`."""


class Size(int):
    """Bytes; written as a number, or with a unit: `512KiB`, `64MiB`, `2GiB`."""


def parse_duration(value: object) -> Duration:
    """Raises ValueError with what would be right."""
    return Duration(_scaled(value, _SECONDS, "s", "a duration such as 30s, 5m or 1h"))


def parse_size(value: object) -> Size:
    """Raises ValueError with what would be right."""
    return Size(_scaled(value, _BYTES, "", "a size such as 512KiB or 64MiB"))


def _scaled(value: object, units: Mapping[str, float], default: str, wanted: str) -> float:
    number = isinstance(value, int | float | str) and not isinstance(value, bool)
    found = _NUMBER_AND_UNIT.fullmatch(str(value).strip()) if number else None
    if not found or (found[2] or default) not in units:
        raise ValueError(f"Expected {wanted}, got {reprlib.repr(value)}")
    return float(found[1]) * units[found[2] or default]


def convert(value: object, kind: Any) -> Any:
    """`value` as `kind`, strictly; raises msgspec.ValidationError that says what was expected."""
    return msgspec.convert(value, kind, dec_hook=_hook)


def _hook(kind: type, value: object) -> object:
    if kind is Duration:
        return parse_duration(value)
    if kind is Size:
        return parse_size(value)
    raise NotImplementedError(f"{kind} has no reader")


def read_table(table: object, kind: type[S], where: str, problems: list[str]) -> S | None:
    """A struct from a table, field by field. Each thing wrong adds a line `where.key: ...`; None if there was any."""
    if not isinstance(table, Mapping):
        problems.append(f"{where}: expected a table, got {table!r}")
        return None
    before = len(problems)
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    known: dict[str, Any] = {}
    for key, value in table.items():
        if key in fields:
            known[fields[key].name] = _field(value, fields[key].type, f"{where}.{key}", problems)
        else:
            problems.append(f"{where}.{key}: unknown key{_suggestion(key, fields)}")
    problems.extend(f"{where}.{name}: required" for name, f in fields.items() if f.required and f.name not in known)
    return kind(**known) if len(problems) == before else None


def _field(value: object, kind: Any, where: str, problems: list[str]) -> object:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return read_table(value, kind, where, problems)
    try:
        return convert(value, kind)
    except (msgspec.ValidationError, ValueError) as error:
        problems.append(f"{where}: {error}{_choices(kind) if 'enum value' in str(error) else ''}")
        return None


def _choices(kind: Any) -> str:
    """What an enum would accept, wherever in a type it stands."""
    if isinstance(kind, type) and issubclass(kind, Enum):
        return f"; known are {', '.join(member.value for member in kind)}"
    return "".join(_choices(part) for part in get_args(kind))


def _suggestion(key: str, known: Mapping[str, object]) -> str:
    near = difflib.get_close_matches(key, known, n=1)
    return f", did you mean `{near[0]}`?" if near else f"; known are {', '.join(sorted(known))}"
