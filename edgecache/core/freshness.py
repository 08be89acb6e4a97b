"""How long an answer may be served, from the directives that came with it (RFC 9111)."""

from collections.abc import Mapping

import msgspec

_FORBIDDING = ("no-store", "private", "no-cache")
MAX_TTL = 10 * 365 * 86_400


class Lifetime(msgspec.Struct, frozen=True):
    """`ttl` in seconds; `forbidden` says who forbade storing, None where nobody did."""

    ttl: float
    forbidden: str | None = None


def judge(field: str, value: str, directives: Mapping[str, str], default: float) -> Lifetime:
    """What the directives read from one header field come to; `default` is the route's lifetime."""
    for directive in _FORBIDDING:
        if directive in directives:
            return Lifetime(0, f"{field}: {directive}")
    age = directives.get("s-maxage", directives.get("max-age"))
    if age is None:
        return Lifetime(default)
    # RFC 9111 section 4.2.1: an invalid max-age is best taken as stale
    ttl = float(min(int(age), MAX_TTL)) if age.isascii() and age.isdigit() and len(age) < 20 else 0.0
    return Lifetime(ttl) if ttl else Lifetime(0, f"{field}: {value[:80]}")
