"""RFC 9111, sections 3 and 4: may a response be stored, for how long is it fresh, whom does it answer."""

import math
from collections.abc import Collection, Mapping

import msgspec

from edgecache.core.documents import Names, Nominated
from edgecache.core.freshness import MAX_TTL, Lifetime

HEURISTIC = frozenset({200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501})
"""Statuses that may be cached without a word about it (RFC 9110 section 15.1); 206 is never stored here."""
UNDERSTOOD = frozenset({
    *HEURISTIC, 201, 202, 205, 302, 303, 305, 307, *range(400, 418), 421, 422, 426, 428, 429, 431, 451,
    500, 502, 503, 505, 504, 511,
})  # fmt: skip
"""Statuses whose meaning for caching is known here (section 5.2.2.3)."""
KEPT_STALE = 3_600.0
"""Seconds for which a stale response is kept at least, to be validated."""
MAX_NAMES = 16
"""Most fields that responses of one URL may vary by."""
LONGEST_VALUE = 1_024
"""Characters of a request's field that a response which varies by it is stored for."""
_LIST_FIELDS = frozenset({"accept-encoding", "accept-language", "accept-charset"})
"""Fields whose members are compared without regard to case."""


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What the header fields of a response say. `directives` are those in force, of the header `field`; dates are Unix
    time, None where there is none; `expires` is minus infinity, and `age` infinite, where they cannot be read. `vary`
    holds `*` where nothing tells requests apart.
    """

    status: int
    field: str
    directives: Mapping[str, str]
    age: float
    date: float | None
    expires: float | None
    last_modified: float | None
    validated: bool
    vary: Names
    sets_cookie: bool


def why_not_stored(said: Said, *, authorized: bool) -> str | None:
    """Section 3; None where a shared cache may store it. `authorized`: the request had `Authorization`."""
    has = said.directives.__contains__
    understood = has("must-understand") and said.status in UNDERSTOOD
    if not 200 <= said.status < 600 or said.status in (206, 304) or (has("must-understand") and not understood):
        return f"status {said.status}"
    forbidding = ("private",) if understood else ("no-store", "private")
    if forbidden := next(filter(has, forbidding), None):
        return f"{said.field}: {forbidden}"
    if "*" in said.vary or len(said.vary) > MAX_NAMES:
        return f"vary: {', '.join(said.vary)[:80]}"
    if authorized and not any(map(has, ("public", "must-revalidate", "s-maxage"))):
        return "authorization"
    if said.sets_cookie and not has("public"):
        return "set-cookie"
    explicit = said.expires is not None or any(map(has, ("public", "max-age", "s-maxage")))
    return None if explicit or said.status in HEURISTIC else f"status {said.status}"


def lifetime(said: Said, answered_at: float, default: Lifetime) -> Lifetime:
    """Section 4.2.1, RFC 5861, and who is never served stale (section 4.2.4). The `default` is the route's: its `ttl`
    is the most that a guess may come to.
    """
    directives = said.directives
    ttl = freshness(said, answered_at, default.ttl)
    return Lifetime(
        0.0 if "no-cache" in directives else ttl,
        None,
        seconds(directives.get("stale-while-revalidate"), default.stale_while_revalidate),
        seconds(directives.get("stale-if-error"), default.stale_if_error),
        any(name in directives for name in ("must-revalidate", "proxy-revalidate", "s-maxage", "no-cache")),
    )


def freshness(said: Said, answered_at: float, most_guessed: float) -> float:
    """The freshness lifetime in seconds (section 4.2.1), a guess only where nothing is said (section 4.2.2)."""
    for name in ("s-maxage", "max-age"):
        if name in said.directives:
            return seconds(said.directives[name], 0.0)
    date = answered_at if said.date is None else said.date
    if said.expires is not None:
        return min(max(0.0, said.expires - date), MAX_TTL)
    if said.last_modified is None or not (said.status in HEURISTIC or "public" in said.directives):
        return 0.0
    return min(max(0.0, date - said.last_modified) / 10, most_guessed)


def initial_age(said: Said, asked_at: float, answered_at: float) -> float:
    """The corrected initial age in seconds (section 4.2.3). Dates are whole seconds, so the apparent age is too."""
    apparent = 0.0 if said.date is None else max(0.0, math.floor(answered_at - said.date))
    return min(max(apparent, said.age + max(0.0, answered_at - asked_at)), 2 * MAX_TTL)


def grace(life: Lifetime, age: float, *, validated: bool) -> float:
    """For how many seconds beyond its lifetime a response that came with this age is worth keeping. `validated`: it can
    be asked of the origin whether it still holds.
    """
    stale = max(life.grace, 0.0 if life.strict and not validated else KEPT_STALE)
    return stale + max(0.0, age - life.ttl)


def seconds(value: str | None, default: float) -> float:
    """Section 1.2.2: too large a number is a very large one; section 4.2.1: what is no number is stale."""
    if value is None:
        return default
    if not (value.isascii() and value.isdigit()):
        return 0.0
    return float(MAX_TTL) if len(value) > 12 else float(min(int(value), MAX_TTL))


# --- what an origin is told -----------------------------------------------------------------------------------------

_UNTOLD = frozenset({
    "base-url", "client-ip", "forwarded", "http-client-ip", "proxy", "surrogate-capability", "true-client-ip",
    "x-arr-ssl", "x-backend-host", "x-client-ip", "x-cluster-client-ip", "x-envoy-external-address", "x-host",
    "x-http-destinationurl", "x-http-host-override", "x-http-method", "x-http-method-override", "x-method-override",
    "x-override-url", "x-proxy-url", "x-proxyuser-ip", "x-real-ip", "x-remote-addr", "x-remote-ip", "x-server-name",
    "x-url", "x-url-scheme", "x-wap-profile",
})  # fmt: skip
_UNTOLD_FAMILIES = (
    "cf-", "cloudfront-", "fastly-", "x-amzn-", "x-appengine-", "x-azure-", "x-forward-", "x-forwarded",
    "x-middleware-", "x-original-", "x-originating-", "x-rewrite-",
)  # fmt: skip


def is_untold(name: str, told: Collection[str]) -> bool:
    """Whether the origin of a shared response is not told of this field of a request (lower case): origins believe in
    it what a proxy in front of them says of the request, do not say that they vary by it, and anybody can send it.
    `told` are those that are part of the key.
    """
    return (name in _UNTOLD or name.startswith(_UNTOLD_FAMILIES)) and name not in told


# --- Vary ---------------------------------------------------------------------------------------------------------


def nominate(names: Names, request: Mapping[str, str]) -> Nominated:
    """The fields of a request that a response varies by (section 4.1). `request` by lower-case name."""
    return tuple((name, _normal(name, request[name]) if name in request else None) for name in names)


def is_too_long(names: Names, request: Mapping[str, str]) -> bool:
    """Whether one of these fields is longer than anything that is told apart for good reason."""
    return any(len(request.get(name, "")) > LONGEST_VALUE for name in names)


def _normal(name: str, value: str) -> bytes:
    """White space around commas, and case where it means nothing, tell no two requests apart."""
    if '"' not in value and len(value) <= LONGEST_VALUE:
        value = ",".join(member.strip() for member in value.split(","))
    value = value.lower() if name in _LIST_FIELDS else value
    return value.encode(errors="surrogatepass")  # HTTP libraries hand over as lone surrogates what is not UTF-8


def united(*names: Names) -> Names:
    return tuple(sorted({name for some in names for name in some}))


# --- 304 ----------------------------------------------------------------------------------------------------------

_NOT_UPDATED = frozenset({"content-encoding", "content-length", "content-md5", "content-range", "etag"})

Headers = tuple[tuple[str, str], ...]


def freshened(stored: Headers, new: Headers) -> Headers:
    """The stored header fields as a 304 updates them (section 3.2). What describes the stored bytes stays."""
    came = {name.lower() for name, _ in new} - _NOT_UPDATED
    kept = tuple(pair for pair in stored if pair[0].lower() not in came)
    return (*kept, *(pair for pair in new if pair[0].lower() in came))


def confirms(etag: str | None, new: str | None) -> bool:
    """Whether a 304 is about the stored response (section 4.3.4): another strong validator is another response."""
    return new is None or etag is None or etag.removeprefix("W/") == new.removeprefix("W/")
