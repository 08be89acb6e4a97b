"""The headers in which an answer explains itself: Cache-Status (RFC 9211), Age (RFC 9111 section 5.1), and ours."""

import re

from edgecache.core.entry import Source
from edgecache.core.trace import Trace

ID_HEADER = "X-Edgecache-Id"
SERVER = "edgecache"
_TOKEN = re.compile(r"[A-Za-z*][!#$%&'*+.^_`|~0-9A-Za-z:/-]{0,60}")
"""An sf-token (RFC 9651 section 3.3.4)."""


def explain(trace: Trace, node: str) -> dict[str, str]:
    """Header name -> value."""
    headers = {"X-Cache": _word(trace), "X-Served-By": node}
    if trace.id is not None:
        headers[ID_HEADER] = trace.id
    if trace.ignored:
        headers["X-Edgecache-Ignored"] = ", ".join(trace.ignored)
    if trace.hit or trace.served_stale:
        headers["Age"] = str(trace.age)
    if trace.source is Source.LOCAL:
        headers["Edge-Source"] = f"slm/{trace.model}"
    if trace.hit or trace.source is not Source.LOCAL:
        headers["Cache-Status"] = cache_status(trace)
    return headers


def _word(trace: Trace) -> str:
    return "HIT" if trace.hit else "STALE" if trace.served_stale else "BYPASS" if trace.fwd == "bypass" else "MISS"


def cache_status(trace: Trace) -> str:
    """One list member; parameters in the order in which RFC 9211 defines them."""
    parts = ["edgecache; hit", f"ttl={trace.ttl}"] if trace.hit else [f"edgecache; fwd={trace.fwd}"]
    if trace.fwd_status:
        parts.append(f"fwd-status={trace.fwd_status}")
    if trace.stored is not None:
        parts.append("stored" if trace.stored else "stored=?0")
    if trace.collapsed:
        parts.append("collapsed")
    if trace.detail:
        parts.append(f"detail={trace.detail if _TOKEN.fullmatch(trace.detail) else _quoted(trace.detail)}")
    return "; ".join(parts)


def _quoted(text: str) -> str:
    """An sf-string (RFC 9651 section 3.3.3): printable ASCII, quote and backslash escaped."""
    ascii_only = "".join(c if " " <= c <= "~" else "?" for c in text[:200])
    return '"' + ascii_only.replace("\\", "\\\\").replace('"', '\\"') + '"'
