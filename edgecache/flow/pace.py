"""A stored stream replayed at the speed of a model."""

import asyncio
from collections.abc import AsyncIterator

from edgecache.wire import sse


async def paced(body: bytes, tokens: int, per_second: float) -> AsyncIterator[bytes]:
    """Event by event, so that `tokens` come at this rate: spread evenly, as nobody knows which event brought how many.
    Where they are not known every event counts as one.
    """
    events = sse.events(body)
    pause = (tokens or len(events)) / per_second / max(1, len(events) - 1)
    for number, event in enumerate(events):
        if number:
            await asyncio.sleep(pause)
        yield event
