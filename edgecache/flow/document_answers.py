"""A stored document as an answer to one request: all of it, a part, or that nothing has changed."""

from collections.abc import AsyncIterator

import msgspec

from edgecache.core.entry import Entry, Source
from edgecache.core.trace import Trace
from edgecache.flow.fills import Answer, nothing_to_close
from edgecache.flow.heads import joined
from edgecache.flow.shelf import Wanted
from edgecache.wire.conditional import is_unmodified, of_not_modified, wanted_range

Headers = tuple[tuple[str, str], ...]

AT_ONCE = 256 << 10
"""Bytes of a longer stored body are handed over piece by piece: a client that reads slowly holds no copy of all."""
PIECE = 64 << 10
"""Bytes of one piece."""


def of_entry(entry: Entry, wanted: Wanted, trace: Trace) -> Answer:
    """RFC 9111 section 4: the stored response, as its preconditions and its range ask for it."""
    assert entry.document is not None
    status, headers, part = entry.document.status, entry.headers, range(len(entry.body))
    if status == 200:
        status, headers, part = _selected(entry, wanted)
    if wanted.call.method == "HEAD" or len(part) <= AT_ONCE:
        body = entry.body[part.start : part.stop]
        return Answer(status=status, headers=headers, body=body, trace=trace, close=nothing_to_close)
    sized = (*headers, ("Content-Length", str(len(part))))
    pieces = _pieces(entry.body, part)
    return Answer(status=status, headers=sized, stream=pieces, trace=trace, close=nothing_to_close)


async def _pieces(body: bytes, part: range) -> AsyncIterator[bytes]:
    for at in range(part.start, part.stop, PIECE):
        yield body[at : min(at + PIECE, part.stop)]


def _selected(entry: Entry, wanted: Wanted) -> tuple[int, Headers, range]:
    """Status, header fields, and which bytes."""
    named = joined(entry.headers)
    if is_unmodified(wanted.headers, named, entry.stored_at):
        return 304, of_not_modified(entry.headers), range(0)
    size = len(entry.body)
    part = wanted_range(wanted.headers, named, size) if wanted.call.method == "GET" else None
    if part is None:
        return 200, entry.headers, range(size)
    if not part:
        return 416, (("Content-Range", f"bytes */{size}"),), part
    stretch = ("Content-Range", f"bytes {part.start}-{part.stop - 1}/{size}")
    return 206, (*entry.headers, stretch), part


def hit(entry: Entry, wanted: Wanted, *, fresh_for: float, now: float, detail: str = "") -> Answer:
    """`fresh_for` in seconds, below 0 for a stale one."""
    return of_entry(entry, wanted, _trace(entry, wanted, fresh_for, now, hit=True, detail=detail))


def validated(entry: Entry, wanted: Wanted, *, now: float, stored: bool | None, collapsed: bool) -> Answer:
    """Of an entry that the origin has just confirmed."""
    trace = Trace(
        route=wanted.route.name,
        id=entry.id,
        source=Source.UPSTREAM,
        fwd="stale",
        fwd_status=304,
        stored=stored,
        collapsed=collapsed,
        age=_age(entry, now),
    )
    answer = of_entry(entry, wanted, trace)
    return with_age(answer, trace.age)


def failed(entry: Entry, wanted: Wanted, *, fresh_for: float, now: float, status: int) -> Answer:
    """Of a stale entry, since the origin does not answer, or with this failure (RFC 5861 section 4)."""
    detail = "upstream failed"
    return of_entry(entry, wanted, _trace(entry, wanted, fresh_for, now, fwd="stale", status=status, detail=detail))


def with_age(answer: Answer, age: int) -> Answer:
    """RFC 9111 section 5.1, also where the answer is no hit."""
    return msgspec.structs.replace(answer, headers=(*answer.headers, ("Age", str(age))))


def _trace(
    entry: Entry,
    wanted: Wanted,
    fresh_for: float,
    now: float,
    *,
    hit: bool = False,
    fwd: str = "",
    status: int = 0,
    detail: str = "",
) -> Trace:
    return Trace(
        route=wanted.route.name,
        id=entry.id,
        source=entry.source,
        hit=hit,
        age=_age(entry, now),
        ttl=int(fresh_for),
        fwd=fwd,
        fwd_status=status,
        served_stale=not hit,
        detail=detail,
    )


def _age(entry: Entry, now: float) -> int:
    return max(0, int(now - entry.stored_at))
