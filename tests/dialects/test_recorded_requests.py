"""Every value of every recorded request is in its identity, but for those of a closed list."""

import copy
import json
import re
from collections.abc import Iterator
from typing import Any, Final

import pytest
from cassettes import exchanges

from edgecache.core.canonical import Question
from edgecache.wire.dialects import BY_NAME

Path = tuple[str | int, ...]

ALIKE: Final = 6
"""How often values at the same place of a dialect's requests are tried."""
NO_IDENTITY: Final = re.compile(
    r"stream(_options\..*)?|user|metadata\..*|safety_identifier|service_tier|store"  # about the response, or its caller
    r"|(.*\.)?(prompt_cache_.*|cache_control\..*)"  # about the provider's own cache
    r"|response_format\.json_schema\.name|text\.format\.name"  # Messages has none
    r"|input\.\*\.id|.*\.tool_calls\.\*\.id|.*\.(tool_)?(call|use)_id"  # counted by their place
    r"|tool_choice\.type|input\.\*\.summary\.\*\.type"  # words with one value only, beside what they go with
)
"""What is not, whole paths with `*` for places in lists. The first line is that of the design."""


def leaves(value: Any, path: Path = ()) -> Iterator[Path]:
    if isinstance(value, dict | list):
        inner = value.items() if isinstance(value, dict) else enumerate(value)
        for name, item in inner:
            yield from leaves(item, (*path, name))
    else:
        yield path


def changed(document: Any, path: Path) -> Any:
    document = copy.deepcopy(document)
    place = document
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = another(place[path[-1]])
    return document


def another(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, int | float) else f"{value or ''}x"


def question(dialect: str, fields: Any, path: str) -> Question:
    return BY_NAME[dialect].read(json.dumps(fields).encode(), path).question


@pytest.mark.parametrize("dialect", BY_NAME)
def test_every_value_counts(dialect: str) -> None:
    tried: dict[str, int] = {}
    lost: dict[str, str] = {}
    for exchange in exchanges():
        if exchange.dialect != dialect or (asked := question(dialect, exchange.asked, exchange.path)).uncacheable:
            continue
        for path in leaves(exchange.asked):
            place = ".".join("*" if isinstance(name, int) else name for name in path)
            if place == "model" and "/deployments/" in exchange.path:
                continue  # Azure goes by its path, whatever the body says
            tried[place] = tried.get(place, 0) + 1
            if tried[place] <= ALIKE and question(dialect, changed(exchange.asked, path), exchange.path) == asked:
                lost[place] = exchange.name
    assert len(tried) > 5
    assert not {place: name for place, name in lost.items() if not NO_IDENTITY.fullmatch(place)}
