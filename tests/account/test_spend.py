"""What was spent and saved adds up, whatever happens between nodes and their store."""

import asyncio
import logging
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from accounting import MIDNIGHT, ONE, PRICES, SHOP, Clock, Rules, Storage, Unsure, node
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecache.account import accounts as timing
from edgecache.account import spend
from edgecache.core.entry import Scope
from edgecache.core.prices import NANO, Spend, Sum
from edgecache.core.reply import Usage
from edgecache.errors import StoreUnavailable
from edgecache.storage.redis import RedisStorage
from edgecache.storage.sqlite import SqliteStorage
from edgecache.testing.redis_server import RedisServer

TODAY, TOMORROW = "2026-11-20", "2026-11-21"


def one(answers: int = 1, money: int = 2) -> Sum:
    return Sum(answers, answers * ONE.prompt, answers * ONE.completion, answers * money * NANO)


async def test_spent_and_saved_by_scope_route_and_day(storage: Storage) -> None:
    clock = Clock(MIDNIGHT + 86_399)
    accounts = node(storage.meters, Rules(PRICES), clock)
    accounts.spent(SHOP, "chat", "gpt", ONE)
    accounts.saved(SHOP, "chat", "gpt", ONE)
    accounts.saved(SHOP, "chat", "gpt", ONE)
    accounts.spent(Scope("local"), "other", "gpt", None)
    clock.now += 1
    accounts.spent(SHOP, "chat", "free", ONE)
    report = await accounts.report(days=3)
    assert sorted(report.scopes, key=lambda row: row.scope + row.currency) == [
        Spend("", "local", "other", "USD", Sum(1), Sum()),
        Spend("", SHOP, "chat", "", one(1, 0), Sum()),
        Spend("", SHOP, "chat", "USD", one(1), one(2)),
    ]
    assert sorted(report.days, key=lambda row: row.day + row.route) == [
        Spend(TODAY, "", "chat", "USD", one(1), one(2)),
        Spend(TODAY, "", "other", "USD", Sum(1), Sum()),
        Spend(TOMORROW, "", "chat", "", one(1, 0), Sum()),
    ]
    assert report.unpriced == ("free",)
    assert (await accounts.report(1, TOMORROW)).scopes == [Spend(TOMORROW, SHOP, "chat", "", one(1, 0), Sum())]
    assert {(row.route, row.currency): row.saved.answers for row in accounts.routes()} == {
        ("chat", "USD"): 2, ("chat", ""): 0, ("other", "USD"): 0
    }  # fmt: skip


async def test_a_new_price_holds_from_its_reload_and_a_new_currency_stands_apart(storage: Storage) -> None:
    rules = Rules(PRICES)
    accounts = node(storage.meters, rules, Clock())
    accounts.spent(SHOP, "chat", "gpt", ONE)
    rules.put(PRICES.replace("input = 1", "input = 3"))
    accounts.spent(SHOP, "chat", "gpt", ONE)
    rules.put(f'currency = "EUR"\n{PRICES}')
    accounts.spent(SHOP, "chat", "gpt", ONE)
    money = {row.currency: row.spent.money for row in (await accounts.report(0)).scopes}
    assert money == {"USD": (2 + 4) * NANO, "EUR": 2 * NANO}


async def test_a_batch_that_may_have_arrived_is_sent_again_and_counts_once(storage: Storage) -> None:
    line = Unsure(storage.meters)
    accounts = node(line, Rules(PRICES), Clock())
    accounts.spent(SHOP, "chat", "gpt", ONE)
    for failure in ("before", "after"):
        setattr(line, failure, True)
        with pytest.raises(StoreUnavailable):
            await accounts.flush()
        setattr(line, failure, False)
        accounts.spent(SHOP, "chat", "gpt", ONE)
    (row,) = (await accounts.report(0)).scopes
    assert row.spent == one(3)
    assert (accounts.statistics().spend.waiting, accounts.statistics().spend.batches) == (0, 2)


async def test_many_scopes_go_in_several_batches(storage: Storage) -> None:
    accounts = node(storage.meters, Rules(PRICES), Clock())
    for number in range(250):
        accounts.saved(Scope(f"s{number}"), "chat", "gpt", ONE)
    await asyncio.gather(accounts.flush(), accounts.flush())
    rows = await storage.meters.scopes()
    assert (len(rows), {row.saved.answers for row in rows}, accounts.statistics().spend.batches) == (250, {1}, 3)


async def test_memory_is_bounded_and_nothing_is_lost_but_names(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spend, "MOST_ROWS", 5)
    accounts = node(storage.meters, Rules(PRICES), Clock())
    for number in range(20):
        accounts.saved(Scope(f"s{number}"), "chat", "gpt", ONE)
        accounts.saved(Scope("s0"), "chat", "gpt", ONE)
    assert accounts.statistics().spend.waiting == 6
    found = {row.scope: row.saved.answers for row in (await accounts.report(0)).scopes}
    assert found == {"s0": 21, "s1": 1, "s2": 1, "s3": 1, "s4": 1, "*": 15}


