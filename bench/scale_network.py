"""Ten regions, the round-trip times between them, and connections that delay and lose, in virtual time.

The medians were measured by cloudping.co: TCP between AWS regions, 50th percentile over one year, as kept on GitHub in
oaustegard/oaustegard.github.io, web-utilities/aws-ping-p50-1y.json, commit 4a1414dbf7163c4299fa201d140d3d9e00133544;
here the mean of both directions in whole milliseconds. What is added to them (`between`, `within`) is assumed.
"""

import heapq
import random
from collections.abc import Callable
from typing import Any, NamedTuple

_MEDIANS = """
Virginia
Oregon 64
São-Paulo 115 175
Ireland 70 118 178
Frankfurt 93 142 204 27
Mumbai 191 222 301 126 129
Singapore 219 161 327 182 161 64
Tokyo 149 98 258 201 227 134 71
Sydney 200 141 312 256 252 154 95 107
Cape-Town 227 274 338 159 155 272 317 357 409
"""
_ROWS = [line.split() for line in _MEDIANS.split("\n") if line]
REGIONS = tuple(row[0] for row in _ROWS)
RETRANSMIT = 0.2
"""Seconds beyond a round trip after which a lost packet is sent again, twice as long each time: Linux's smallest
timeout. Its tail loss probe, which is quicker, is left out."""
STALL_SCALE, STALL_SHAPE, STALL_MOST = 0.002, 1.5, 1.0
"""A process that is not scheduled at once: Pareto, from 2 ms, one second at most."""


def rtt(one: str, other: str) -> float:
    """Median seconds there and back; 0 within a region."""
    low, high = sorted((REGIONS.index(one), REGIONS.index(other)))
    return 0.0 if low == high else int(_ROWS[high][1 + low]) / 1000


class Path(NamedTuple):
    """Seconds of a round trip; mean seconds of exponential jitter one way; how often a message stalls or is lost."""

    rtt: float
    jitter: float
    stalls: float
    loss: float


def between(one: str, other: str) -> Path:
    """Between regions: jitter of 1 % of the round trip, one message in a thousand lost."""
    seconds = rtt(one, other)
    return Path(seconds, seconds / 100, 0.001, 0.001)


def within(seconds: float) -> Path:
    """Between a site and its Redis: one message in a hundred stalls, one in ten thousand is lost."""
    return Path(seconds, 0.0001, 0.01, 0.0001)


class Agenda:
    """What happens, in order of virtual time (seconds)."""

    def __init__(self) -> None:
        self.now = 0.0
        self._coming: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._entered = 0

    def at(self, when: float, act: Callable[..., None], *args: Any) -> None:
        self._entered += 1
        heapq.heappush(self._coming, (when, self._entered, act, args))

    def run(self, until: float) -> None:
        while self._coming and self._coming[0][0] <= until:
            self.now, _, act, args = heapq.heappop(self._coming)
            act(*args)
        self.now = until

    def __repr__(self) -> str:
        return f"<Agenda {self.now:.3f} s, {len(self._coming)} to come, {self._entered} entered>"


class Link:
    """One direction of a TCP connection: in order, so that what is late holds up what follows. A cut stops what is sent
    from then on; what is under way arrives, unless a new connection was made before.
    """

    __slots__ = ("_agenda", "_connection", "_last", "_path", "_random", "up")

    def __init__(self, agenda: Agenda, dice: random.Random, path: Path) -> None:
        self._agenda, self._random, self._path = agenda, dice, path
        self._connection, self._last = 0, 0.0
        self.up = True

    def send(self, departs: float, act: Callable[..., None], *args: Any) -> None:
        if self.up:
            self._last = max(self._last, departs + self._delay())
            self._agenda.at(self._last, self._deliver, self._connection, act, args)

    def cut(self) -> None:
        self.up = False

    def reconnect(self) -> None:
        self.up, self._last = True, 0.0
        self._connection += 1

    def _deliver(self, connection: int, act: Callable[..., None], args: tuple[Any, ...]) -> None:
        if connection == self._connection:
            act(*args)

    def _delay(self) -> float:
        path, dice = self._path, self._random
        delay = path.rtt / 2
        if path.jitter:
            delay += dice.expovariate(1 / path.jitter)
        if dice.random() < path.stalls:
            delay += min(STALL_MOST, STALL_SCALE * dice.paretovariate(STALL_SHAPE))
        timeout = path.rtt + RETRANSMIT
        while dice.random() < path.loss:
            delay, timeout = delay + timeout, 2 * timeout
        return delay
