"""How long an answer may be served: the directives that came with it (RFC 9111, RFC 5861), what the request demands,
and soft purges.
"""

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from edgecache.core.demands import Demands
from edgecache.core.entry import Entry

_FORBIDDING = ("no-store", "private", "no-cache")
_STRICT = ("must-revalidate", "proxy-revalidate")
MAX_TTL = 10 * 365 * 86_400


class Lifetime(msgspec.Struct, frozen=True):
    """`ttl` in seconds, and for how many seconds after it an answer may be served while it is asked for anew, or when
    that fails; `forbidden` says who forbade storing, None where nobody did. `strict`: never stale.
    """

    ttl: float
    forbidden: str | None = None
    stale_while_revalidate: float = 0
    stale_if_error: float = 0
    strict: bool = False

    @property
    def grace(self) -> float:
        """Seconds it may be of use after its `ttl`."""
        return 0 if self.strict else max(self.stale_while_revalidate, self.stale_if_error)


def judge(field: str, value: str, directives: Mapping[str, str], default: Lifetime) -> Lifetime:
    """What the directives read from one header field come to; `default` is the route's."""
    for directive in _FORBIDDING:
        if directive in directives:
            return Lifetime(0, f"{field}: {directive}")
    ttl = _ttl(directives, default.ttl)
    return Lifetime(
        ttl,
        None if ttl else f"{field}: {value[:80]}",
        _seconds(directives.get("stale-while-revalidate"), default.stale_while_revalidate),
        _seconds(directives.get("stale-if-error"), default.stale_if_error),
        any(name in directives for name in _STRICT),
    )


def _ttl(directives: Mapping[str, str], default: float) -> float:
    return _seconds(directives.get("s-maxage", directives.get("max-age")), default)


def _seconds(value: str | None, default: float) -> float:
    """RFC 9111 section 1.2.2; section 4.2.1: an invalid age is best taken as stale."""
    if value is None:
        return default
    return float(min(int(value), MAX_TTL)) if value.isascii() and value.isdigit() and len(value) < 20 else 0.0


class Use(StrEnum):
    """What may be done with a stored answer.

    FRESH: serve it. STALE: the request takes it although it is stale. REVALIDATE: serve it, and ask for it anew.
    IF_ERROR: only when asking fails. NONE.
    """

    FRESH = "fresh"
    STALE = "stale"
    REVALIDATE = "revalidate"
    IF_ERROR = "if error"
    NONE = "none"


def fresh_for(entry: Entry, softened: float | None, now: float) -> float:
    """Seconds that it will still be fresh; below 0 those since it is stale. `softened` is since when a soft purge makes
    it so, None where none does.
    """
    left = entry.expires_at - now
    return left if softened is None else min(left, softened - now, 0.0)


def use(entry: Entry, demands: Demands, softened: float | None, now: float) -> Use:
    """RFC 9111 sections 4.2.4 and 5.2.1, RFC 5861 sections 3 and 4."""
    left = fresh_for(entry, softened, now)
    age = max(0.0, now - entry.stored_at)
    if demands.no_cache:
        return Use.NONE
    young = demands.max_age is None or age <= demands.max_age
    if left > 0 and left >= demands.min_fresh and young:
        return Use.FRESH
    if entry.must_revalidate or left <= -(MAX_TTL * 2):
        return Use.NONE
    if young and demands.max_stale is not None and 0 >= left >= -demands.max_stale:
        return Use.STALE
    asked = demands.max_age is not None or demands.min_fresh > 0
    if not asked and left > -entry.stale_while_revalidate:
        return Use.REVALIDATE
    return Use.IF_ERROR if entry.stale_if_error > 0 and left > -entry.stale_if_error else Use.NONE
