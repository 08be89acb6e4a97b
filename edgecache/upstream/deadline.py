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


class Deadline:
    """Runs from its making. The head is waited for under `head()`, each chunk under `chunk()`.

    `streams`: the request's body is a stream, sent at the pace of the caller.
    `reached` tells whether the provider may have seen something of the request: false until there is a connection.
    """

    def __init__(self, target: Target, *, streams: bool) -> None:
        self.reached = False
        self._target = target
        self._streams = streams
        self._clock = asyncio.get_running_loop().time
        self._total_at = self._clock() + target.timers.total
        self._timer = Timer.CONNECT
        self._guard: asyncio.Timeout | None = None

    def __repr__(self) -> str:
        return f"<Deadline of {self._target.name}: {self._timer}, {'reached' if self.reached else 'not reached'}>"

    def head(self) -> asyncio.Timeout:
        """To be entered once; `connected` and `uploaded` move its limit."""
        self._guard = asyncio.timeout_at(self._nearest(Timer.CONNECT))
        return self._guard

    def connected(self) -> None:
        """There is a connection, and the request goes out on it."""
        self.reached = True
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

    def error(self) -> UpstreamTimeout:
        """What to tell the caller when a limit passed."""
        limit = getattr(self._target.timers, self._timer)
        return UpstreamTimeout(
            f"upstream {self._target.name}: {MISSED[self._timer]} within {limit:g} s ({self._timer})"
        )

    def _move(self, timer: Timer) -> None:
        if self._guard is not None and not self._guard.expired():
            self._guard.reschedule(self._nearest(timer))

    def _nearest(self, timer: Timer) -> float:
        at = self._clock() + float(getattr(self._target.timers, timer))
        self._timer = timer if at < self._total_at else Timer.TOTAL
        return min(at, self._total_at)
