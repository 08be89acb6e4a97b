"""How long an answer may be served, from what came with it.

`CDN-Cache-Control` (RFC 9213) is asked first, then `Surrogate-Control`, then, where the route says so, `Cache-Control`
(RFC 9111). Providers send `no-cache` on every stream, so theirs is not asked otherwise.
"""

from collections.abc import Mapping

import msgspec

_FORBIDDING = ("no-store", "private", "no-cache")
MAX_TTL = 10 * 365 * 86_400


class Lifetime(msgspec.Struct, frozen=True):
    """`ttl` in seconds; `forbidden` says who forbade storing, None where nobody did."""

    ttl: float
    forbidden: str | None = None


def lifetime(headers: Mapping[str, str], *, default: float, provider_cache_control: bool) -> Lifetime:
    """`headers` are looked up by lower-case name."""
    fields = ["cdn-cache-control", "surrogate-control"]
    if provider_cache_control:
        fields.append("cache-control")
    name = next((field for field in fields if field in headers), None)
    return Lifetime(default) if name is None else _read(name, headers[name], default)


def _read(name: str, value: str, default: float) -> Lifetime:
    directives = parse_directives(value)
    for directive in _FORBIDDING:
        if directive in directives:
            return Lifetime(0, f"{name}: {directive}")
    age = directives.get("s-maxage", directives.get("max-age"))
    if age is None:
        return Lifetime(default)
    # RFC 9111 section 4.2.1: an invalid max-age is best taken as stale
    ttl = float(min(int(age), MAX_TTL)) if age.isascii() and age.isdigit() and len(age) < 20 else 0.0
    return Lifetime(ttl) if ttl else Lifetime(0, f"{name}: {value[:80]}")


def parse_directives(value: str) -> dict[str, str]:
    """RFC 9111 section 5.2: names in lower case, quotes taken off; the first of a repeated directive counts."""
    found: dict[str, str] = {}
    for part in value.split(","):
        name, _, argument = part.strip().partition("=")
        found.setdefault(name.strip().lower(), argument.strip().strip('"'))
    return found
