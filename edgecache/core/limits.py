"""How much a scope may ask, use and spend in a window of time."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import cached_property
from typing import Annotated

import msgspec

from edgecache.core.patterns import Patterns, compiled
from edgecache.core.prices import NANO
from edgecache.core.units import Duration, read_table

SHORTEST, LONGEST = 1, 366 * 86_400
"""Seconds of a window."""
MOST = 10**15
"""Of requests or tokens in one window."""
MOST_MONEY = 10**9
"""Units of the currency in one window."""

Whole = Annotated[int, msgspec.Meta(ge=1, le=MOST)]
Money = Annotated[float, msgspec.Meta(gt=0, le=MOST_MONEY)]


class WhenUnavailable(StrEnum):
    """What a limit does while the store that counts is away: go by what this node knows and counts, or refuse."""

    ALLOW = "allow"
    REFUSE = "refuse"


class Count(msgspec.Struct):
    """`money` is in billionths of the currency's unit."""

    requests: int = 0
    tokens: int = 0
    money: int = 0

    def merge(self, other: "Count") -> None:
        self.requests += other.requests
        self.tokens += other.tokens
        self.money += other.money


class Most(msgspec.Struct, frozen=True):
    """A request is refused where any of these is reached; None: no bound."""

    requests: int | None = None
    tokens: int | None = None
    money: int | None = None

    def reached(self, count: Count) -> str | None:
        """What is: requests, tokens or money."""
        if self.requests is not None and count.requests >= self.requests:
            return "requests"
        if self.tokens is not None and count.tokens >= self.tokens:
            return "tokens"
        if self.money is not None and count.money >= self.money:
            return "money"
        return None


class Counter(msgspec.Struct, frozen=True):
    """What is counted of one scope by one limit in one window. `limit` is the limit's `id`; windows of `per` seconds
    are numbered from the beginning of Unix time.
    """

    scope: str
    limit: str
    window: int
    per: float

    @property
    def ends(self) -> float:
        """Unix time at which the next window begins."""
        return (self.window + 1) * self.per


class Bound(msgspec.Struct, frozen=True):
    """A count, and how far it may go."""

    counter: Counter
    most: Most


class Debt(msgspec.Struct, frozen=True):
    """What a node adds to counters of one scope. Its debts to a scope have growing numbers: told twice, one counts
    once. Without counts it is none.
    """

    scope: str
    node: str
    number: int
    counts: Mapping[Counter, Count]


class Taken(msgspec.Struct, frozen=True):
    """Whether a request was admitted (and then counted), and the counts before it, in the order of the bounds."""

    admitted: bool
    counts: tuple[Count, ...]


class Limit(msgspec.Struct, frozen=True, kw_only=True, dict=True, forbid_unknown_fields=True):
    """Each scope that matches `scopes` may do so much in a window of `per` seconds on the routes that match `routes`.
    With `hits`, answers from cache count as if they had been asked for.
    """

    per: Duration
    scopes: Patterns = ("*",)
    routes: Patterns = ("*",)
    requests: Whole | None = None
    tokens: Whole | None = None
    money: Money | None = None
    hits: bool = False
    when_unavailable: WhenUnavailable = WhenUnavailable.ALLOW

    def matches(self, scope: str, route: str) -> bool:
        return bool(self._scopes.match(scope) and self._routes.match(route))

    def bound(self, scope: str, now: float) -> Bound:
        return Bound(Counter(scope, self.id, int(now // self.per), float(self.per)), self.most)

    @cached_property
    def id(self) -> str:
        """Names what is counted, not how far it may go: a limit that is raised goes on counting."""
        counted = msgspec.json.encode((self.scopes, self.routes, float(self.per), self.hits))
        return hashlib.sha256(counted).hexdigest()[:12]

    @cached_property
    def most(self) -> Most:
        money = None if self.money is None else round(self.money * NANO)
        return Most(self.requests, self.tokens, money)

    @cached_property
    def _scopes(self) -> re.Pattern[str]:
        return compiled(self.scopes)

    @cached_property
    def _routes(self) -> re.Pattern[str]:
        return compiled(self.routes)


def read_limits(tables: Mapping[str, object], routes: Sequence[str], problems: list[str]) -> tuple[Limit, ...]:
    """The `[[limit]]` tables, by place; `routes` are the names of all routes. Each thing wrong adds a line."""
    found = {where: limit for where, table in tables.items() if (limit := _limit(table, where, problems)) is not None}
    seen: dict[str, str] = {}
    for where, limit in found.items():
        if seen.setdefault(limit.id, where) != where:
            problems.append(f"{where}: counts the same as {seen[limit.id]}: write one limit")
        problems.extend(
            f"{where}.routes: no route is called `{pattern}`"
            for pattern in limit.routes
            if not any(map(compiled((pattern,)).match, routes))
        )
    return tuple(found.values())


def _limit(table: object, where: str, problems: list[str]) -> Limit | None:
    limit = read_table(table, Limit, where, problems)
    if limit is None:
        return None
    before = len(problems)
    if not SHORTEST <= limit.per <= LONGEST:
        problems.append(f"{where}.per: Expected 1s to 366d, got {float(limit.per):g} s")
    if limit.requests is limit.tokens is limit.money is None:
        problems.append(f"{where}: limits nothing: give it `requests`, `tokens` or `money`")
    if limit.most.money == 0:
        problems.append(f"{where}.money: Expected a billionth at least, got {limit.money}")
    return limit if len(problems) == before else None
