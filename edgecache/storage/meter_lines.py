"""Spend as both stores keep it: eight counts on a line, which has a name in a period."""

import json
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from edgecache.core.prices import OTHERS, Spend, Sum

EVER = "all"
"""The period of what was counted since ever."""
ROUTES = "routes "
"""Before a day: its lines are by route only."""
MOST = 10_000
"""Lines with a name of their own in a period."""
SCOPES_KEPT, ROUTES_KEPT, NODES_KEPT = 100, 400, 30
"""Days: of a day's lines by scope, of those by route, and of a node's last batch."""
COUNTS = 8


class Line(NamedTuple):
    """`name` and `others` are scope, route and currency in JSON, in ASCII: whatever a name holds can be kept."""

    period: str
    name: str
    others: str
    counts: list[int]

    @property
    def days(self) -> int:
        """For how many it is kept; 0 for ever."""
        if self.period == EVER:
            return 0
        return ROUTES_KEPT if self.period.startswith(ROUTES) else SCOPES_KEPT


def lines(rows: Sequence[Spend]) -> Sequence[Line]:
    """What to add for these rows, each period and name once."""
    found: dict[tuple[str, str], Line] = {}
    for row in rows:
        for line in _lines(row):
            before = found.setdefault((line.period, line.name), line)
            if before is not line:
                before.counts[:] = map(sum, zip(before.counts, line.counts, strict=True))
    return list(found.values())


def _lines(row: Spend) -> Iterator[Line]:
    name, others = _name(row.scope, row), _name(OTHERS, row)
    counts = [*_counts(row.spent), *_counts(row.saved)]
    yield Line(EVER, name, others, list(counts))
    yield Line(row.day, name, others, list(counts))
    total = _name("", row)
    yield Line(ROUTES + row.day, total, total, list(counts))


def _name(scope: str, row: Spend) -> str:
    return json.dumps((scope, row.route, row.currency))


def _counts(of: Sum) -> tuple[int, int, int, int]:
    return of.answers, of.prompt, of.completion, of.money


def spend(day: str, name: str, counts: Sequence[int]) -> Spend:
    """A line that was read."""
    scope, route, currency = json.loads(name)
    return Spend(day, scope, route, currency, Sum(*counts[:4]), Sum(*counts[4:]))
