"""The header fields that say how long an answer may be served.

`CDN-Cache-Control` (RFC 9213) is asked first, then `Surrogate-Control`, then, where the route says so, `Cache-Control`
(RFC 9111). Providers send `no-cache` on every stream, so theirs is not asked otherwise.
"""

import math
from collections.abc import Callable, Mapping

import http_sf

from edgecache.core.demands import NOTHING, Demands
from edgecache.core.freshness import MAX_TTL, Lifetime, judge

SURROGATE = "edgecache"
"""What `Surrogate-Control` may call this cache."""


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
    return next(((name, said) for name, read in readers.items() if (said := read(headers.get(name, "")))), None)


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
        max_stale=_delta(found["max-stale"] or "inf", 0.0) if "max-stale" in found else None,
        min_fresh=_delta(found.get("min-fresh", "0"), 0.0),
    )


def _delta(value: str, otherwise: float) -> float:
    """RFC 9111 section 1.2.2; what is no number of seconds is read in the stricter way."""
    if value == "inf":
        return math.inf
    return float(min(int(value), MAX_TTL)) if value.isascii() and value.isdigit() and len(value) < 20 else otherwise


def parse_directives(value: str) -> dict[str, str]:
    """RFC 9111 section 5.2: names in lower case, quotes taken off; the first of a repeated directive counts."""
    found: dict[str, str] = {}
    for part in _split(value, ","):
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
    parts = ([text.strip() for text in _split(part, ";")] for part in _split(value, ","))
    ours = [directive for directive, *names in parts if not names or SURROGATE in names]
    found = parse_directives(",".join(ours))
    fresh, plus, stale = found.get("max-age", "").partition("+")
    extended = {"max-age": fresh, "stale-while-revalidate": stale} if plus else {}
    return {**found, **extended}


def _split(value: str, separator: str) -> list[str]:
    """At the separators that stand outside quoted strings (RFC 9110 section 5.6.4)."""
    parts, start, quoted, escaped = [], 0, False, False
    for at, character in enumerate(value):
        if escaped:
            escaped = False
        elif quoted and character == "\\":
            escaped = True
        elif character == '"':
            quoted = not quoted
        elif character == separator and not quoted:
            parts.append(value[start:at])
            start = at + 1
    return [*parts, value[start:]]
