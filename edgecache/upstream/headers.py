"""Which header fields travel, and which end here (RFC 9110 section 7.6.1)."""

import re
from collections.abc import Iterable
from typing import Final

from edgecache.errors import BadRequest
from edgecache.upstream.target import KeyStyle, Target

Headers = tuple[tuple[str, str], ...]

HOP_BY_HOP: Final = frozenset({"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"})
CREDENTIALS: Final = frozenset({"authorization", "x-api-key", "api-key"})

REPLACED: Final = frozenset({"host", "content-length", "expect"})
"""Of a request: the host is the target's, the length is written anew, and a 100-continue was settled by our server."""

JUDGED: Final = frozenset({
    "age", "cache-control", "cache-groups", "cache-tag", "cdn-cache-control", "content-encoding", "content-type",
    "date", "edge-cache-tag", "etag", "expires", "last-modified", "pragma", "set-cookie", "surrogate-control",
    "surrogate-key", "vary", "xkey",
})  # fmt: skip
"""Of a response: without these it would be kept or shown wrongly, so `Connection` does not take them away."""
CODINGS: Final = frozenset({"", "chunked", "identity"})
"""Transfer codings that are undone here; no other one is asked for (RFC 9112 section 7.4)."""

CONTROLS: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
UNSENDABLE: Final = re.compile(r"[\x00\r\n\ud800-\udfff]")


def outgoing(headers: Headers, target: Target, *, configured_key: bool) -> list[tuple[str, str]]:
    """A caller's header fields as `target` gets them, less the length of the body.

    With `configured_key` the target's own key takes the place of the caller's, where it has one. Who may be shown the
    caller's was decided before (`trust.py`).

    Raises:
        BadRequest: a field cannot be sent.
    """
    kept = _end_to_end(headers)
    if configured_key and target.api_key is not None:
        kept = [field for field in kept if field[0].lower() not in CREDENTIALS]
        kept.append(_credential(target.style, target.api_key))
    return _sendable(field for field in kept if field[0].lower() not in REPLACED)


def incoming(raw: Iterable[tuple[bytes, bytes]]) -> Headers:
    """A provider's header fields as the caller may see them: in order, names as they came. Values that hold what no
    value may (RFC 9110 section 5.5) are left out: no server would send them on.
    """
    fields = [(_text(name), _text(value)) for name, value in raw]
    return tuple(_end_to_end([field for field in fields if not CONTROLS.search(field[1])], kept=JUDGED))


def unknown_coding(values: Iterable[str]) -> str | None:
    """A transfer coding of these `Transfer-Encoding` fields that is not undone here."""
    codings = (coding.strip().lower() for value in values for coding in value.split(","))
    return next((coding for coding in codings if coding not in CODINGS), None)


def declared_length(headers: Headers) -> str | None:
    """The caller's Content-Length, where there is exactly one and it is a number."""
    lengths = [value for name, value in headers if name.lower() == "content-length"]
    return lengths[0] if len(lengths) == 1 and lengths[0].isascii() and lengths[0].isdigit() else None


def _end_to_end(headers: Iterable[tuple[str, str]], *, kept: frozenset[str] = frozenset()) -> list[tuple[str, str]]:
    fields = [(name.lower(), name, value) for name, value in headers]
    named = {token.strip().lower() for low, _, value in fields if low == "connection" for token in value.split(",")}
    dropped = HOP_BY_HOP | (named - kept)
    return [(name, value) for low, name, value in fields if low not in dropped and not low.startswith("proxy-")]


def _credential(style: KeyStyle, key: str) -> tuple[str, str]:
    return ("Authorization", f"Bearer {key}") if style == "bearer" else (style, key)


def _sendable(fields: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """A repeated name is written as it was first: aiohttp takes another case for a replacement, and a value is lost."""
    spelling: dict[str, str] = {}
    sendable = []
    for name, value in fields:
        if UNSENDABLE.search(name + value):
            raise BadRequest(f"header {name!a} cannot be sent: it is not UTF-8, or holds a line break")
        sendable.append((spelling.setdefault(name.lower(), name), value))
    return sendable


def _text(raw: bytes) -> str:
    """UTF-8 as everywhere in this package; what is not UTF-8 reads as Latin-1, so that it can be sent on."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")
