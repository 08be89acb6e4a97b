"""Long walks in short steps."""

import asyncio
import time
from collections.abc import Callable

STEP = 0.0005
"""Seconds."""


class Turns:
    """Lets the event loop have its turn when this one's work has taken half a millisecond. `timer` in seconds."""

    def __init__(self, timer: Callable[[], float] = time.perf_counter) -> None:
        self._timer = timer
        self._began = timer()

    async def step(self) -> None:
        if self._timer() - self._began >= STEP:
            await asyncio.sleep(0)
            self._began = self._timer()

    def __repr__(self) -> str:
        return f"<Turns of {STEP:g} s>"
