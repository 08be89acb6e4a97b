"""docs/operations.md lists every setting, variable and metric there is, and no other."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgecache.core.units import Duration, Size, parse_duration, parse_size
from edgecache.edge.metrics import Metrics
from edgecache.settings import NOT_SETTINGS, PREFIX, Settings, UpstreamSettings, load

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()


def table(heading: str) -> list[list[str]]:
    """The rows of the table whose head begins so, cell by cell."""
    after = PAGE.split(f"| {heading} |", 1)[1].split("\n\n", 1)[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in after.splitlines()[2:]]


def word(cell: str) -> str:
    return cell.strip("`")


def default_of(field: msgspec.structs.FieldInfo) -> Any:
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return "required" if field.required else field.default


def same(written: str, value: Any) -> bool:
    """`value` as an operator would write it."""
    if isinstance(value, Duration):
        return parse_duration(written) == value
    if isinstance(value, Size):
        return parse_size(written) == value
    return written == str(value)


def settings() -> dict[str, Any]:
    """Every key but the list of providers, with its default."""
    found = {}
    for field in msgspec.structs.fields(Settings):
        if isinstance(field.default, msgspec.Struct):
            inner = msgspec.structs.fields(field.default)
            found.update({f"{field.name}.{part.name}": default_of(part) for part in inner})
        elif field.name != "upstream":
            found[field.name] = default_of(field)
    return found


def test_every_setting_is_listed_with_its_default() -> None:
    rows = {word(row[0]): word(row[2]) for row in table("key | variable | default")}
    assert rows.keys() == settings().keys()
    assert {key for key, value in settings().items() if not same(rows[key], value)} == set()


def test_the_variables_listed_are_the_ones_that_are_read() -> None:
    for key, variable, *_ in table("key | variable | default"):
        if word(key) == "services":  # a table, which no variable can hold
            assert not variable
            continue
        assert word(variable) == PREFIX + word(key).replace(".", "_").upper()
    example = {"EDGECACHE_LOCAL_ROWS": "3", "EDGECACHE_LIMITS_BODY": "1KiB", "EDGECACHE_NODE": "here"}
    read = load(None, example)
    assert (read.local.rows, read.limits.body, read.node) == (3, 1_024, "here")


def test_every_setting_of_a_provider_is_listed_with_its_default() -> None:
    rows = {word(row[0]): word(row[1]) for row in table("key of `[[upstream]]` | default")}
    fields = {field.name: default_of(field) for field in msgspec.structs.fields(UpstreamSettings)}
    assert rows.keys() == fields.keys()
    assert {key for key, value in fields.items() if not same(rows[key], value)} == set()


def test_the_other_variables_are_listed() -> None:
    assert {word(row[0]) for row in table("variable | read by")} == set(NOT_SETTINGS)


@pytest.mark.parametrize("variable", sorted(set(re.findall(r"EDGECACHE_[A-Z_]+\b", PAGE)) - set(NOT_SETTINGS)))
def test_no_variable_is_named_that_nobody_reads(variable: str) -> None:
    known = {PREFIX + key.replace(".", "_").upper() for key in settings()}
    assert variable in known | {"EDGECACHE_UPSTREAM", "EDGECACHE_UPSTREAM_KEY"}


def test_the_metrics_of_requests_are_listed() -> None:
    metrics = Metrics()
    metrics.tally("local", "exact").add(0.1)
    names = re.findall(r"^# TYPE (\S+)", metrics.render().decode(), re.MULTILINE)
    listed = {name for row in table("name | type | labels") for name in re.findall(r"`(\w+)`", row[0])}
    assert set(names) <= listed
