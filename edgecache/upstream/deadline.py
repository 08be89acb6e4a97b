"""The four timers of one attempt."""

import asyncio
from enum import StrEnum
from typing import Final

from edgecache.errors import UpstreamTimeout
from edgecache.upstream.target import Target


class Timer(StrEnum):
    """Which limit is nearest; named as in the settings."""

    CONNECT = "connect"
    FIRST_BYTE = "first_byte"
    BETWEEN_CHUNKS = "between_chunks"
    TOTAL = "total"


MISSED: Final = {
    Timer.CONNECT: "no connection",
    Timer.FIRST_BYTE: "no answer",
    Timer.BETWEEN_CHUNKS: "no next part of the answer",
    Timer.TOTAL: "the answer did not end",
}
NEXT: Final = "Ask again; where answers take longer, raise {} of this upstream."


def missed(target: Target, timer: Timer) -> UpstreamTimeout:
    """What to tell the caller when a limit passed."""
    limit = getattr(target.timers, timer)
    return UpstreamTimeout(
        f"upstream {target.name}: {MISSED[timer]} within {limit:g} s ({timer}). {NEXT.format(timer.value)}"
    )


class Deadline:
    """The head is waited for under `head()`, each chunk under `chunk()`.

    `began` is when the request came, by the loop's clock: from then on `total` runs. `streams`: the request's body is
    a stream, sent at the pace of the caller. `reached` tells whether the provider may have seen something of the
    request: false until there is a connection; `reused` whether that one was kept from a request before.
    """

    def __init__(self, target: Target, began: float, *, streams: bool) -> None:
        self.reached = self.reused = False
        self._target = target
        self._streams = streams
        self._clock = asyncio.get_running_loop().time
        self._total_at = began + target.timers.total
        self._timer = Timer.CONNECT
        self._guard: asyncio.Timeout | None = None

    def __repr__(self) -> str:
        return f"<Deadline of {self._target.name}: {self._timer}, {'reached' if self.reached else 'not reached'}>"

    def head(self) -> asyncio.Timeout:
        """To be entered once; `connected` and `uploaded` move its limit."""
        self._guard = asyncio.timeout_at(self._nearest(Timer.CONNECT))
        return self._guard

    def connected(self, *, reused: bool) -> None:
        """There is a connection, and the request goes out on it."""
        self.reached, self.reused = True, reused
        self._move(Timer.TOTAL if self._streams else Timer.FIRST_BYTE)

    def uploaded(self) -> None:
        """A streamed request body has ended."""
        self._move(Timer.FIRST_BYTE)

    def settle(self) -> None:
        """The head is there or has failed: what the upload still does moves no limit any more."""
        self._guard = None

    def chunk(self) -> asyncio.Timeout:
        """A limit for the next part of the body; data that is already there is given even when it has passed."""
        return asyncio.timeout_at(self._nearest(Timer.BETWEEN_CHUNKS))

    @property
    def ends_at(self) -> float:
        """By the loop's clock, the whole time of the request."""
        return self._total_at

    def error(self) -> UpstreamTimeout:
        """Of the limit that passed."""
        return missed(self._target, self._timer)

    def _move(self, timer: Timer) -> None:
        if self._guard is not None and not self._guard.expired():
            self._guard.reschedule(self._nearest(timer))

    def _nearest(self, timer: Timer) -> float:
        at = self._clock() + float(getattr(self._target.timers, timer))
        self._timer = timer if at < self._total_at else Timer.TOTAL
        return min(at, self._total_at)
