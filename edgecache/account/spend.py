"""What answers cost and what those from cache did not: counted in memory, brought to the store in the background."""

import asyncio
from collections.abc import Sequence

import msgspec

from edgecache.core.ports import Meters
from edgecache.core.prices import OTHERS, Spend, Sum

BATCH = 100
"""Rows that are sent at once: Redis takes them in one step."""
MOST_ROWS = 10_000
"""That wait to be sent; beyond them scopes are added up."""

Key = tuple[str, str, str, str]


class SpendStatistics(msgspec.Struct, frozen=True):
    """Rows that wait to be sent, and the batches that the store has taken."""

    waiting: int
    batches: int


class Spending:
    """Rows by day, scope, route and currency. A batch is sent until the store has it, under one number: one that the
    store took without our hearing of it counts once.
    """

    def __init__(self, meters: Meters, *, node: str) -> None:
        """`node` is unlike that of any other process, before and after."""
        self._meters = meters
        self._node = node
        self._rows: dict[Key, Spend] = {}
        self._routes: dict[tuple[str, str], Spend] = {}
        self._sending: list[Spend] = []
        self._number = 0
        self._flushing = asyncio.Lock()

    def rows(self, day: str, scope: str, route: str, currency: str) -> tuple[Spend, Spend]:
        """Where an answer is added: in what will be sent, and in what this process counted since it started."""
        row = self._rows.get((day, scope, route, currency))
        of_route = self._routes.get((route, currency))
        return (
            self._row(day, scope, route, currency) if row is None else row,
            self._of_route(route, currency) if of_route is None else of_route,
        )

    def _row(self, day: str, scope: str, route: str, currency: str) -> Spend:
        if len(self._rows) >= MOST_ROWS:
            scope = OTHERS
        return self._rows.setdefault((day, scope, route, currency), _empty(day, scope, route, currency))

    def _of_route(self, route: str, currency: str) -> Spend:
        return self._routes.setdefault((route, currency), _empty("", "", route, currency))

    def routes(self) -> Sequence[Spend]:
        """By route and currency, since this process started."""
        return list(self._routes.values())

    async def flush(self) -> None:
        """Send all that waits.

        Raises:
            StoreUnavailable: what was not taken is kept.
        """
        async with self._flushing:
            while self._sending or self._rows:
                if not self._sending:
                    self._cut()
                await self._meters.add(self._node, self._number, self._sending)
                self._sending = []

    def _cut(self) -> None:
        """What is counted from now on goes into rows that are sent later."""
        keys = [key for key, _ in zip(self._rows, range(BATCH), strict=False)]
        self._sending = [self._rows.pop(key) for key in keys]
        self._number += 1

    def statistics(self) -> SpendStatistics:
        return SpendStatistics(len(self._rows) + len(self._sending), self._number - bool(self._sending))

    def __repr__(self) -> str:
        return f"<Spending {self._node} {self.statistics()}>"


def _empty(day: str, scope: str, route: str, currency: str) -> Spend:
    return Spend(day, scope, route, currency, Sum(), Sum())
