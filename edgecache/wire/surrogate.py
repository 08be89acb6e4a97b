"""Surrogate keys in headers, under all the names in use."""

from collections.abc import Iterable, Mapping

import http_sf

from edgecache.core.tags import MAX_HEADER_BYTES, MAX_KEY_BYTES, fits

TAG_HEADERS = ("surrogate-key", "cache-tag", "edge-cache-tag", "xkey", "cache-groups")


def response_keys(headers: Mapping[str, str]) -> tuple[str, ...]:
    """Keys an origin put on its response, `headers` looked up by lower-case name. What cannot be a key is left out."""
    found: dict[str, None] = {}
    for name in TAG_HEADERS:
        if name in headers:
            found.update(dict.fromkeys(_split(name, _cut(headers[name]))))
    return tuple(key for key in found if fits(key))


def split_keys(value: str) -> tuple[str, ...]:
    """The keys of one `Surrogate-Key` header."""
    return tuple(dict.fromkeys(value.split()))


def problems(keys: Iterable[str], *, length: int) -> list[str]:
    """Why keys cannot be used, a line each. `length` is that of the header they came in, in bytes."""
    found = [f"key of {len(k.encode(errors='replace'))} bytes, at most {MAX_KEY_BYTES}" for k in keys if not fits(k)]
    if length > MAX_HEADER_BYTES:
        found.append(f"Surrogate-Key header of {length} bytes, at most {MAX_HEADER_BYTES}")
    return found


def _cut(value: str) -> str:
    return value.encode(errors="replace")[:MAX_HEADER_BYTES].decode(errors="ignore")


def _split(name: str, value: str) -> list[str]:
    if name == "cache-groups":
        return _groups(value)
    if name in ("cache-tag", "edge-cache-tag"):
        return [tag.strip() for tag in value.split(",")]
    return value.replace(",", " ").split() if name == "xkey" else value.split()


def _groups(value: str) -> list[str]:
    """RFC 9875 section 2: a list of strings; a malformed field is ignored as a whole."""
    try:
        items = http_sf.parse(value.encode(), tltype="list")
    except (http_sf.StructuredFieldError, ValueError, UnicodeError):
        return []
    return [item[0] for item in items if isinstance(item[0], str)]
