"""The tables of the policy and their arithmetic."""

from fractions import Fraction
from typing import Any

import pytest
from accounting import parse
from hypothesis import given
from hypothesis import strategies as st

from edgecache.core.policy import Policy, parse_policy
from edgecache.core.prices import MOST_TOKENS, NANO, Price, believed
from edgecache.core.reply import Usage
from edgecache.errors import InvalidPolicy

HOUR = 'per = "1h"\nrequests = 1\n'


def price(**of: Any) -> Price:
    return Price(**{"models": ("*",), "input": 2.5, "output": 10.0} | of)


def problems(*files: str) -> list[str]:
    with pytest.raises(InvalidPolicy) as caught:
        read(*files)
    return caught.value.problems


def read(*files: str) -> Policy:
    return parse_policy({f"{number}.toml": file.encode() for number, file in enumerate(files, 1)})


def test_the_kinds_of_tokens_have_their_own_prices() -> None:
    usage = Usage(prompt=1_000, completion=100, cached=600, written=300, reasoning=50)
    assert price().cost(usage) == 3_500_000
    assert price(cached_input=1.25).cost(usage) == 3_500_000 - 750_000
    assert price(cached_input=1.25, cache_write=3.125).cost(usage) == 3_500_000 - 750_000 + 187_500
    assert price(cached_input=0).cost(usage) == 3_500_000 - 1_500_000
    assert price().cost(Usage(prompt=10, cached=20)) == 20 * 2_500


def test_cheap_tokens_are_not_rounded_away() -> None:
    """A millionth of a unit for a million tokens is a thousandth of a billionth for one."""
    assert price(input=0.000001).cost(Usage(prompt=1_499)) == 1
    assert price(input=0.000001).cost(Usage(prompt=1_500)) == 2
    assert price(input=0.01875).cost(Usage(prompt=4)) == 75


@given(st.integers(0, 10**10), st.integers(0, MOST_TOKENS))
def test_cost_is_the_nearest_billionth(millionths: int, count: int) -> None:
    exact = Fraction(millionths, 10**6) * count / 10**6 * NANO
    assert abs(price(input=millionths / 10**6).cost(Usage(prompt=count)) - exact) <= Fraction(1, 2)


def test_an_upstream_is_believed_within_bounds() -> None:
    assert believed(None) == Usage()
    assert believed(usage := Usage(prompt=MOST_TOKENS, completion=0)) is usage
    absurd = Usage(prompt=10**30, completion=-5, cached=-1, written=MOST_TOKENS + 1)
    assert believed(absurd) == Usage(prompt=MOST_TOKENS, written=MOST_TOKENS)


def test_the_first_price_that_matches_holds() -> None:
    both = '[[price]]\nmodels = ["{}"]\ninput = {}\noutput = 0\n'
    prices = parse(both.format("gpt-mini*", 1) + both.format("gpt*", 2)).prices
    found = {name: prices.of(name) for name in ("gpt-mini-1", "gpt-4", "GPT-4", "other")}
    assert {name: each and each.input for name, each in found.items()} == {
        "gpt-mini-1": 1, "gpt-4": 2, "GPT-4": None, "other": None
    }  # fmt: skip
    assert prices.currency == "USD"


def test_prices_and_limits_of_all_files_are_in_force_and_change_no_route() -> None:
    policy = read(
        'currency = "EUR"\n[[route]]\nname = "a"\n', f'[[limit]]\n{HOUR}routes = ["a"]\n', 'currency = "EUR"\n'
    )
    assert (policy.prices.currency, len(policy.limits), [route.name for route in policy.routes]) == ("EUR", 1, ["a"])


def test_every_mistake_is_told_with_its_place() -> None:
    found = problems(
        'currency = "USD"\n[[price]]\nmodels = []\ninput = -1\noutput = nan\ncached = 1\n',
        'currency = "EUR"\n[limit]\nper = "1h"\n',
        "currency = 3\n" + f"[[limit]]\n{HOUR}" * 2,
        '[[limit]]\nper = "1h"\nrequests = 0\ntokens = 1.5\nmoney = inf\n[[limit]]\nper = "1h"\n',
        '[[limit]]\nper = "0.5s"\nmoney = 0.0000000001\n',
        f'[[limit]]\nroutes = ["a", "b*"]\n{HOUR}[[route]]\nname = "a"\n[[prices]]\n',
        '[[price]]\nmodels = ["*"]\n[[limit]]\nwhen_unavailable = "maybe"\n',
    )
    text = "\n".join(found)
    for line in (
        "1.toml: price[1].models: Expected `array` of length >= 1",
        "1.toml: price[1].input: Expected `float` >= 0.0",
        "1.toml: price[1].output: Expected `float` >= 0.0",
        "1.toml: price[1].cached: unknown key",
        "2.toml: currency: `EUR`, but 1.toml: currency is `USD`: all prices have one currency",
        "2.toml: limit: write [[limit]], with two brackets",
        "3.toml: currency: Expected 1 to 20 printable characters such as USD, got 3",
        "3.toml: limit[2]: counts the same as 3.toml: limit[1]: write one limit",
        "4.toml: limit[1].requests: Expected `int` >= 1",
        "4.toml: limit[1].tokens: Expected `int | null`, got `float`",
        "4.toml: limit[1].money: Expected `float` <= 1000000000.0",
        "4.toml: limit[2]: limits nothing: give it `requests`, `tokens` or `money`",
        "5.toml: limit[1].per: Expected 1s to 366d, got 0.5 s",
        "5.toml: limit[1].money: Expected a billionth at least, got 1e-10",
        "6.toml: limit[1].routes: no route is called `b*`",
        "6.toml: prices: unknown key",
        "7.toml: price[1].input: required",
        "7.toml: limit[1].when_unavailable: Invalid enum value 'maybe'; known are allow, refuse",
        "7.toml: limit[1].per: required",
    ):
        assert line in text
