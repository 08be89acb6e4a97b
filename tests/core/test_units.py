"""Durations and sizes, and the reading of tables with every error at once."""

from enum import StrEnum
from typing import Annotated

import msgspec
import pytest

from edgecache.core.units import Duration, Size, parse_duration, parse_size, read_table


@pytest.mark.parametrize(
    ("written", "seconds"),
    [(5, 5), (0.25, 0.25), ("5", 5), ("250ms", 0.25), ("30s", 30), ("5m", 300), ("1h", 3_600), ("7d", 604_800),
     ("0s", 0), ("1.5h", 5_400), (" 5 m ", 300)],
)  # fmt: skip
def test_durations(written: object, seconds: float) -> None:
    assert parse_duration(written) == seconds


@pytest.mark.parametrize(
    ("written", "size"),
    [(5, 5), ("5", 5), ("5B", 5), ("512KiB", 524_288), ("64MiB", 64 << 20), ("2GiB", 2 << 30), ("1.5KiB", 1_536)],
)
def test_sizes(written: object, size: int) -> None:
    assert parse_size(written) == size
    assert isinstance(parse_size(written), int)


WRONG = ["", "x", "-5s", -5, True, None, [], {}, "1h30m", "5 parsecs", "1e3", "٣", "5S", float("nan"), float("inf"),
         "9" * 400, "9" * 310 + "d", 10**400]  # fmt: skip


@pytest.mark.parametrize("written", WRONG, ids=[repr(type(one)) + str(number) for number, one in enumerate(WRONG)])
def test_what_is_neither_says_what_would_be_right(written: object) -> None:
    with pytest.raises(ValueError, match="Expected a duration such as 30s") as found:
        parse_duration(written)
    assert len(str(found.value)) < 200
    with pytest.raises(ValueError, match="Expected a size such as 512KiB"):
        parse_size(written)


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Inner(msgspec.Struct, frozen=True):
    size: Size = Size(1)


class Outer(msgspec.Struct, frozen=True):
    name: str
    wait: Duration = Duration(1)
    share: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.5
    colours: tuple[Colour, ...] = ()
    inner: Inner = Inner()


def read(table: object) -> tuple[Outer | None, list[str]]:
    problems: list[str] = []
    return read_table(table, Outer, "a.toml", problems), problems


def test_a_table_becomes_a_struct() -> None:
    found, problems = read({"name": "n", "wait": "2m", "colours": ["red"], "inner": {"size": "1KiB"}})
    assert problems == []
    assert found == Outer("n", Duration(120), 0.5, (Colour.RED,), Inner(Size(1_024)))


def test_every_error_is_told_at_once_with_its_key() -> None:
    found, problems = read({"wait": "x", "share": 2, "colours": ["green"], "inner": {"sise": 1, "size": -1}, "zzz": 1})
    assert found is None
    assert [problem.split(": ")[0] for problem in problems] == [
        "a.toml.wait",
        "a.toml.share",
        "a.toml.colours",
        "a.toml.inner.sise",
        "a.toml.inner.size",
        "a.toml.zzz",
        "a.toml.name",
    ]


def test_suggestions() -> None:
    _, problems = read({"name": "n", "colors": [], "colours": ["bleu"], "quite_else": 1})
    text = "\n".join(problems)
    assert "a.toml.colors: unknown key, did you mean `colours`?" in text
    assert "a.toml.quite_else: unknown key; known are colours, inner, name, share, wait" in text
    assert "known are red, blue" in text


@pytest.mark.parametrize("table", [None, 5, [], "x"])
def test_what_is_no_table(table: object) -> None:
    found, problems = read(table)
    assert found is None
    assert problems == [f"a.toml: expected a table, got {table!r}"]
    assert read({"name": "n", "inner": table})[1] == [f"a.toml.inner: expected a table, got {table!r}"]
