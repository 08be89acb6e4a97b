"""What an origin is asked, what its answer comes to, and the entry that is made of it (RFC 9111 sections 3 and 4.3)."""

import math
from collections.abc import Callable

import msgspec

from edgecache.core.documents import Document, Names
from edgecache.core.entry import MAX_TAGS, Entry, Horizon
from edgecache.core.freshness import Lifetime
from edgecache.core.ports import Call, UpstreamReply
from edgecache.core.reuse import (
    MAX_NAMES,
    Said,
    confirms,
    freshened,
    grace,
    initial_age,
    is_too_long,
    is_untold,
    lifetime,
    united,
    why_not_stored,
)
from edgecache.core.tags import MAX_HEADER_BYTES, Kind, Tag, keys
from edgecache.errors import UpstreamBroken
from edgecache.flow.heads import joined, of_route
from edgecache.flow.shelf import Place, Wanted, new_entry
from edgecache.wire.http_dates import format_date
from edgecache.wire.http_response import read_response
from edgecache.wire.surrogate import TAG_HEADERS, response_keys

Headers = tuple[tuple[str, str], ...]

FAILURES = frozenset({500, 502, 503, 504})
"""RFC 5861 section 4."""
OURS: Headers = (("Via", "1.1 edgecache"), ("Surrogate-Capability", 'edgecache="Surrogate/1.0"'))
"""RFC 9110 section 7.6.3; Edge Architecture (W3C note) section 2.2."""

