"""What tokens cost. Money is counted in whole billionths of the currency's unit, so that sums are exact."""

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated

import msgspec

from edgecache.core.patterns import Patterns, compiled
from edgecache.core.reply import Usage
from edgecache.core.units import read_table

NANO = 10**9
"""Of money in one unit of the currency."""
MILLION = 10**6
MOST_TOKENS = 10**8
"""Of one answer, of each kind; an upstream that tells more is not believed. Sums stay far below 64 bits."""

OTHERS = "*"
"""The scope under which those are added up that have no row of their own."""
_NOTHING = Usage()

Amount = Annotated[float, msgspec.Meta(ge=0, le=10_000)]
"""Money for a million tokens; six decimals count."""


class Price(msgspec.Struct, frozen=True, kw_only=True, dict=True, forbid_unknown_fields=True):
    """Money for a million tokens of these models (shell patterns). Tokens of the prompt that the provider read from
    its cache cost `cached_input`, those it put there `cache_write`; both `input` where they are not given.
    """

    models: Patterns
    input: Amount
    output: Amount
    cached_input: Amount | None = None
    cache_write: Amount | None = None

    def matches(self, model: str) -> bool:
        return self._models.match(model) is not None

    def cost(self, usage: Usage) -> int:
        """Billionths of the currency's unit, rounded half up."""
        plain = max(0, usage.prompt - usage.cached - usage.written)
        one, read, write, out = self._each
        cost = plain * one + usage.cached * read + usage.written * write + usage.completion * out
        return (cost + 500) // 1_000

    @cached_property
    def _models(self) -> re.Pattern[str]:
        return compiled(self.models)

    @cached_property
    def _each(self) -> tuple[int, int, int, int]:
        """Of one token of each kind, in thousandths of a billionth."""
        read = self.input if self.cached_input is None else self.cached_input
        write = self.input if self.cache_write is None else self.cache_write
        one, cached, written, out = (round(amount * MILLION) for amount in (self.input, read, write, self.output))
        return one, cached, written, out


class Prices(msgspec.Struct, frozen=True):
    """The price table, in the order in which it is written: the first that matches holds."""

    table: tuple[Price, ...] = ()
    currency: str = "USD"

    def of(self, model: str) -> Price | None:
        return next((price for price in self.table if price.matches(model)), None)


class Sum(msgspec.Struct):
    """Answers, their tokens, and what they cost, added up. `money` is in billionths."""

    answers: int = 0
    prompt: int = 0
    completion: int = 0
    money: int = 0

    def add(self, usage: Usage, money: int, times: int = 1) -> None:
        """`money` is what each of them cost."""
        self.answers += times
        self.prompt += times * usage.prompt
        self.completion += times * usage.completion
        self.money += times * money

    def merge(self, other: "Sum") -> None:
        self.answers += other.answers
        self.prompt += other.prompt
        self.completion += other.completion
        self.money += other.money


class Spend(msgspec.Struct):
    """What answers of one scope and route cost, and what those from cache did not. `day` is an ISO date in UTC, empty
    for all days; `scope` is empty for all scopes; `currency` is empty where the models have no price.
    """

    day: str
    scope: str
    route: str
    currency: str
    spent: Sum
    saved: Sum


def believed(usage: Usage | None) -> Usage:
    """What an upstream tells, as far as it can be; nothing where it tells nothing."""
    if usage is None:
        return _NOTHING
    counts = (usage.prompt, usage.completion, usage.cached, usage.written)
    if min(counts) >= 0 and max(counts) <= MOST_TOKENS:
        return usage
    prompt, completion, cached, written = (min(max(count, 0), MOST_TOKENS) for count in counts)
    return Usage(prompt=prompt, completion=completion, cached=cached, written=written)


def read_prices(tables: Mapping[str, object], currencies: Mapping[str, object], problems: list[str]) -> Prices:
    """The `[[price]]` tables, and the `currency` of each file that has one, by place. Each thing wrong adds a line."""
    table = [read_table(item, Price, where, problems) for where, item in tables.items()]
    return Prices(tuple(price for price in table if price is not None), _currency(currencies, problems))


def _currency(currencies: Mapping[str, object], problems: list[str]) -> str:
    named: Sequence[tuple[str, object]] = list(currencies.items())
    for where, currency in named:
        if not isinstance(currency, str) or not 0 < len(currency) <= 20 or not currency.isprintable():
            problems.append(f"{where}: Expected 1 to 20 printable characters such as USD, got {currency!r}")
        elif currency != named[0][1]:
            problems.append(
                f"{where}: `{currency}`, but {named[0][0]} is `{named[0][1]}`: all prices have one currency"
            )
    return str(named[0][1]) if named else "USD"
