"""Which entries nobody may be served any more, and which were held against the newest purges by meaning."""

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from edgecache.core.entry import Entry
from edgecache.core.ledger import UNCOMPARED, Ledger
from edgecache.core.ports import Embedder
from edgecache.core.tags import Tag
from edgecache.errors import EmbeddingUnavailable
from edgecache.purge.turns import Turns

AT_ONCE = 16
"""Questions given to the embedder together."""


class Findings(msgspec.Struct):
    """`dead` entries with what purged them, None where nothing did. `compared` ones are alive and were held against all
    purges by meaning up to sequence `through`; `later` is how many could not be.
    """

    through: int
    alive: list[Entry]
    dead: list[tuple[Entry, Tag | None]]
    compared: list[Entry]
    later: int = 0


def is_dead(entry: Entry, ledger: Ledger, now: float) -> bool:
    """Purged, or of no use to anyone. What has yet to be compared with a purge by meaning is neither."""
    return entry.kept_until <= now or ledger.killer_of(entry) not in (None, UNCOMPARED)


class Examiner:
    """Holds entries against the ledger and the clock."""

    def __init__(self, ledger: Ledger, embedder: Embedder, clock: Callable[[], float], turns: Turns) -> None:
        self._ledger = ledger
        self._embedder = embedder
        self._clock = clock
        self._turns = turns

    async def examine(self, batch: Sequence[Entry]) -> Findings:
        """What is purged while this goes on is not in `through`, which is read first."""
        findings = Findings(self._ledger.applied, [], [], [])
        unread = []
        for entry in batch:
            await self._turns.step()
            killer = self._ledger.killer_of(entry)
            if entry.kept_until <= self._clock():
                findings.dead.append((entry, _named(killer)))
            elif killer == UNCOMPARED:
                unread.append(entry)
            else:
                self._sort(entry, killer, findings)
        for start in range(0, len(unread), AT_ONCE):
            piece = unread[start : start + AT_ONCE]
            if findings.later:
                findings.later += len(piece)
            else:
                await asyncio.gather(*(self._read(entry, findings) for entry in piece))
        return findings

    async def _read(self, entry: Entry, findings: Findings) -> None:
        """Embed the question of an entry that has no vector to compare. What no model here can compare is dead: nobody
        could ever be served it.
        """
        try:
            vector = await self._embedder.embed(entry.question)
        except EmbeddingUnavailable:
            findings.later += 1
            return
        if vector is None:
            findings.dead.append((entry, None))
            return
        await self._turns.step()
        read = (vector, self._embedder.identity)
        killer = self._ledger.killer(entry.tags, entry.horizon)
        self._sort(entry, killer or self._ledger.covered(entry.scope, compared_to(entry), read), findings)

    def _sort(self, entry: Entry, killer: Tag | None, findings: Findings) -> None:
        if killer is not None:
            findings.dead.append((entry, _named(killer)))
            return
        findings.alive.append(entry)
        if entry.document is None and compared_to(entry) < min(self._ledger.last_meant(entry.scope), findings.through):
            findings.compared.append(entry)


def compared_to(entry: Entry) -> int:
    """Purges by meaning up to this sequence are no matter for this entry."""
    return max(entry.horizon.sequence, entry.compared_to)


def _named(killer: Tag | None) -> Tag | None:
    return None if killer == UNCOMPARED else killer