_NOT_KEPT = frozenset({*TAG_HEADERS, "content-length", "age", "x-cache", "cache-status", "edge-source", "set-cookie"})
"""Header fields that belong to one message, to its receiver, or to caches before this one; tags are kept as tags."""
_OF_ONE_CALLER = frozenset(
    {"range", "if-range", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since"}
)


class Came(msgspec.Struct, frozen=True, kw_only=True):
    """The head of a response. `why_not` says why it is neither stored nor shared; `place` is where it belongs. `age` is
    its corrected initial age, `at` when it came. `body` is there where the origin confirmed what was stored.
    """

    status: int
    headers: Headers
    place: Place
    said: Said
    life: Lifetime
    age: float
    at: float
    why_not: str | None = None
    body: bytes | None = None
    tags: tuple[Tag, ...] = ()

    @property
    def shared(self) -> Headers:
        """The header fields for those who did not ask for it themselves."""
        return tuple(pair for pair in self.headers if pair[0].lower() != "set-cookie")

    def is_longer_than(self, most: int) -> bool:
        """By its own account."""
        return self.body is None and most < self.length < math.inf

    @property
    def length(self) -> float:
        """Bytes of the body, as far as is known."""
        if self.status == 204:
            return 0
        value = joined(self.headers).get("content-length", "")
        return int(value) if value.isascii() and value.isdigit() and len(value) < 20 else math.inf


async def checked(reply: UpstreamReply) -> UpstreamReply:
    """A final response. Raises UpstreamBroken for what is none (RFC 9110 section 15)."""
    if reply.status < 200:
        await reply.close()
        raise UpstreamBroken(f"{reply.upstream}: status {reply.status} is none that ends a request")
    return reply


def fetching(wanted: Wanted, entry: Entry | None) -> Call:
    """The call as anyone would make it: what comes is for others too. With an entry, whether that still holds (RFC 9111
    section 4.3.1).
    """
    told = wanted.route.told
    low = ((name.lower(), name, value) for name, value in wanted.call.headers)
    headers = [(name, value) for key, name, value in low if key not in _OF_ONE_CALLER and not is_untold(key, told)]
    stored = joined(entry.headers) if entry is not None else {}
    asked = {"If-None-Match": "etag", "If-Modified-Since": "last-modified"}
    conditions = [(name, stored[validator]) for name, validator in asked.items() if validator in stored]
    return msgspec.structs.replace(wanted.call, method="GET", headers=(*headers, *OURS, *conditions))


def read_head(
    wanted: Wanted, place: Place, reply: UpstreamReply, among: Callable[[Names], Place], asked_at: float, now: float
) -> Came:
    """`place` is where it was looked for, `among` gives the place among those that differ by more names."""
    named = joined(reply.headers)
    came = _judged(wanted, place, reply.status, _dated(reply.headers, now), named, asked_at, now)
    names = united(place.names, came.said.vary)
    if came.why_not is None and (len(names) > MAX_NAMES or is_too_long(names, wanted.headers)):
        came = msgspec.structs.replace(came, why_not=f"vary: {', '.join(names)[:80]}")
    settled = place if came.why_not is not None or names == place.names else among(names)
    own = (Tag(Kind.ID, settled.identity.key.hex()), *keys(response_keys(named)))
    return _tagged(msgspec.structs.replace(came, place=settled), (*wanted.tags, *own))


def read_confirmation(
    wanted: Wanted, place: Place, old: Entry, reply: UpstreamReply, asked_at: float, now: float
) -> Came | None:
    """What is stored as a 304 updates it (RFC 9111 section 4.3.4). None where it is about another response."""
    theirs = joined(reply.headers)
    if old.document is None or not confirms(joined(old.headers).get("etag"), theirs.get("etag")):
        return None
    headers = freshened(old.headers, _kept(_dated(reply.headers, now)))
    named = {name: value for name, value in joined(headers).items() if name != "age"}
    named |= {"age": theirs["age"]} if "age" in theirs else {}
    came = _judged(wanted, place, old.document.status, headers, named, asked_at, now)
    own = (Tag(Kind.ID, place.identity.key.hex()), *keys(response_keys(theirs)))
    others = () if len(own) > 1 else old.tags
    return _tagged(msgspec.structs.replace(came, body=old.body), (*wanted.tags, *own, *others))


def _tagged(came: Came, tags: tuple[Tag, ...]) -> Came:
    tags = tuple(dict.fromkeys(tags))
    why_not = came.why_not or ("too many tags" if len(tags) > MAX_TAGS else None)
    return msgspec.structs.replace(came, tags=tags, why_not=why_not)


def _judged(
    wanted: Wanted, place: Place, status: int, headers: Headers, named: dict[str, str], asked_at: float, now: float
) -> Came:
    said = read_response(status, named, now)
    life, age = lifetime(said, now, of_route(wanted.route)), initial_age(said, asked_at, now)
    why_not = why_not_stored(said, authorized=wanted.authorized)
    if any(len(named.get(name, "")) > MAX_HEADER_BYTES for name in TAG_HEADERS):
        why_not = why_not or "too many tags"  # what is cut off could not be purged
    if why_not is None and age >= life.ttl and not said.validated and not life.grace:
        why_not = "no lifetime"
    return Came(
        status=status, headers=headers, place=place, said=said, life=life, age=age, at=now, why_not=why_not
    )  # fmt: skip


def entry_of(wanted: Wanted, came: Came, body: bytes, horizon: Horizon) -> Entry:
    """`stored_at` is when it had no age: its current age is the time since (RFC 9111 section 4.2.3)."""
    life = came.life
    entry = new_entry(
        wanted,
        came.place,
        tags=came.tags,
        horizon=horizon,
        stored_at=came.at - came.age,
        ttl=life.ttl,
        document=Document(status=came.status),
    )
    return msgspec.structs.replace(
        entry,
        headers=_kept(came.headers),
        content_type=joined(came.headers).get("content-type", ""),
        body=body,
        stale_while_revalidate=life.stale_while_revalidate,
        stale_if_error=life.stale_if_error,
        grace=grace(life, came.age, validated=came.said.validated),
        must_revalidate=life.strict,
    )


def _kept(headers: Headers) -> Headers:
    return tuple(pair for pair in headers if pair[0].lower() not in _NOT_KEPT)


def _dated(headers: Headers, now: float) -> Headers:
    """A recipient with a clock adds the date that is missing (RFC 9110 section 6.6.1)."""
    return headers if any(name.lower() == "date" for name, _ in headers) else (*headers, ("Date", format_date(now)))
