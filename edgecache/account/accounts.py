"""What the story of a request tells of money: who may ask, what it cost, what was saved."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache

import msgspec

from edgecache.account.limiter import Limiter, LimiterStatistics
from edgecache.account.spend import Spending, SpendStatistics
from edgecache.core.entry import Scope
from edgecache.core.limits import Limit
from edgecache.core.policy import Policy
from edgecache.core.ports import Meters
from edgecache.core.prices import Price, Spend, believed
from edgecache.core.reply import Usage
from edgecache.errors import LimitReached, StoreUnavailable

FLUSH = 1.0
"""Seconds between two times that spend is sent, and before what failed is tried again."""
UNPRICED = 100
"""Models without a price whose names are kept."""
NAME = 200
"""Characters of a model's name that count: callers choose it."""

_log = logging.getLogger("edgecache.spend")


class AccountsStatistics(msgspec.Struct, frozen=True):
    spend: SpendStatistics
    limits: LimiterStatistics


class _Rules:
    """A policy's prices and limits, found again quickly."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.currency = policy.prices.currency
        self.price: Callable[[str], Price | None] = lru_cache(4_096)(policy.prices.of)
        self.limits: Callable[[str, str], _Limits] = lru_cache(16_384)(self._limits)

    def _limits(self, scope: str, route: str) -> "_Limits":
        found = [limit for limit in self.policy.limits if limit.matches(scope, route)]
        return _Limits(tuple(each for each in found if each.hits), tuple(each for each in found if not each.hits))


class _Limits(msgspec.Struct, frozen=True):
    """Of one scope on one route: those that count everything, and those that count what is not answered from cache."""

    hits: tuple[Limit, ...]
    asking: tuple[Limit, ...]


class Saver:
    """Counts how often one answer was given from cache. `of` are the arguments of `Accounts.saved`."""

    __slots__ = ("_due", "of", "times")

    def __init__(self, due: "list[Saver]", of: tuple[Scope, str, str, Usage | None]) -> None:
        self._due = due
        self.of = of
        self.times = 0

    def add(self) -> None:
        if not self.times:
            self._due.append(self)
        self.times += 1

    def __repr__(self) -> str:
        return f"<Saver {self.of[0]} {self.times}>"


class Accounts:
    """`policy` gives the one in force, `clock` Unix time in seconds; `node` is unlike that of any other process.

    `arrive` comes first, for every request; `admit` before a fill asks anyone; then once per request `spent` by who
    asked, or `saved` by who was answered without. The last two are a few additions and never wait.
    """

    def __init__(self, meters: Meters, policy: Callable[[], Policy], *, clock: Callable[[], float], node: str) -> None:
        self._meters = meters
        self._policy = policy
        self._clock = clock
        self._rules = _Rules(Policy((), "none"))
        self._spending = Spending(meters, node=node)
        self._due = asyncio.Event()
        self._limiter = Limiter(meters, clock=clock, owes=self._due.set, node=node)
        self._today = (-1, "")
        self._unpriced: dict[str, None] = {}
        self._limited: Counter[str] = Counter()
        self._away = False
        self._tasks: list[asyncio.Task[None]] = []
        self._savers: list[Saver] = []

    # --- may it ask? ----------------------------------------------------------------------------------------------

    async def arrive(self, scope: Scope, route: str) -> None:
        """By limits that count hits too. Raises as `admit`."""
        if (rules := self._current()).policy.limits and (limits := rules.limits(scope, route).hits):
            await self._admit(scope, route, limits)

    def bounds_usage(self, scope: Scope, route: str) -> bool:
        """Whether a limit of tokens or money holds: what nobody here reads would get around it."""
        rules = self._current()
        if not rules.policy.limits:
            return False
        limits = rules.limits(scope, route)
        return any(limit.tokens is not None or limit.money is not None for limit in (*limits.hits, *limits.asking))

    def counts_hits(self, scope: Scope, route: str) -> bool:
        """Whether `arrive` would look at a limit: only then has it to be called."""
        rules = self._current()
        return bool(rules.policy.limits) and bool(rules.limits(scope, route).hits)

    async def admit(self, scope: Scope, route: str) -> None:
        """By all other limits.

        Raises:
            LimitReached: with `retry_after`.
            Overloaded: the store is away, and a limit refuses then.
        """
        if (rules := self._current()).policy.limits and (limits := rules.limits(scope, route).asking):
            await self._admit(scope, route, limits)

    async def _admit(self, scope: Scope, route: str, limits: Sequence[Limit]) -> None:
        try:
            await self._limiter.admit(scope, limits, self._rules.currency)
        except LimitReached:
            self._limited[route] += 1
            raise

    # --- what did it cost? ----------------------------------------------------------------------------------------

    def spent(self, scope: Scope, route: str, model: str, usage: Usage | None) -> None:
        """An answer was asked for, and has ended. `usage` is None where nobody tells it."""
        rules, usage = self._current(), believed(usage)
        row, of_route, money = self._rows(rules, scope, route, model, usage)
        row.spent.add(usage, money)
        of_route.spent.add(usage, money)
        if rules.policy.limits:
            limits = rules.limits(scope, route)
            self._charge(scope, (*limits.hits, *limits.asking), usage, money)

    def saved(self, scope: Scope, route: str, model: str, usage: Usage | None, times: int = 1) -> None:
        """Requests were answered from cache, or by an answer that another one asked for, and that cost `usage`."""
        rules, usage = self._current(), believed(usage)
        row, of_route, money = self._rows(rules, scope, route, model, usage)
        row.saved.add(usage, money, times)
        of_route.saved.add(usage, money, times)
        if rules.policy.limits:
            for _ in range(times):
                self._charge(scope, rules.limits(scope, route).hits, usage, money)

    def saver(self, scope: Scope, route: str, model: str, usage: Usage | None) -> "Saver":
        """For an answer that is given many times: counting one more of them is an addition."""
        return Saver(self._savers, (scope, route, model, usage))

    def _collect(self) -> None:
        savers, self._savers[:] = self._savers[:], []
        for saver in savers:
            times, saver.times = saver.times, 0
            self.saved(*saver.of, times=times)

    def _rows(self, rules: _Rules, scope: Scope, route: str, model: str, usage: Usage) -> tuple[Spend, Spend, int]:
        model = model[:NAME]
        price = rules.price(model)
        if price is None and len(self._unpriced) < UNPRICED:
            self._unpriced[model] = None
        currency = "" if price is None else rules.currency
        row, of_route = self._spending.rows(self._day(), scope, route, currency)
        return row, of_route, 0 if price is None else price.cost(usage)

    def _charge(self, scope: Scope, limits: Sequence[Limit], usage: Usage, money: int) -> None:
        if limits:
            self._limiter.charge(scope, limits, usage.total, money)

    def _day(self) -> str:
        number = int(self._clock() // 86_400)
        if number != self._today[0]:
            self._today = number, day_of(number)
        return self._today[1]

    def _current(self) -> _Rules:
        policy = self._policy()
        if policy is not self._rules.policy:
            self._rules = _Rules(policy)
            self._unpriced.clear()
        return self._rules

    # --- to the store, and back -----------------------------------------------------------------------------------

    async def open(self) -> None:
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._every_second()), asyncio.create_task(self._when_due())]

    async def close(self) -> None:
        """What is not sent by now is lost, and the log says how much."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        try:
            await self.flush()
        except StoreUnavailable as error:
            _log.error("SPEND NOT COUNTED: the node stops and the store is away: %s; %s", self.statistics(), error)

    async def flush(self) -> None:
        """Raises StoreUnavailable; what was not sent is kept."""
        self._collect()
        try:
            await self._spending.flush()
        finally:
            await self._limiter.flush()

    async def _every_second(self) -> None:
        while True:
            await asyncio.sleep(FLUSH)
            self._collect()
            await self._tried(self._spending.flush)

    async def _when_due(self) -> None:
        """What limits are owed goes at once: other nodes count on it."""
        while True:
            await self._due.wait()
            self._due.clear()
            if not await self._tried(self._limiter.flush):
                self._due.set()
                await asyncio.sleep(FLUSH)

    async def _tried(self, flush: Callable[[], Awaitable[None]]) -> bool:
        """Whether the store took it. An outage is told once."""
        try:
            await flush()
        except StoreUnavailable as error:
            if not self._away:
                _log.warning("spend and limits are counted in memory until the store is back: %s", error)
            self._away = True
            return False
        self._away = False
        return True

    async def report(self, days: int, day: str = "") -> "Report":
        """Of all nodes, what this one counted until now included; of `day`, or since ever, and the last `days` days.

        Raises:
            StoreUnavailable
        """
        self._collect()
        await self._spending.flush()
        today = int(self._clock() // 86_400)
        names = [day_of(number) for number in range(today, max(today - days, -1), -1)]
        return Report(await self._meters.scopes(day), await self._meters.days(names), tuple(self._unpriced))

    def routes(self) -> Sequence[Spend]:
        """What this process counted since it started, by route and currency: for metrics."""
        self._collect()
        return self._spending.routes()

    def limited(self) -> Mapping[str, int]:
        """Requests refused by a limit since this process started, by route."""
        return self._limited

    def statistics(self) -> AccountsStatistics:
        return AccountsStatistics(self._spending.statistics(), self._limiter.statistics())

    def __repr__(self) -> str:
        return f"<Accounts {self._spending!r} {self._limiter!r}>"


class Report(msgspec.Struct, frozen=True):
    """Rows by scope and route, rows by day and route, and models that this node found without a price."""

    scopes: Sequence[Spend]
    days: Sequence[Spend]
    unpriced: Sequence[str]


def day_of(number: int) -> str:
    """The day that begins so many days after the beginning of Unix time, in UTC."""
    return datetime.fromtimestamp(number * 86_400, UTC).date().isoformat()
