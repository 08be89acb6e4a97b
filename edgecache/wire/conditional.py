"""Preconditions and ranges of a request, against a response that is at hand (RFC 9110 sections 13 and 14)."""

import re
from collections.abc import Mapping

from edgecache.wire.http_dates import parse_date

_ENTITY_TAG = re.compile(r'(?:W/)?"[^"]*"')
_RANGE = re.compile(r"bytes=[ \t]*(\d{0,19})-(\d{0,19})[ \t]*", re.ASCII | re.IGNORECASE)
_OF_A_304 = ("cache-control", "content-location", "date", "etag", "expires", "last-modified", "vary", "age")

Headers = tuple[tuple[str, str], ...]


def is_unmodified(request: Mapping[str, str], response: Mapping[str, str], answered_at: float) -> bool:
    """Whether the caller has the response already (RFC 9111 section 4.3.2). Header fields by lower-case name;
    `answered_at` is when the response came, Unix time.
    """
    if "if-none-match" in request:
        return _matches(request["if-none-match"], response.get("etag"))
    since = parse_date(request.get("if-modified-since", ""), answered_at)
    if since is None:
        return False
    modified = parse_date(response.get("last-modified", response.get("date", "")), answered_at)
    return (answered_at if modified is None else modified) <= since


def _matches(listed: str, etag: str | None) -> bool:
    """Weak comparison (RFC 9110 section 8.8.3.2); an entity tag that is none can still be the very same text."""
    if listed.strip() == "*":
        return True
    if etag is None:
        return False
    return listed == etag or any(
        tag.removeprefix("W/") == etag.removeprefix("W/") for tag in _ENTITY_TAG.findall(listed)
    )


def of_not_modified(headers: Headers) -> Headers:
    """What of a response's header fields a 304 repeats (RFC 9110 section 15.4.5)."""
    return tuple(pair for pair in headers if pair[0].lower() in _OF_A_304)


def wanted_range(request: Mapping[str, str], response: Mapping[str, str], size: int) -> range | None:
    """The bytes that are asked for of `size`; empty where there are none such; None for all of them: no range, several,
    one that cannot be read, or one of another version (RFC 9110 sections 14.2 and 13.1.5).
    """
    found = _RANGE.fullmatch(request.get("range", ""))
    if found is None or not _is_same(request.get("if-range"), response):
        return None
    first, last = found.groups()
    if not first:
        return range(max(0, size - int(last)), size) if last else None
    if last and int(last) < int(first):
        return None
    return range(int(first), min(size, int(last) + 1 if last else size))


def _is_same(validator: str | None, response: Mapping[str, str]) -> bool:
    """Strong comparison; a date is the very date."""
    if validator is None:
        return True
    if validator.startswith('"'):
        return validator == response.get("etag")
    return not validator.startswith("W/") and validator == response.get("last-modified")
