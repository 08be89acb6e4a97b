"""What the header fields of a response say about storing and reusing it."""

import math
from collections.abc import Mapping

from edgecache.core.reuse import Said
from edgecache.wire.freshness import parse_directives, targeted
from edgecache.wire.http_dates import parse_date


def read_response(status: int, headers: Mapping[str, str], now: float) -> Said:
    """`headers` by lower-case name, the values of a repeated field joined; `now` is Unix time.

    A field for caches like this one takes the place of `Cache-Control` and `Expires` (RFC 9213 section 2.2).
    """
    ours = targeted(headers)
    field, directives = ours or ("cache-control", parse_directives(headers.get("cache-control", "")))
    modified = headers.get("last-modified")
    last_modified = parse_date(modified, now) if modified is not None else None
    return Said(
        status=status,
        field=field,
        directives=directives,
        age=_age(headers.get("age")),
        date=parse_date(headers.get("date", ""), now),
        expires=None if ours is not None else _expires(headers.get("expires"), now),
        last_modified=last_modified,
        validated="etag" in headers or last_modified is not None,
        vary=tuple(sorted({name.strip().lower() for name in headers.get("vary", "").split(",") if name.strip()})),
        sets_cookie="set-cookie" in headers,
    )


def _age(value: str | None) -> float:
    """RFC 9111 section 5.1 lets a cache guess at what is no single number: here it is older than anything."""
    if value is None:
        return 0.0
    return float(value) if value.isascii() and value.isdigit() and len(value) < 20 else math.inf


def _expires(value: str | None, now: float) -> float | None:
    """RFC 9111 section 5.3: what is no date, `0` above all, is in the past."""
    if value is None:
        return None
    date = parse_date(value, now)
    return -math.inf if date is None else date
