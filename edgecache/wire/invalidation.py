"""Which stored responses a request may have changed (RFC 9111 section 4.4)."""

from collections.abc import Collection, Mapping
from urllib.parse import urljoin, urlsplit

SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PROPFIND", "REPORT", "SEARCH", "QUERY"})
"""Methods that change nothing (RFC 9110 section 9.2.1); one that is not known here may change anything."""

_HERE = "."
"""No host is called so: what is left of it names no other."""


def changed_paths(
    method: str, path: str, hosts: Collection[str], status: int, response: Mapping[str, str]
) -> tuple[str, ...]:
    """Paths whose responses are not to be reused: the request's own, and of the same origin what its response names.
    None after a safe method or a failure. `hosts`, in lower case, are what the origin is called; `response` holds
    header fields by lower-case name.
    """
    if method in SAFE or not 200 <= status < 400:
        return ()
    named = (response[name] for name in ("location", "content-location") if name in response)
    return tuple(dict.fromkeys((path, *(found for value in named if (found := _same_origin(value, path, hosts))))))


def _same_origin(reference: str, path: str, hosts: Collection[str]) -> str | None:
    try:
        parts = urlsplit(urljoin(f"//{_HERE}{path}", reference))
    except ValueError:
        return None
    return parts.path or "/" if parts.netloc.lower() in (_HERE, *filter(None, hosts)) else None
