"""Two ways to one answer: the first good one is taken, the other is cancelled and closed."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from edgecache.upstream.member import Outcome, better

Lane = Callable[[], Coroutine[Any, Any, Outcome | None]]
"""Brings an outcome, or None where nobody could be asked."""


async def race(first: Lane, second: Lane, seconds: float, wanted: Callable[[], bool]) -> Outcome | None:
    """`second` begins after `seconds`, if `first` has not ended and `second` is still `wanted`. Nothing is left running
    and no reply but the one returned is left open, whoever leaves when.
    """
    lanes = [asyncio.ensure_future(first())]
    winner: Outcome | None = None
    try:
        done, _ = await asyncio.wait(lanes, timeout=seconds)
        if not done and wanted():
            lanes.append(asyncio.ensure_future(second()))
        winner = await _best(lanes)
        return winner
    finally:
        await _end(lanes, winner)


async def _best(lanes: "Sequence[asyncio.Task[Outcome | None]]") -> Outcome | None:
    kept: Outcome | None = None
    pending = set(lanes)
    while pending:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for lane in lanes:
            if lane in done and not (kept is not None and kept.good):
                kept = better(kept, lane.result())
        if kept is not None and kept.good:
            return kept
    return kept


async def _end(lanes: "Sequence[asyncio.Task[Outcome | None]]", winner: Outcome | None) -> None:
    """What has ended is dropped at once; what has not is cancelled, and dropped should it end well all the same."""

    def drop(lane: "asyncio.Task[Outcome | None]") -> None:
        if lane.cancelled() or lane.exception() is not None:
            return
        outcome = lane.result()
        if outcome is not None and outcome is not winner:
            outcome.drop()

    for lane in lanes:
        if lane.done():
            drop(lane)
        else:
            lane.cancel()
            lane.add_done_callback(drop)
    try:
        await asyncio.wait(lanes)
    except asyncio.CancelledError:
        if winner is not None:
            winner.drop()
        raise
