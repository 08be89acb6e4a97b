"""Surrogate keys in headers, under all the names in use."""

import re
from collections.abc import Iterable, Mapping

import http_sf

from edgecache.core.tags import MAX_HEADER_BYTES, MAX_KEY_BYTES, fits

_SEPARATORS = {"surrogate-key": " \t", "cache-tag": ",", "edge-cache-tag": ",", "xkey": " \t,"}
TAG_HEADERS = (*_SEPARATORS, "cache-groups")


def response_keys(headers: Mapping[str, str]) -> tuple[str, ...]:
    """Keys an origin put on its response, `headers` looked up by lower-case name. What cannot be a key is left out."""
    found: dict[str, None] = {}
    for name in TAG_HEADERS:
        if name in headers:
            found.update(dict.fromkeys(_split(name, headers[name])))
    return tuple(key for key in found if fits(key))


def split_keys(value: str) -> tuple[str, ...]:
    """The keys of one `Surrogate-Key` header."""
    return tuple(dict.fromkeys(key for key in re.split("[ \t]+", value) if key))


def problems(keys: Iterable[str], *, length: int) -> list[str]:
    """Why keys cannot be used, a line each. `length` is that of the header they came in, in bytes."""
    found = [_why_not(key) for key in keys if not fits(key)]
    if length > MAX_HEADER_BYTES:
        found.append(f"Surrogate-Key header of {length} bytes, at most {MAX_HEADER_BYTES}")
    return found


def _why_not(key: str) -> str:
    try:
        length = len(key.encode())
    except UnicodeEncodeError:
        return "key that is not UTF-8"
    return f"key of {length} bytes, at most {MAX_KEY_BYTES}" if length else "key of 0 bytes, at least 1"


def _split(name: str, value: str) -> list[str]:
    if name == "cache-groups":
        return _groups(value)
    separators = _SEPARATORS[name]
    return [key.strip(" \t") for key in re.split(f"[{separators}]+", _cut(value, separators))]


def _cut(value: str, separators: str) -> str:
    """Up to the last whole key within the limit; half a key would be another key."""
    encoded = value.encode(errors="surrogatepass")
    if len(encoded) <= MAX_HEADER_BYTES:
        return value
    end = max(encoded.rfind(separator.encode(), 0, MAX_HEADER_BYTES + 1) for separator in separators)
    return encoded[: max(end, 0)].decode(errors="surrogatepass")


def _groups(value: str) -> list[str]:
    """RFC 9875 section 2: a list of strings; a malformed field is ignored as a whole."""
    try:
        items = http_sf.parse(value.encode(), tltype="list")
    except (http_sf.StructuredFieldError, ValueError, UnicodeError):
        return []
    return [item[0] for item in items if isinstance(item[0], str)]
