"""The header fields that say how long an answer may be served.

`CDN-Cache-Control` (RFC 9213) is asked first, then `Surrogate-Control`, then, where the route says so, `Cache-Control`
(RFC 9111). Providers send `no-cache` on every stream, so theirs is not asked otherwise.
"""

from collections.abc import Callable, Mapping

import http_sf

from edgecache.core.freshness import Lifetime, judge


def lifetime(headers: Mapping[str, str], *, default: float, provider_cache_control: bool) -> Lifetime:
    """`headers` are looked up by lower-case name."""
    readers: dict[str, Callable[[str], dict[str, str]]] = {
        "cdn-cache-control": _dictionary,
        "surrogate-control": _surrogate_control,
    }
    if provider_cache_control:
        readers["cache-control"] = parse_directives
    for name, read in readers.items():
        if directives := read(headers.get(name, "")):
            return judge(name, headers[name], directives, default)
    return Lifetime(default)


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
    ours = [part for part in _split(value, ",") if len(_split(part, ";")) == 1]
    return {name: argument.partition("+")[0] for name, argument in parse_directives(",".join(ours)).items()}


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
