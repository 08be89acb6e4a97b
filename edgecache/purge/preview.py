"""What a purge would take: a walk through the store, holding every entry against a ledger to which only it was applied.
So what counts as hit is decided by the same rules as by the purge itself.
"""

import asyncio
from collections.abc import Sequence

import msgspec

from edgecache.core.entry import Entry, Horizon
from edgecache.core.ledger import UNCOMPARED, Ledger
from edgecache.core.ports import Store
from edgecache.core.purges import Effect, Logged, PurgeRecord
from edgecache.core.tags import Kind, Tag

EXAMPLES = 5
CUT = 120
"""Characters of a question that are shown."""
TURN = 0.0005
"""Seconds for which the walk keeps the event loop to itself."""

_NAME = "preview"
_BEFORE = Horizon(_NAME, 0)


class Example(msgspec.Struct, frozen=True):
    """One entry that is hit."""

    id: str
    question: str
    tags: tuple[Tag, ...]


class Preview(msgspec.Struct, frozen=True):
    """`count` entries are hit, the first of which are `examples`. Of `uncompared` ones that is not known: they have yet
    to be embedded. Not `complete`: the time was up, and there may be more.
    """

    count: int
    uncompared: int
    examples: tuple[Example, ...]
    complete: bool


class Walk:
    """Counts what `records` hit among the entries that are alive but for these very records."""

    def __init__(self, store: Store, ledger: Ledger, records: Sequence[PurgeRecord], *, now: float) -> None:
        """`now` in Unix seconds; nothing that expired before counts."""
        self._store = store
        self._ledger = ledger
        self._now = now
        self._alone = Ledger(_NAME, max_tombstones=sum(len(record.tags) for record in records))
        for sequence, record in enumerate(records, 1):
            self._alone.apply(Logged(sequence, msgspec.structs.replace(record, effect=Effect.PURGE)))
        self._spared = {None, UNCOMPARED, *(Tag(Kind.MEANING, record.id) for record in records)}
        self._count = 0
        self._uncompared = 0
        self._examples: list[Example] = []

    async def run(self, seconds: float) -> Preview:
        """For so long at most.

        Raises:
            StoreUnavailable: the entries could not be read.
        """
        complete = False
        try:
            async with asyncio.timeout(seconds):
                await self._all()
                complete = True
        except TimeoutError:
            pass
        return Preview(self._count, self._uncompared, tuple(self._examples), complete)

    async def _all(self) -> None:
        now = asyncio.get_running_loop().time
        turn = now()
        async for batch in self._store.scan():
            for entry in batch:
                self._look(entry)
                if now() - turn > TURN:
                    await asyncio.sleep(0)
                    turn = now()

    def _look(self, entry: Entry) -> None:
        if entry.kept_until <= self._now:
            return
        killer = self._alone.killer(entry.tags, _BEFORE) or self._meant(entry)
        if killer is None or self._ledger.killer_of(entry) not in self._spared:
            return
        if killer == UNCOMPARED:
            self._uncompared += 1
            return
        self._count += 1
        if len(self._examples) < EXAMPLES:
            self._examples.append(Example(entry.id, _shown(entry)[:CUT], entry.tags))

    def _meant(self, entry: Entry) -> Tag | None:
        if entry.document is not None:
            return None
        vector = (entry.vector, entry.embedder) if entry.vector is not None else None
        return self._alone.covered(entry.scope, 0, vector)

    def __repr__(self) -> str:
        return f"<Walk {self._count} hit, {self._uncompared} uncompared>"


def _shown(entry: Entry) -> str:
    """A document's path without its query, in which there may be what only its reader should have."""
    return entry.question if entry.document is None else entry.question.partition("?")[0]
