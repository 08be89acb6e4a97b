"""The header fields that say how long an answer may be served.

`CDN-Cache-Control` (RFC 9213) is asked first, then `Surrogate-Control`, then, where the route says so, `Cache-Control`
(RFC 9111). Providers send `no-cache` on every stream, so theirs is not asked otherwise.
"""

import math
import re
from collections.abc import Callable, Mapping

import http_sf

from edgecache.core.demands import NOTHING, Demands
from edgecache.core.freshness import MAX_TTL, Lifetime, judge

SURROGATE = "edgecache"
"""What `Surrogate-Control` may call this cache."""

LONGEST = 4_096
"""Characters of a field that is read. A longer one is taken to forbid everything, never for one that is not there."""

_TOO_LONG = {"no-cache": "", "no-store": ""}
_QUOTED = r'"(?:[^"\\]+|\\.)*"?'
"""RFC 9110 section 5.6.4; one that is not closed goes on to the end."""
_PARTS = {
    separator: re.compile(rf'(?:[^"{separator}]+|{_QUOTED})+', re.DOTALL)  # nothing follows: it never goes back
    for separator in ",;"
}


def lifetime(headers: Mapping[str, str], *, default: Lifetime, provider_cache_control: bool) -> Lifetime:
    """`headers` are looked up by lower-case name."""
    found = targeted(headers)
    if found is None and provider_cache_control:
        found = "cache-control", parse_directives(headers.get("cache-control", ""))
    if found is None or not found[1]:
        return default
    name, directives = found
    return judge(name, headers[name], directives, default)


def targeted(headers: Mapping[str, str]) -> tuple[str, dict[str, str]] | None:
    """The first header field for caches like this one, and its directives."""
    readers: dict[str, Callable[[str], dict[str, str]]] = {
        "cdn-cache-control": _dictionary,
        "surrogate-control": _surrogate_control,
    }
    found = ((name, _within(headers.get(name, ""), read)) for name, read in readers.items())
    return next(((name, said) for name, said in found if said), None)


def _within(value: str, read: Callable[[str], dict[str, str]]) -> dict[str, str]:
    return read(value) if len(value) <= LONGEST else _TOO_LONG


def demands(headers: Mapping[str, str]) -> Demands:
    """What a request's `Cache-Control` asks for (RFC 9111 section 5.2.1), without one its `Pragma` (section 5.4).
    `headers` are looked up by lower-case name.
    """
    if "cache-control" not in headers:
        no_cache = "no-cache" in parse_directives(headers.get("pragma", ""))
        return Demands(no_cache=True) if no_cache else NOTHING
    found = parse_directives(headers["cache-control"])
    return Demands(
        no_cache="no-cache" in found,
        no_store="no-store" in found,
        no_transform="no-transform" in found,
        only_if_cached="only-if-cached" in found,
        max_age=_delta(found["max-age"], 0.0) if "max-age" in found else None,
        max_stale=_max_stale(found.get("max-stale")),
        min_fresh=_delta(found.get("min-fresh", "0"), 0.0),
    )


def _max_stale(value: str | None) -> float | None:
    """RFC 9111 section 5.2.1.2: without a number, however stale."""
    return math.inf if value == "" else None if value is None else _delta(value, 0.0)


def _delta(value: str, otherwise: float) -> float:
    """RFC 9111 section 1.2.2; what is no number of seconds is read in the stricter way."""
    return float(min(int(value), MAX_TTL)) if value.isascii() and value.isdigit() and len(value) < 20 else otherwise


def parse_directives(value: str) -> dict[str, str]:
    """RFC 9111 section 5.2: names in lower case, quotes taken off; the first of a repeated directive counts."""
    return _within(value, _directives)


def _directives(value: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in _PARTS[","].findall(value):
        name, _, argument = part.strip().partition("=")
        if name:
            found.setdefault(name.strip().lower(), argument.strip().strip('"'))
    return found


def _dictionary(value: str) -> dict[str, str]:
    """RFC 9213 section 2.1: a Structured Fields dictionary (RFC 9651); one that is not is as if it were not there."""
    try:
        items = http_sf.parse(value.encode(), tltype="dictionary")
    except (http_sf.StructuredFieldError, ValueError):
        return {}
    return {name: "" if item is True else str(item) for name, (item, _) in items.items() if item is not False}


def _surrogate_control(value: str) -> dict[str, str]:
    """Edge Architecture (W3C note) section 2.3: `max-age=fresh+stale`; what names a surrogate is for that one."""
    said = (part for part in _PARTS[","].findall(value) if not part.lstrip().startswith(";"))
    parts = ([text.strip() for text in _PARTS[";"].findall(part)] for part in said)
    ours = [directive for directive, *names in parts if not names or SURROGATE in names]
    found = parse_directives(",".join(ours))
    fresh, plus, stale = found.get("max-age", "").partition("+")
    extended = {"max-age": fresh, "stale-while-revalidate": stale} if plus else {}
    return {**found, **extended}
