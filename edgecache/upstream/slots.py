"""How many requests may be under way at one target; those beyond wait in turn, for a bounded time."""

import asyncio
from collections import deque


class Slots:
    """`limit` 0 is none. Who comes later never overtakes who waits: while anyone does, none is free."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.used = 0

    def __repr__(self) -> str:
        return f"<Slots {self.used} of {self._limit or 'any number'}, {self.waiting} waiting>"

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def full(self) -> bool:
        """Whether who comes now would have to wait."""
        return 0 < self._limit <= self.used

    async def take(self, seconds: float) -> bool:
        """Whether there was a slot within `seconds`; it must be given back."""
        if not self.full:
            self.used += 1
            return True
        return seconds > 0 and await self._wait(seconds)

    def give_back(self) -> None:
        """To the one who has waited longest."""
        while self._waiting:
            heir = self._waiting.popleft()
            if not heir.done():
                heir.set_result(None)
                return
        self.used -= 1

    async def _wait(self, seconds: float) -> bool:
        """A slot may be handed over in the very turn in which its heir gives up: a late one takes it, one that was
        cancelled gives it back.
        """
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(seconds):
                await turn
        except TimeoutError:
            return self._handed(turn)
        except asyncio.CancelledError:
            if self._handed(turn):
                self.give_back()
            raise
        return True

    def _handed(self, turn: "asyncio.Future[None]") -> bool:
        if turn.done() and not turn.cancelled():
            return True
        if turn in self._waiting:
            self._waiting.remove(turn)
        return False
