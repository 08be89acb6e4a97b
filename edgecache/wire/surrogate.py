"""Surrogate keys in headers, under all the names in use."""

import re
from collections.abc import Mapping, Sequence
from itertools import chain, islice

import http_sf

from edgecache.core.entry import MAX_TAGS
from edgecache.core.tags import MAX_HEADER_BYTES, MAX_KEY_BYTES, fits

_SEPARATORS = {"surrogate-key": " \t", "cache-tag": ",", "edge-cache-tag": ",", "xkey": " \t,"}
TAG_HEADERS = (*_SEPARATORS, "cache-groups")


def response_keys(headers: Mapping[str, str]) -> tuple[str, ...]:
    """Keys an origin put on its response, `headers` looked up by lower-case name. What cannot be a key is left out.
    Where these are more than an entry may have, one more than that: the response is not to be stored, and there is no
    point in reading on.
    """
    named = (_split(name, headers[name]) for name in TAG_HEADERS if name in headers)
    found = dict.fromkeys(chain.from_iterable(named))
    return tuple(islice(filter(fits, found), MAX_TAGS + 1))


def split_keys(value: str) -> tuple[str, ...]:
    """The keys of one `Surrogate-Key` header."""
    return tuple(dict.fromkeys(key for key in re.split("[ \t]+", value) if key))


def problems(keys: Sequence[str], *, length: int) -> list[str]:
    """Why keys cannot be used, a line each. `length` is that of the header they came in, in bytes."""
    found = [_why_not(key) for key in keys if not fits(key)]
    if len(keys) > MAX_TAGS:
        found = [f"{len(keys)} surrogate keys, at most {MAX_TAGS}"]
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
    return [key.strip(" \t") for key in re.split(f"[{_SEPARATORS[name]}]+", value)]


def _groups(value: str) -> list[str]:
    """RFC 9875 section 2: a list of strings; a malformed field is ignored as a whole. One with so many commas or
    semicolons that it would take long to read counts as too many keys, whatever they are.
    """
    parts = re.split("[,;]", value)
    if len(parts) > 2 * MAX_TAGS:
        return parts
    try:
        items = http_sf.parse(value.encode(), tltype="list")
    except (http_sf.StructuredFieldError, ValueError, UnicodeError):
        return []
    return [item[0] for item in items if isinstance(item[0], str)]
