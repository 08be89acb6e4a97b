"""What an attempt's end says: may another target be asked, and what does it tell of this one? One table."""

from collections.abc import Iterable
from typing import Final

import msgspec

from edgecache.wire.http_dates import parse_date
from edgecache.wire.overload import Sign

GATEWAY: Final = frozenset({502, 503, 504, 529})
"""Answers that say "not here, not now". 529 is Anthropic's "overloaded"."""
LIMITED: Final = 429
KEY_REFUSED: Final = frozenset({401, 403})


class Verdict(msgspec.Struct, frozen=True):
    """`again`: the request was turned away, another target may be asked. `ok` is for the breaker. `cools`: this one is
    asked last for a while, of `seconds` where it said so.
    """

    again: bool
    ok: bool
    cools: bool = False
    seconds: float | None = None


def of_status(status: int, wait: float | None, *, own_key: bool, ours: bool) -> Verdict:
    """`wait` is what Retry-After said. `own_key`: it was asked with its own key, not with a caller's. `ours`: the
    request was read here, so that an error of the server is hardly the caller's doing.
    """
    if status in GATEWAY:
        return Verdict(again=True, ok=False, cools=wait is not None, seconds=wait)
    if status == LIMITED:  # a caller's own limit is nothing to the others
        return Verdict(again=True, ok=True, cools=own_key, seconds=wait)
    if status in KEY_REFUSED and own_key:  # 403 may be about one model only
        return Verdict(again=True, ok=True, cools=status == 401)
    return Verdict(again=False, ok=status < 500 or not ours)


def of_opening(sign: Sign, *, own_key: bool) -> Verdict:
    """Of a stream that was begun with 200, by what its opening came to."""
    if sign is Sign.OVERLOADED:
        return Verdict(again=True, ok=False)
    if sign is Sign.LIMITED:
        return Verdict(again=True, ok=True, cools=own_key)
    return Verdict(again=False, ok=True)


def of_failure(*, reached: bool) -> Verdict:
    """No answer. What may have been processed is not sent again."""
    return Verdict(again=not reached, ok=False)


def retry_after(headers: Iterable[tuple[str, str]], now: float) -> float | None:
    """Seconds (RFC 9110 section 10.2.3), `now` being Unix time; None where it says nothing that can be read."""
    value = next((value.strip() for name, value in headers if name.lower() == "retry-after"), "")
    if value.isascii() and value.isdigit() and len(value) < 10:
        return float(value)
    at = parse_date(value, now)
    return None if at is None else max(0.0, at - now)
