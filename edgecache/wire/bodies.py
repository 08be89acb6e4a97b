"""JSON bodies of requests: read with errors that say what to change, and changed without touching other values."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from edgecache.errors import BadRequest

_LONE_SURROGATE = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])")

MAX_DEPTH = 256
"""Levels of nesting that are read. Fewer than the interpreter's stack allows wherever it stands, so that what was read
once can also be encoded."""
LARGEST_LOOKED_AT = 4 << 20
"""Bytes. Looking for repeated keys is a second parse, slower than the first: larger bodies go without, and uncached."""
_CONTAINERS = (dict, list)
_wide = msgspec.json.Decoder(float_hook=float)


def decode(body: bytes) -> tuple[Any, str | None]:
    """The document, and why it must not be cached although it can be read.

    Raises:
        BadRequest: malformed, not UTF-8, nested deeper than `MAX_DEPTH`, an integer of thousands of digits.
    """
    try:
        value, problem = _decode(body)
        if not _is_deep(body, value):
            return value, problem or _repeated_key(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(_what_to_change(body, error)) from None
    except RecursionError:
        pass
    raise BadRequest(f"The JSON body is nested too deeply: at most {MAX_DEPTH} levels are read.")


def _decode(body: bytes) -> tuple[Any, str | None]:
    try:
        return msgspec.json.decode(body), None
    except msgspec.ValidationError:  # a number that neither a double nor 4,300 digits hold; the rest is still unread
        return _wide.decode(body), "a number is out of range"


def _is_deep(body: bytes, value: Any) -> bool:
    """Level by level, and only where there are brackets enough."""
    if body.count(b"{") + body.count(b"[") <= MAX_DEPTH:
        return False
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [child for item in level for child in _children(item) if isinstance(child, _CONTAINERS)]
        if not level:
            return False
    return True


def _children(item: Any) -> Iterable[Any]:
    return item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()


def _what_to_change(body: bytes, error: Exception) -> str:
    if not body.strip():
        return "The request body is empty: send a JSON object."
    if body.startswith(b"\xef\xbb\xbf"):
        return "The request body begins with a byte order mark: send the JSON without it."
    if isinstance(error, UnicodeDecodeError) or body.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in body[:4]:
        return "The request body is not UTF-8: encode the JSON as UTF-8."
    if isinstance(error, msgspec.ValidationError):
        return "The JSON body holds an integer of more than 4,300 digits: send fewer digits, or a string."
    if "surrogate" in str(error) or _LONE_SURROGATE.search(body):
        return "The JSON body holds a lone surrogate (\\ud800 to \\udfff): send the character whole, or leave it out."
    return f"The request body could not be parsed as JSON: {error}."


class _Repeated(Exception):
    """A key stands twice in one object."""


def _repeated_key(body: bytes) -> str | None:
    """Parsers differ in which of two values counts, so such a request is never cached."""
    if len(body) > LARGEST_LOOKED_AT:
        return "the body is over 4 MiB and not looked at for repeated keys"
    try:
        json.loads(body, object_pairs_hook=_refuse_repeated)
    except _Repeated as found:
        return f"the key {found} stands twice"
    return None


def _refuse_repeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise _Repeated(repr(name[:40]))
        found[name] = value
    return found


def with_fields(body: bytes, fields: Mapping[str, Any]) -> bytes:
    """The same object with other values for these keys; every other value keeps its bytes.

    Raises:
        msgspec.DecodeError: it is no object.
    """
    return msgspec.json.encode({**msgspec.json.decode(body, type=dict[str, msgspec.Raw]), **fields})