async def test_names_of_models_are_bounded(storage: Storage) -> None:
    accounts = node(storage.meters, Rules(), Clock())
    for number in range(200):
        accounts.spent(SHOP, "chat", f"{number} {'x' * 1_000}", ONE)
    unpriced = (await accounts.report(0)).unpriced
    assert (len(unpriced), {len(name) for name in unpriced}) == (100, {200})


async def test_it_is_sent_in_the_background_and_when_the_node_stops(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "FLUSH", 0.001)
    accounts = node(storage.meters, Rules(PRICES), Clock())
    await accounts.open()
    await accounts.open()
    accounts.spent(SHOP, "chat", "gpt", ONE)
    async with asyncio.timeout(20):
        while not await storage.meters.scopes():
            await asyncio.sleep(0)
    monkeypatch.setattr(timing, "FLUSH", 1_000)
    accounts.spent(SHOP, "chat", "gpt", ONE)
    await accounts.close()
    await accounts.close()
    (row,) = await storage.meters.scopes()
    assert row.spent == one(2)


async def test_what_a_node_cannot_send_until_it_stops_is_in_its_log(
    storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    line = Unsure(storage.meters)
    accounts = node(line, Rules(PRICES), Clock())
    accounts.spent(SHOP, "chat", "gpt", ONE)
    line.before = True
    with caplog.at_level(logging.ERROR):
        await accounts.close()
    assert "SPEND NOT COUNTED" in caplog.text and "waiting=1" in caplog.text


async def test_a_redis_that_was_killed_has_everything_once_it_is_back(redis_installed: None) -> None:
    async with RedisServer() as server:
        storage = RedisStorage(server.url)
        await storage.open()
        nodes = [node(storage.meters, Rules(PRICES), Clock(), f"n{number}") for number in range(2)]
        for accounts in nodes:
            accounts.spent(SHOP, "chat", "gpt", ONE)
            await accounts.flush()
        await asyncio.to_thread(server.kill)
        for accounts in nodes:
            accounts.spent(SHOP, "chat", "gpt", ONE)
            with pytest.raises(StoreUnavailable):
                await accounts.flush()
            accounts.spent(SHOP, "chat", "gpt", ONE)
        await asyncio.to_thread(server.start)
        for accounts in nodes:
            await flushed(accounts)
        (row,) = await storage.meters.scopes()
        assert row.spent == one(6)
        await storage.close()


async def flushed(accounts: timing.Accounts) -> None:
    """As soon as the store is back: redis-py may first find out that a connection is gone."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await accounts.flush()
            except StoreUnavailable:
                await asyncio.sleep(0.01)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["spent", "saved"]), st.integers(0, 1), st.integers(0, 2), st.integers(0, 10**8)),
        st.tuples(st.sampled_from(["flush", "lost before", "lost after", "restart"]), st.integers(0, 1)),
    ),
    max_size=30,
)


@given(STEPS)
@settings(max_examples=40, deadline=None)
def test_spend_adds_up_over_nodes_restarts_and_failures(steps: list[tuple[str, int, int, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_add_up(Path(folder) / "edgecache.db", steps))


async def _add_up(path: Path, steps: list[tuple[str, int, int, int]]) -> None:
    storage = SqliteStorage(path)
    await storage.open()
    rules, clock, told = Rules(PRICES), Clock(), Counter[str]()
    lines = [Unsure(storage.meters), Unsure(storage.meters)]
    nodes = [node(line, rules, clock, f"n{number}") for number, line in enumerate(lines)]
    for count, (what, at, *answer) in enumerate(steps):
        if what in ("spent", "saved"):
            scope, tokens = answer
            told[f"{what} {scope}"] += tokens
            getattr(nodes[at], what)(Scope(str(scope)), "chat", "gpt", Usage(prompt=tokens))
            clock.now += 10_000
        elif what == "restart":
            await nodes[at].close()
            nodes[at] = node(lines[at], rules, clock, f"n{at} {count}")
        else:
            lines[at].before, lines[at].after = what == "lost before", what == "lost after"
            try:
                await nodes[at].flush()
            except StoreUnavailable:
                assert what != "flush"
            lines[at].before = lines[at].after = False
    for accounts in nodes:
        await accounts.close()
    found = Counter[str]()
    for row in await storage.meters.scopes():
        for what, total in (("spent", row.spent), ("saved", row.saved)):
            found[f"{what} {row.scope}"] += total.prompt
            assert total.money == total.prompt * 1_000
    days = [timing.day_of(int(MIDNIGHT // 86_400) + number) for number in range(6)]
    by_day = await storage.meters.days(days)
    assert +found == +told
    assert sum(row.spent.prompt + row.saved.prompt for row in by_day) == told.total()
    await storage.close()
