"""Fills in flight: identical requests share one, and each passenger gets it from the start as it arrives.

The fill runs in a task of its own, so a passenger that leaves, the first included, disturbs nobody; the last to leave
cancels it. State changes are synchronous; only waiting is not.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Generic, TypeVar

import msgspec

from edgecache.core.entry import MAX_TAGS, Horizon, Scope
from edgecache.core.tags import Tag
from edgecache.errors import EdgecacheError, Overloaded

_log = logging.getLogger("edgecache.flights")

H = TypeVar("H")

LAG = 1 << 20
"""Bytes by which the slowest passenger of a flight too large to be kept may lag before the fill waits for it."""


class Flight(Generic[H]):
    """One fill. `horizon` was read before it began; `tags` are those known so far. `keep` is how many bytes are
    kept for those who join later: beyond that nobody can join, and chunks go once everyone has read them.
    """

    def __init__(self, horizon: Horizon, tags: tuple[Tag, ...], *, keep: int, finish: bool = False) -> None:
        self.horizon = horizon
        self.tags = tags
        self.head: H | None = None
        self.outcome: str | None = None
        self._finish = finish
        self._keep = keep
        self._chunks: list[bytes] = []
        self._dropped = 0
        self._bytes = 0
        self._over = False
        self._ended = False
        self._settled = False
        self._stopping = False
        self._sealed = False
        self._error: Exception | None = None
        self._passengers: dict[int, int] = {}
        self._boarded = 0
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    # what the fill does

    def open(self, head: H) -> None:
        """The head of the answer has come."""
        self.head = head
        self._wake()

    def add(self, chunk: bytes) -> None:
        self._chunks.append(chunk)
        self._bytes += len(chunk)
        self._over = self._over or self._bytes > self._keep
        self._trim()
        self._wake()

    def keep_nothing(self) -> None:
        """What comes will not be stored: nobody joins any more, and chunks go once everyone aboard has read them."""
        self._over = True
        self._trim()
        self._wake()

    def finish(self) -> None:
        """It goes on to its end although nobody waits for it."""
        self._finish = True

    async def room(self) -> None:
        """Wait until another chunk may be added without memory growing past what slow passengers may hold."""
        while self._over and self._passengers and sum(map(len, self._chunks)) > LAG:
            await self._change()

    def end(self) -> None:
        """All chunks have come; passengers may finish. What is left is to store it."""
        self._ended = True
        self._wake()

    def seal(self) -> tuple[Tag, ...]:
        """The tags with which the answer is stored: from now on nobody can add one."""
        self._sealed = True
        return self.tags

    def settle(self, outcome: str | None) -> None:
        """The fill is over. `outcome` says why nothing was stored; None when it was."""
        self.outcome = outcome
        self._ended = self._settled = True
        self._wake()

    def fail(self, error: Exception) -> None:
        """Passengers get `error` after the chunks that came before it."""
        self._error = error
        self.settle(str(error))

    # what passengers do

    @property
    def joinable(self) -> bool:
        """Not one that was left by everybody: it may take a while to stop, and brings nothing any more."""
        return not self._over and not self._stopping and self._error is None

    @property
    def passengers(self) -> int:
        return len(self._passengers)

    @property
    def received(self) -> tuple[int, int]:
        """Pieces and bytes that have come."""
        return self._dropped + len(self._chunks), self._bytes

    @property
    def joined(self) -> int:
        """How many came aboard after the first."""
        return max(0, self._boarded - 1)

    def takes(self, tags: tuple[Tag, ...]) -> bool:
        """Add the tags of one who joins; False, and nothing is added, where its answer could not be stored with them:
        it is being stored already, or would have too many.
        """
        united = tuple(dict.fromkeys((*self.tags, *tags)))
        if len(united) == len(self.tags):
            return True
        if self._sealed or len(united) > MAX_TAGS:
            return False
        self.tags = united
        return True

    def board(self) -> int:
        self._boarded += 1
        self._passengers[self._boarded] = 0
        return self._boarded

    def leave(self, passenger: int) -> None:
        """Safe twice. The last to leave cancels a fill whose answer is still coming, unless the route says finish."""
        self._passengers.pop(passenger, None)
        self._trim()
        self._wake()
        if not self._passengers and not self._finish:
            self._stop()

    async def wait_head(self) -> H:
        while self.head is None:
            if self._error is not None:
                raise self._error
            await self._change()
        return self.head

    async def wait_settled(self) -> None:
        while not self._settled:
            await self._change()

    async def chunks(self, passenger: int) -> AsyncIterator[bytes]:
        """From the first chunk on. Raises what the fill failed with, after the last chunk."""
        while True:
            while (at := self._passengers[passenger] - self._dropped) < len(self._chunks):
                chunk = self._chunks[at]
                self._passengers[passenger] += 1
                self._trim()
                yield chunk
            if self._ended:
                break
            await self._change()
        if self._error is not None:
            raise self._error

    def _trim(self) -> None:
        """Drop what everyone has read, once nobody can join any more."""
        if not self._over or not self._chunks:
            return
        read = min(self._passengers.values(), default=self._dropped + len(self._chunks)) - self._dropped
        if read:
            del self._chunks[:read]
            self._dropped += read
            self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _change(self) -> None:
        await self._changed.wait()

    def kept(self) -> bytes | None:
        """The whole answer, or None when it is over `keep`."""
        return None if self._over else b"".join(self._chunks)

    def fly(self, run: Coroutine[Any, Any, None], landed: Callable[[], None]) -> None:
        self._task = asyncio.create_task(run)
        self._task.add_done_callback(lambda task: self._after(task, landed))

    def _after(self, task: "asyncio.Task[None]", landed: Callable[[], None]) -> None:
        landed()
        if task.cancelled():
            self.fail(Overloaded("This node stops before the answer is whole: ask again.", retry_after=1))
        elif error := task.exception():
            if not isinstance(error, EdgecacheError):
                _log.error("a fill failed", exc_info=error)
            self.fail(error if isinstance(error, Exception) else RuntimeError(repr(error)))

    async def close(self) -> None:
        """Give up what is still coming; wait until what has come is stored."""
        self._stop()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    def _stop(self) -> None:
        if self._task is not None and not self._ended and not self._stopping:
            self._stopping = True
            self._task.cancel()

    def __repr__(self) -> str:
        state = "settled" if self._settled else "ended" if self._ended else "open" if self.head else "waiting"
        return f"<Flight {state} passengers={len(self._passengers)} bytes={self._bytes} {self.horizon}>"


class FlightStatistics(msgspec.Struct, frozen=True):
    """`flying` now, with `passengers` aboard; `started` and `joined` since the start."""

    flying: int
    started: int
    joined: int
    passengers: int = 0


class Flights(Generic[H]):
    """The newest flight for each scope and key, and all that are still flying."""

    def __init__(self) -> None:
        self._newest: dict[tuple[Scope, bytes], Flight[H]] = {}
        self._flying: set[Flight[H]] = set()
        self._started = 0
        self._joined = 0

    def find(self, scope: Scope, key: bytes) -> Flight[H] | None:
        """One that can still be joined. Whether it may be is for the ledger to say."""
        flight = self._newest.get((scope, key))
        return flight if flight is not None and flight.joinable else None

    def start(
        self, scope: Scope, key: bytes, flight: Flight[H], run: Callable[[Flight[H]], Coroutine[Any, Any, None]]
    ) -> int:
        """Register before the first await, so that the next identical request joins. Returns the first passenger."""
        self._newest[scope, key] = flight
        self._flying.add(flight)
        self._started += 1
        passenger = flight.board()
        flight.fly(run(flight), lambda: self._landed(scope, key, flight))
        return passenger

    @property
    def unattended(self) -> int:
        """Fills that go on although nobody waits for them."""
        return sum(not flight.passengers for flight in self._flying)

    def join(self, flight: Flight[H]) -> int:
        self._joined += 1
        return flight.board()

    def _landed(self, scope: Scope, key: bytes, flight: Flight[H]) -> None:
        self._flying.discard(flight)
        if self._newest.get((scope, key)) is flight:
            del self._newest[scope, key]

    async def close(self) -> None:
        for flight in list(self._flying):
            await flight.close()

    def statistics(self) -> FlightStatistics:
        passengers = sum(flight.passengers for flight in self._flying)
        return FlightStatistics(len(self._flying), self._started, self._joined, passengers)

    def __repr__(self) -> str:
        return f"<Flights flying={len(self._flying)} started={self._started} joined={self._joined}>"
