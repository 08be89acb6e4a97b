"""Requests that the OpenAI API description allows (MIT), drawn by Hypothesis.

hypothesis-jsonschema 0.23.1 does not run with the Hypothesis of today (it calls a private method that is gone), and
knows neither `nullable` nor schemas that contain themselves; what these schemas use is little.
"""

import gzip
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, Final

import pytest
from cassettes import data_folder
from hypothesis import strategies as st

Schema = Mapping[str, Any]
Draw = Callable[[st.SearchStrategy[Any]], Any]

DEEP: Final = 7
"""Levels from which on nothing is added that need not be there."""
ENDLESS: Final = 1_000
_TEXTS: Final = ("a", "Why is the sky blue?", " b\n", "{}", '{"x": [1, 2.50]}', "\u00e9\u2028\U0001f30d", "c\r\nd")
_WORDS: Final = ("a", "b-1", "c_2", "d")
_ADDRESSES: Final = ("https://example.org/a.png", "data:image/png;base64,iVBORw0KGgo=", "https://example.org/b.pdf")


@cache
def schemas() -> Mapping[str, Schema]:
    """By name; skips the test where the description is absent."""
    yaml = pytest.importorskip("yaml", reason="PyYAML reads the description")
    path = data_folder("openai_openapi") / "openapi.yaml.gz"
    with gzip.open(path) as file:
        return yaml.load(file, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))["components"]["schemas"]


def requests(name: str) -> st.SearchStrategy[dict[str, Any]]:
    """Of the schema with this name, always with a model and an input. The description is read with the first example,
    so that collecting needs no file.
    """

    @st.composite
    def drawn(draw: Draw) -> dict[str, Any]:
        schema = _resolved(schemas()[name])
        found = _value(draw, schema, 0)
        wanted = [field for field in ("model", "input") if field in schema["properties"]]
        more = {field: _value(draw, schema["properties"][field], 1) for field in wanted if field not in found}
        return {**found, **more}

    return drawn()


def _value(draw: Draw, schema: Schema, depth: int) -> Any:
    schema = _resolved(schema)
    if schema.get("nullable") and draw(st.integers(0, 5)) == 5:
        return None
    if options := schema.get("anyOf") or schema.get("oneOf"):
        return _value(draw, _option(draw, options, depth), depth)
    if "enum" in schema:
        return draw(st.sampled_from(schema["enum"]))
    kind = schema.get("type")
    if kind == "object" or "properties" in schema:
        return _object(draw, schema, depth)
    if kind == "array":
        least, most = schema.get("minItems", 0), min(schema.get("maxItems", 3), 3)
        return [_value(draw, schema["items"], depth + 1) for _ in range(draw(st.integers(least, max(least, most))))]
    return draw(_scalar(schema))


def _resolved(schema: Schema) -> Schema:
    """References followed, parts of `allOf` made one."""
    while "$ref" in schema:
        schema = schemas()[schema["$ref"].rpartition("/")[2]]
    if "allOf" not in schema:
        return schema
    parts = [*map(_resolved, schema["allOf"]), {name: value for name, value in schema.items() if name != "allOf"}]
    if not any("properties" in part for part in parts):
        return parts[0]
    properties = {name: value for part in parts for name, value in part.get("properties", {}).items()}
    return {"type": "object", "properties": properties, "required": [n for p in parts for n in p.get("required", ())]}


def _option(draw: Draw, options: list[Schema], depth: int) -> Schema:
    if depth < DEEP:
        options = [option for option in options if _height(option) < ENDLESS]
        return draw(st.sampled_from(options))
    return min(options, key=_height)


def _height(schema: Schema, above: frozenset[str] = frozenset()) -> int:
    """Levels that a value has at least."""
    if "$recursiveRef" in schema:
        return ENDLESS
    name = schema.get("$ref", "")
    if name in above:
        return ENDLESS
    schema, above = _resolved(schema), above | {name} - {""}
    if options := schema.get("anyOf") or schema.get("oneOf"):
        return min(_height(option, above) for option in options)
    needed = [schema.get("properties", {}).get(name, {}) for name in schema.get("required", ())]
    needed += [schema["items"]] if schema.get("minItems") else []
    return min(ENDLESS, 1 + max((_height(inner, above) for inner in needed), default=0))


def _object(draw: Draw, schema: Schema, depth: int) -> dict[str, Any]:
    properties, needed = schema.get("properties", {}), schema.get("required", ())
    if not properties:
        return _mapping(draw, schema, depth)
    more = [name for name in properties if name not in needed and depth < DEEP]
    chosen = draw(st.lists(st.sampled_from(more), unique=True, max_size=4 if depth else 7)) if more else []
    return {name: _value(draw, properties.get(name, {}), depth + 1) for name in (*needed, *chosen)}


def _mapping(draw: Draw, schema: Schema, depth: int) -> dict[str, Any]:
    inner = schema.get("additionalProperties")
    inner = inner if isinstance(inner, dict) and inner else {"type": "string"}
    return {name: _value(draw, inner, depth + 1) for name in draw(st.lists(st.sampled_from(_WORDS), max_size=2))}


def _scalar(schema: Schema) -> st.SearchStrategy[Any]:
    kind = schema.get("type")
    low, high = schema.get("minimum", schema.get("exclusiveMinimum", -3)), schema.get("maximum", 1 << 40)
    if kind == "integer":
        return st.integers(int(low), int(max(low, high)))
    if kind == "number":
        return st.floats(low, max(low, high), allow_nan=False) | st.integers(int(low), int(max(low, high)))
    if kind in ("boolean", "null"):
        return st.booleans() if kind == "boolean" else st.none()
    if "pattern" in schema:
        return st.from_regex(schema["pattern"].replace("+$", "{1,8}$"), fullmatch=True)
    if schema.get("format") == "uri":
        return st.sampled_from(_ADDRESSES)
    return st.sampled_from(_TEXTS) | st.text("ab1 \n\u4e16", min_size=schema.get("minLength", 0), max_size=6)


# --- the same with one difference ---------------------------------------------------------------------------------

Path = tuple[str | int, ...]


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """All texts, numbers and booleans in a document, and where they stand."""
    if isinstance(value, dict | list):
        for name, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(inner, (*path, name))
    elif value is not None:
        yield path, value


def other(value: Any) -> Any:
    """Another one of its kind."""
    if isinstance(value, bool):
        return not value
    return f"{value}~" if isinstance(value, str) else value + 1 if abs(value) < 1 << 50 else 1


def with_leaf(document: Any, path: Path, value: Any) -> Any:
    """A copy with `value` at `path`."""
    if not path:
        return value
    changed = dict(document) if isinstance(document, dict) else list(document)
    changed[path[0]] = with_leaf(document[path[0]], path[1:], value)
    return changed
