"""Nodes that count, and what may happen between them and their store."""

from collections.abc import Sequence
from typing import TypeAlias

from edgecache.account.accounts import Accounts
from edgecache.core.entry import Scope
from edgecache.core.limits import Bound, Debt, Taken
from edgecache.core.policy import Policy, parse_policy
from edgecache.core.ports import Meters
from edgecache.core.prices import Spend
from edgecache.core.reply import Usage
from edgecache.errors import LimitReached, StoreUnavailable
from edgecache.storage.redis import RedisStorage
from edgecache.storage.sqlite import SqliteStorage

Storage: TypeAlias = SqliteStorage | RedisStorage

MIDNIGHT = 20_777 * 86_400.0
"""2026-11-20, 00:00 UTC."""
SHOP = Scope("token:shop")
PRICES = """
[[price]]
models = ["gpt"]
input = 1
output = 2
"""
ONE = Usage(prompt=1_000_000, completion=500_000)
"""Costs 2 of `gpt`."""


class Clock:
    def __init__(self, now: float = MIDNIGHT) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Rules:
    """The policy in force, with routes `chat` and `other`."""

    def __init__(self, text: str = "") -> None:
        self.policy = parse("")
        self.put(text)

    def put(self, text: str) -> None:
        self.policy = parse(text)

    def __call__(self) -> Policy:
        return self.policy


def parse(text: str) -> Policy:
    routes = '[[route]]\nname = "chat"\n[[route]]\nname = "other"\n'
    return parse_policy({"a.toml": f"{text}\n{routes}".encode()})


class Unsure:
    """The store behind a line that may fail before it was reached, or after."""

    def __init__(self, meters: Meters) -> None:
        self._meters = meters
        self.before = self.after = False

    def _check(self, failing: bool) -> None:
        if failing:
            raise StoreUnavailable("the line failed")

    async def add(self, node: str, number: int, rows: Sequence[Spend]) -> None:
        self._check(self.before)
        await self._meters.add(node, number, rows)
        self._check(self.after)

    async def scopes(self, day: str = "") -> Sequence[Spend]:
        self._check(self.before)
        return await self._meters.scopes(day)

    async def days(self, days: Sequence[str]) -> Sequence[Spend]:
        self._check(self.before)
        return await self._meters.days(days)

    async def take(self, bounds: Sequence[Bound], debt: Debt) -> Taken:
        self._check(self.before)
        taken = await self._meters.take(bounds, debt)
        self._check(self.after)
        return taken

    async def charge(self, debts: Sequence[Debt]) -> None:
        self._check(self.before)
        await self._meters.charge(debts)
        self._check(self.after)


def node(meters: Meters, rules: Rules, clock: Clock, name: str = "node") -> Accounts:
    return Accounts(meters, rules, clock=clock, node=name)


async def refused(accounts: Accounts, scope: Scope = SHOP, route: str = "chat") -> LimitReached | None:
    """The error of a request that needs to ask; None where it is admitted."""
    try:
        await accounts.admit(scope, route)
    except LimitReached as error:
        return error
    return None
