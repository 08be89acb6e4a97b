"""Frees what is dead: purged or expired entries, in memory, index and store. Nothing waits for it and nothing's
correctness depends on it; whether an entry is served is decided by the ledger at every read.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Protocol

import msgspec

from edgecache.core.entry import Entry, Scope
from edgecache.core.ledger import Ledger
from edgecache.core.ports import Audit, Embedder, Feed, News, NewsKind, Store
from edgecache.core.purges import Logged
from edgecache.core.tags import Tag
from edgecache.errors import StoreUnavailable
from edgecache.purge.examine import Examiner, is_dead
from edgecache.purge.hits import Hits, Softened
from edgecache.purge.turns import Turns

PIECE = 50
"""Entries that one call of the store is about: more make a command that takes milliseconds to put together."""

IDLE = 4.0
"""A pass rests after each batch for so many times as long as the batch took: nobody waits for it, and it shares the
processor with those who do.
"""
LONGEST_IDLE = 0.1
"""Seconds, so that a store that is slow to answer does not stretch a pass without end."""

_log = logging.getLogger("edgecache.reaper")


class Memory(Protocol):
    """Entries held in memory."""

    def __iter__(self) -> Iterator[Entry]: ...

    def forget(self, entry: Entry) -> None:
        """Discard this version; one that has replaced it stays."""

    def advance(self, entry: Entry, through: int) -> None:
        """This version was held against all purges by meaning up to sequence `through`."""


class Places(Protocol):
    """Where entries are found by their vectors, and which of these have changed of late."""

    def discard(self, scope: Scope, partition: bytes, key: bytes) -> None: ...

    def mark(self) -> int: ...

    def changed(self, scope: Scope, partition: bytes, key: bytes, mark: int) -> bool: ...


class ReaperStatistics(msgspec.Struct, frozen=True):
    """Passes over the store, entries freed in them, how often one was found to have survived newer purges by meaning,
    and how many could not be compared with these in the last pass, because no vector could be made.
    """

    passes: int
    reaped: int
    compared: int
    later: int


class Reaper:
    """One pass at a time: soon after a purge, and every `interval` seconds for what expired. `rest` is the least time
    between two passes, in seconds. `clock` is Unix time, `timer` any clock that runs evenly, both in seconds; `pause`
    waits for so many seconds.
    """

    def __init__(
        self,
        store: Store,
        index: Places,
        memory: Memory,
        ledger: Ledger,
        feed: Feed,
        audit: Audit,
        embedder: Embedder,
        *,
        clock: Callable[[], float],
        interval: float = 60.0,
        rest: float = 1.0,
        timer: Callable[[], float] = time.perf_counter,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._index = index
        self._memory = memory
        self._ledger = ledger
        self._feed = feed
        self._audit = audit
        self._clock = clock
        self._interval = interval
        self._rest = rest
        self._timer = timer
        self._pause = pause
        self._turns = Turns(timer)
        self._examiner = Examiner(ledger, embedder, clock, self._turns)
        self._hits = Hits(ledger)
        self._log = ledger.log
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._doubtful: Sequence[Entry] = ()
        self._passes = self._reaped = self._compared = self._later = 0

    # --- what it is told ------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Something was purged."""
        self._wanted.set()

    def applied(self) -> None:
        """What others ordered they free, and tell. Another log than before kills everything, and nobody orders that."""
        if self._log != self._ledger.log:
            self._log = self._ledger.log
            self.wake()

    def heard(self, logged: Logged) -> None:
        """A record took effect here, whoever ordered it."""
        self._hits.heard(logged)

    def ordered(self, record_id: str) -> None:
        """This node ordered it and it has been heard: it is this node that frees or counts what it hits, soon."""
        self._hits.ordered(record_id)
        self.wake()

    # --- passes ---------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._interval):
                    await self._wanted.wait()
            except TimeoutError:
                pass
            self._wanted.clear()
            try:
                await self.sweep()
            except StoreUnavailable as error:
                _log.warning("could not free dead entries, trying again later: %s", error)
            except Exception:  # noqa: BLE001  the task's boundary: without it memory would grow for ever
                _log.exception("a pass of the reaper failed, trying again later")
            await asyncio.sleep(self._rest)

    async def sweep(self) -> int:
        """One pass; how many entries it freed in the store.

        Raises:
            StoreUnavailable: what is left is freed by a later pass.
        """
        await self._sweep_memory()
        before = self._reaped
        softened = self._hits.begin()
        await self._settle_doubts()
        self._later = 0
        began = self._timer()
        async for batch in self._store.scan():
            await self._sweep(batch, softened)
            await self._pause(min(LONGEST_IDLE, IDLE * (self._timer() - began)))
            began = self._timer()
        if softened is not None:
            self._hits.end(softened)
        await self._write_hits()
        self._passes += 1
        return self._reaped - before

    async def _sweep_memory(self) -> None:
        for entry in self._memory:
            await self._turns.step()
            if is_dead(entry, self._ledger, self._clock()):
                self._memory.forget(entry)

    async def _sweep(self, batch: Sequence[Entry], softened: Softened | None) -> None:
        findings = await self._examiner.examine(batch)
        self._later += findings.later
        if softened is not None:
            for entry in findings.alive:
                await self._turns.step()
                softened.see(entry)
        for start in range(0, len(findings.compared), PIECE):
            await self._advance(findings.compared[start : start + PIECE], findings.through)
        for start in range(0, len(findings.dead), PIECE):
            await self._free(findings.dead[start : start + PIECE])

    async def _advance(self, compared: Sequence[Entry], through: int) -> None:
        """Without it entries would be compared again at every read, and die when purges by meaning are forgotten."""
        await self._store.compared(compared, through)
        for entry in compared:
            self._memory.advance(entry, through)
        self._compared += len(compared)

    async def _free(self, dead: Sequence[tuple[Entry, Tag | None]]) -> None:
        entries = [entry for entry, _ in dead]
        self._doubtful = entries
        mark = self._index.mark()
        removed = await self._store.delete(entries)
        for entry in entries:
            self._memory.forget(entry)
        await self._gone(removed, mark)
        self._doubtful = ()
        self._reaped += len(removed)
        killers = {entry.key: killer for entry, killer in dead}
        for entry in removed:
            killer = killers[entry.key]
            if killer is not None:
                self._hits.killed(entry, killer)

    async def _gone(self, removed: Sequence[Entry], mark: int) -> None:
        """What another node has removed or replaced is told by that node."""
        for entry in removed:
            await self._turns.step()
            await self._drop_vector(entry, mark)
        if removed:
            self._feed.tell([News(NewsKind.GONE, entry.scope, entry.partition, entry.key) for entry in removed])

    async def _drop_vector(self, entry: Entry, mark: int) -> None:
        """Unless it is already that of a new entry under this key. The last look and the discard are one step."""
        place = (entry.scope, entry.partition, entry.key)
        while self._index.changed(*place, mark):
            mark = self._index.mark()
            if await self._store.head(entry.key) is not None:
                return
        self._index.discard(*place)

    async def _settle_doubts(self) -> None:
        """A deletion that failed may have been done all the same."""
        gone = [entry for entry in self._doubtful if await self._store.head(entry.key) is None]
        await self._gone(gone, -1)
        self._doubtful = ()

    async def _write_hits(self) -> None:
        counts = self._hits.take()
        if not counts:
            return
        try:
            await self._audit.hit(counts)
        except StoreUnavailable:
            self._hits.give_back(counts)
            raise

    def statistics(self) -> ReaperStatistics:
        return ReaperStatistics(self._passes, self._reaped, self._compared, self._later)

    def __repr__(self) -> str:
        return f"<Reaper passes={self._passes} reaped={self._reaped}>"
