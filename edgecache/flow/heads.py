"""The head of an answer: who made it, and for how long it may be kept."""

from collections.abc import Mapping

import msgspec

from edgecache.core.entry import Framing, Source
from edgecache.core.freshness import Lifetime
from edgecache.core.policy import Route
from edgecache.core.ports import UpstreamReply
from edgecache.core.tags import MAX_HEADER_BYTES
from edgecache.wire.freshness import lifetime
from edgecache.wire.surrogate import TAG_HEADERS, response_keys

AT_ONCE = 64 << 10
"""Bytes of an answer that are read, or told in other words, on the event loop."""
_VARIES_HARMLESSLY = frozenset(
    {
        "",
        "accept-encoding",
        "origin",
        "x-origin",
        "referer",
        "access-control-request-method",
        "access-control-request-headers",
    }
)
"""What an answer may vary by: nothing comes compressed, what is said to an origin is not kept, and no model is
told which page asks (Google says so of every answer)."""
_SEPARATED_BY_SPACE = ("surrogate-key", "xkey")


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The head of an answer. `framing` is None for what is neither JSON nor a stream of events, `model` who made it."""

    status: int
    headers: tuple[tuple[str, str], ...]
    framing: Framing | None
    source: Source
    model: str
    keys: tuple[str, ...] = ()
    lifetime: Lifetime

    @property
    def plain(self) -> bool:
        """Whether this is an answer to the question, rather than an error or something unknown."""
        return self.status == 200 and self.framing is not None

    @property
    def personal(self) -> str | None:
        """Why only the one who asked may have this, None where others who wait may too. A refusal may be of its own
        headers or credential; a limit or a failure is everybody's.
        """
        refused = self.status == 304 or (400 <= self.status < 500 and self.status != 429)
        return f"status {self.status}" if refused else self.lifetime.forbidden


def upstream_head(reply: UpstreamReply, route: Route, model: str) -> Head:
    named = joined(reply.headers)
    return Head(
        status=reply.status,
        headers=reply.headers,
        framing=_framing(named),
        source=Source.UPSTREAM,
        model=model,
        keys=response_keys(named),
        lifetime=_lifetime(named, route),
    )


def _lifetime(named: Mapping[str, str], route: Route) -> Lifetime:
    """What varies by a header that is no part of the question is nobody else's answer (RFC 9111 section 4.1)."""
    if any(len(named.get(name, "")) > MAX_HEADER_BYTES for name in TAG_HEADERS):
        return Lifetime(0, "too many surrogate keys")  # what is cut off could not be purged
    for name in named.get("vary", "").split(","):
        if name.strip().lower() not in _VARIES_HARMLESSLY:
            return Lifetime(0, f"vary: {name.strip()[:80]}")
    return lifetime(named, default=of_route(route), provider_cache_control=route.provider_cache_control)


def of_route(route: Route) -> Lifetime:
    """For answers that say nothing of their own."""
    return Lifetime(float(route.ttl), None, float(route.stale_while_revalidate), float(route.stale_if_error))


def joined(headers: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """By lower-case name; the values of a repeated field together (RFC 9110 section 5.3)."""
    found: dict[str, str] = {}
    for name, value in headers:
        low = name.lower()
        between = " " if low in _SEPARATED_BY_SPACE else ", "
        found[low] = found[low] + between + value if low in found else value
    return found


def _framing(headers: dict[str, str]) -> Framing | None:
    if headers.get("content-encoding", "identity") != "identity":
        return None
    media = headers.get("content-type", "").split(";")[0].strip().lower()
    return {"text/event-stream": Framing.SSE, "application/json": Framing.JSON}.get(media)
