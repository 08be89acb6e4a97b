"""Limits: who is admitted, over all nodes, with and without the store."""

import asyncio
import tempfile
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from accounting import MIDNIGHT, ONE, PRICES, SHOP, Clock, Rules, Storage, Unsure, node, refused
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecache.account import limiter
from edgecache.account import owed as owing
from edgecache.account.accounts import Accounts
from edgecache.account.owed import Owed
from edgecache.core.entry import Scope
from edgecache.core.limits import Count, Counter, Debt
from edgecache.core.reply import Usage
from edgecache.errors import LimitReached, Overloaded, StoreUnavailable
from edgecache.storage.redis import RedisStorage
from edgecache.storage.sqlite import SqliteStorage
from edgecache.testing.redis_server import RedisServer

OTHER, THIRD = Scope("token:other"), Scope("token:third")


def limit(*lines: str) -> str:
    return "\n".join(["[[limit]]", 'scopes = ["token:*"]', *lines, ""])


TEN = limit('per = "1m"', "requests = 10")


async def test_as_many_as_may_ask_are_admitted_and_the_next_window_begins_at_nothing(storage: Storage) -> None:
    clock = Clock(MIDNIGHT + 29.5)
    accounts = node(storage.meters, Rules(TEN), clock)
    assert [await refused(accounts) for _ in range(10)] == [None] * 10
    error = await refused(accounts)
    assert error is not None
    assert (error.status, error.code, error.retry_after) == (429, "rate_limit_exceeded", 31)
    assert error.message == (
        "You have reached a limit of this edgecache: 10 requests in 1m. Ask again in 31 seconds, "
        "or have its operator raise the limit."
    )
    assert await refused(accounts, OTHER) is None
    assert await refused(accounts, Scope("local")) is None
    clock.now += error.retry_after - 1
    assert await refused(accounts) is not None
    clock.now += 1
    assert await refused(accounts) is None
    assert accounts.limited() == {"chat": 2}
    statistics = accounts.statistics().limits
    assert (statistics.admitted, statistics.refused, statistics.alone) == (12, 2, 0)


async def test_nodes_share_a_limit_exactly(redis_server: RedisServer) -> None:
    """Each with connections of its own, and all requests at once: 50 are admitted in all."""
    prefix = f"test-{uuid.uuid4().hex}"
    storages = [RedisStorage(redis_server.url, prefix) for _ in range(2)]
    for storage in storages:
        await storage.open()
    rules, clock = Rules(limit('per = "1h"', "requests = 50")), Clock()
    nodes = [node(storage.meters, rules, clock, f"n{at}") for at, storage in enumerate(storages)]
    found = await asyncio.gather(*(refused(nodes[at % 2]) for at in range(150)))
    assert found.count(None) == 50
    admitted = [each.statistics().limits.admitted for each in nodes]
    assert sum(admitted) == 50 and min(admitted) > 0
    for storage in storages:
        await storage.close()


@pytest.mark.parametrize(
    ("bound", "told"), [("money = 5", "5 USD in 1d"), ("tokens = 4_000_000", "4,000,000 tokens in 1d")]
)
async def test_money_and_tokens_are_shared_and_known_when_an_answer_has_ended(
    storage: Storage, bound: str, told: str
) -> None:
    """Three answers of 2 USD and 1.5 million tokens: the bound is passed by the third."""
    rules, clock = Rules(PRICES + limit('per = "1d"', bound)), Clock(MIDNIGHT + 3_600)
    here, there = (node(storage.meters, rules, clock, name) for name in ("here", "there"))
    for accounts in (here, there, here):
        assert await refused(accounts) is None
        accounts.spent(SHOP, "chat", "gpt", ONE)
    error = await refused(here)  # its own take it along, the other's was not sent yet
    assert error is None
    await there.flush()
    for accounts in (here, there):
        error = await refused(accounts)
        assert error is not None and told in error.message
        assert error.retry_after == 23 * 3_600
    assert await refused(there, OTHER) is None


async def test_what_a_node_spent_counts_at_its_next_request(storage: Storage) -> None:
    accounts = node(storage.meters, Rules(PRICES + limit('per = "1d"', "money = 2")), Clock())
    accounts.spent(SHOP, "chat", "gpt", ONE)
    assert await refused(accounts) is not None


async def test_what_was_spent_is_told_to_others_at_once(storage: Storage) -> None:
    rules, clock = Rules(PRICES + limit('per = "1d"', "money = 2")), Clock()
    here, there = (node(storage.meters, rules, clock, name) for name in ("here", "there"))
    await here.open()
    here.spent(SHOP, "chat", "gpt", ONE)
    async with asyncio.timeout(20):
        while here.statistics().limits.owed:
            await asyncio.sleep(0)
        while await refused(there) is None:
            await asyncio.sleep(0)
    await here.close()


async def test_hits_count_only_where_a_limit_says_so(storage: Storage) -> None:
    """With `hits` a limit sees no cache: requests, tokens and money."""
    text = limit('per = "1d"', "requests = 2") + limit('per = "1d"', "hits = true", "money = 6", "requests = 4")
    accounts = node(storage.meters, Rules(PRICES + text), Clock())
    for _ in range(3):
        await accounts.arrive(SHOP, "chat")
        accounts.saved(SHOP, "chat", "gpt", ONE)
    with pytest.raises(LimitReached, match="6 USD"):
        await accounts.arrive(SHOP, "chat")
    assert [await refused(accounts) is None for _ in range(3)] == [True, True, False]
    for _ in range(4):
        await accounts.arrive(OTHER, "chat")
    with pytest.raises(LimitReached, match="4 requests"):
        await accounts.arrive(OTHER, "chat")
    accounts.spent(THIRD, "chat", "gpt", Usage(prompt=6_000_000))  # what was asked for counts by both kinds
    with pytest.raises(LimitReached, match="6 USD"):
        await accounts.arrive(THIRD, "chat")


async def test_all_limits_that_match_apply_and_the_longest_wait_is_told(storage: Storage) -> None:
    text = "".join(limit(f'per = "{per}"', "requests = 1", 'routes = ["cha*"]') for per in ("1m", "90s", "1h"))
    accounts = node(storage.meters, Rules(text + limit('per = "1d"', "requests = 2")), Clock(MIDNIGHT + 10))
    assert await refused(accounts) is None
    error = await refused(accounts)
    assert error is not None and error.retry_after == 3_590 and "1 requests in 1h" in error.message
    assert await refused(accounts, route="other") is None  # what was refused was counted nowhere
    error = await refused(accounts, route="other")
    assert error is not None and "2 requests in 1d" in error.message


async def test_a_raised_limit_goes_on_counting_and_a_limit_taken_away_is_gone(storage: Storage) -> None:
    rules = Rules(TEN)
    accounts = node(storage.meters, rules, Clock())
    for _ in range(10):
        assert await refused(accounts) is None
    assert await refused(accounts) is not None
    rules.put(TEN.replace("10", "11"))
    assert await refused(accounts) is None
    assert await refused(accounts) is not None
    rules.put("")
    assert await refused(accounts) is None


async def test_who_has_no_limit_costs_the_store_nothing() -> None:
    """There is none."""
    accounts = node(None, Rules(PRICES + TEN), Clock())  # type: ignore[arg-type]
    await accounts.arrive(SHOP, "chat")
    await accounts.admit(Scope("local"), "chat")
    accounts.spent(Scope("local"), "chat", "gpt", ONE)
    assert accounts.statistics().limits.owed == 0


# --- without the store ------------------------------------------------------------------------------------------------


async def test_a_node_alone_goes_by_what_it_knows_and_tells_it_later(storage: Storage) -> None:
    line = Unsure(storage.meters)
    rules, clock = Rules(PRICES + limit('per = "1d"', "requests = 10", "money = 100")), Clock()
    here, there = node(line, rules, clock, "here"), node(storage.meters, rules, clock, "there")
    for accounts in (here, there, there, here):
        assert await refused(accounts) is None  # so that this node has heard of four
    line.before = True
    found = [await refused(here) for _ in range(8)]
    assert [each is None for each in found] == [True] * 6 + [False] * 2
    assert here.statistics().limits.alone == 8
    line.before = False
    assert await refused(there) is None
    await here.flush()
    assert await refused(there) is not None
    assert await refused(here) is not None


async def test_money_spent_alone_counts(storage: Storage) -> None:
    line = Unsure(storage.meters)
    accounts = node(line, Rules(PRICES + limit('per = "1d"', "money = 5")), Clock())
    line.before = True
    for _ in range(3):
        assert await refused(accounts) is None
        accounts.spent(SHOP, "chat", "gpt", ONE)
    assert await refused(accounts) is not None


async def test_a_limit_may_refuse_while_the_store_is_away(storage: Storage) -> None:
    line = Unsure(storage.meters)
    accounts = node(line, Rules(limit('per = "1d"', "requests = 10", 'when_unavailable = "refuse"')), Clock())
    assert await refused(accounts) is None
    line.before = True
    with pytest.raises(Overloaded) as caught:
        await accounts.admit(SHOP, "chat")
    assert (caught.value.status, caught.value.retry_after) == (503, 1)
    line.before = False
    for _ in range(9):
        assert await refused(accounts) is None
    assert await refused(accounts) is not None


async def test_a_request_of_which_nobody_knows_whether_it_was_counted_never_counts_less(storage: Storage) -> None:
    line = Unsure(storage.meters)
    accounts = node(line, Rules(PRICES + TEN), Clock())
    accounts.spent(SHOP, "chat", "gpt", Usage(prompt=1))
    line.after = True
    for _ in range(3):
        assert await refused(accounts) is None
    line.after = False
    admitted = sum([await refused(accounts) is None for _ in range(10)])
    assert admitted == 10 - 2 * 3


async def test_a_caller_who_leaves_takes_nothing_of_what_is_owed_along() -> None:
    begun, told = asyncio.Event(), []

    class Hanging:
        async def take(self, bounds: object, debt: Debt) -> None:
            told.append(debt)
            begun.set()
            await asyncio.Event().wait()

        async def charge(self, debts: list[Debt]) -> None:
            told.extend(debts)

    accounts = node(Hanging(), Rules(PRICES + TEN), Clock())  # type: ignore[arg-type]
    accounts.spent(SHOP, "chat", "gpt", ONE)
    task = asyncio.create_task(accounts.admit(SHOP, "chat"))
    await begun.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert accounts.statistics().limits.owed == 1
    await accounts._limiter.flush()
    assert told[0] == told[1] and told[0].counts
    assert accounts.statistics().limits.owed == 0


@pytest.fixture
async def killed(redis_installed: None) -> AsyncIterator[tuple[RedisServer, RedisStorage]]:
    """A server of the test's own."""
    async with RedisServer() as server:
        storage = RedisStorage(server.url)
        await storage.open()
        yield server, storage
        await storage.close()


async def test_a_redis_that_was_killed_and_is_back_knows_what_was_counted_meanwhile(
    killed: tuple[RedisServer, RedisStorage],
) -> None:
    server, storage = killed
    accounts = node(storage.meters, Rules(TEN), Clock())
    for _ in range(4):
        assert await refused(accounts) is None
    await asyncio.to_thread(server.kill)
    for _ in range(4):
        assert await refused(accounts) is None
    await asyncio.to_thread(server.start)
    await until_sent(accounts)
    fresh = node(storage.meters, Rules(TEN), Clock(), "fresh")
    assert [await refused(fresh) is None for _ in range(3)] == [True, True, False]


async def test_a_redis_that_hangs_is_told_again_and_counts_once(redis_installed: None) -> None:
    """It reads what lies in its sockets when it wakes, although nobody waits for the answers any more."""
    async with RedisServer() as server:
        storage = RedisStorage(f"{server.url}?socket_timeout=0.2")
        await storage.open()
        rules = Rules(limit('per = "1d"', "tokens = 1_000_000"))
        accounts = node(storage.meters, rules, Clock())
        accounts.spent(SHOP, "chat", "gpt", Usage(prompt=7))
        await asyncio.to_thread(server.pause)
        for _ in range(3):  # then it is left alone for a second
            with pytest.raises(StoreUnavailable):
                await accounts.flush()
            accounts.spent(SHOP, "chat", "gpt", Usage(prompt=7))
        await asyncio.to_thread(server.resume)
        await until_sent(accounts)
        (bound,) = (each.bound(SHOP, MIDNIGHT) for each in rules().limits)
        (count,) = (await storage.meters.take([bound], Debt(SHOP, "", 0, {}))).counts
        (row,) = await storage.meters.scopes()
        assert (count.tokens, row.spent.prompt, row.spent.answers) == (28, 28, 4)
        await storage.close()


async def until_sent(accounts: Accounts) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                return await accounts.flush()
            except StoreUnavailable:
                await asyncio.sleep(0.01)


async def test_what_is_remembered_for_then_is_bounded(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limiter, "KNOWN", 3)
    accounts = node(storage.meters, Rules(TEN), Clock())
    for number in range(9):
        assert await refused(accounts, Scope(f"token:{number}")) is None
    assert len(accounts._limiter._known) == 3


def test_what_is_owed_is_bounded_and_dropped_with_its_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owing, "MOST", 3)
    owed = Owed("n")
    for number in range(5):
        owed.add(Counter("s", "l", number, 60.0), Count(1))
        owed.add(Counter("s", "l", 0, 60.0), Count(1))
    assert (len(owed), owed.dropped) == (3, 2)
    (debt,) = owed.ship_all(now=120.0, most=5)
    assert debt.counts == {Counter("s", "l", 2, 60.0): Count(1)}
    assert owed.of(Counter("s", "l", 2, 60.0)) == Count(1)
    owed.arrived(debt)
    assert owed.of(Counter("s", "l", 2, 60.0)) == Count() and len(owed) == 0 and not owed.owes("s")


def test_a_debt_that_came_back_is_sent_as_it_was_and_one_at_a_time() -> None:
    owed = Owed("n")
    here, there = Counter("s", "l", 9, 60.0), Counter("t", "l", 9, 60.0)
    owed.add(here, Count(1))
    first = owed.ship("s", 0)
    owed.add(here, Count(1))
    owed.add(there, Count(1))
    assert owed.ship("s", 0).counts == {}
    assert [debt.scope for debt in owed.ship_all(0, 9)] == ["t"]
    owed.came_back(first)
    assert owed.of(here) == Count(2)
    assert owed.ship("s", 0) == first
    owed.arrived(first)
    second = owed.ship("s", 0)
    assert (second.counts, second.number > first.number) == ({here: Count(1)}, True)
    owed.came_back(second)
    assert owed.ship_all(600, 9) == [] and not owed.owes("s")


@given(
    st.lists(
        st.tuples(st.sampled_from(["spent", "asked", "flush"]), st.sampled_from(["", "before", "after"])), max_size=24
    )
)
@settings(max_examples=40, deadline=None)
def test_what_limits_count_is_what_was_spent_whatever_failed(steps: list[tuple[str, str]]) -> None:
    """Tokens exactly; requests at least, and each at most twice."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_counted(Path(folder) / "edgecache.db", steps))


async def _counted(path: Path, steps: list[tuple[str, str]]) -> None:
    storage = SqliteStorage(path)
    await storage.open()
    line, rules = Unsure(storage.meters), Rules(limit('per = "1d"', "tokens = 1_000_000_000", "requests = 1_000"))
    accounts, spent, asked, unsure = node(line, rules, Clock()), 0, 0, 0
    for number, (what, failure) in enumerate(steps):
        line.before, line.after = failure == "before", failure == "after"
        if what == "spent":
            spent += 1 << number
            accounts.spent(SHOP, "chat", "gpt", Usage(prompt=1 << number))
        elif what == "asked":
            await accounts.admit(SHOP, "chat")
            asked += 1
            unsure += failure == "after"
        else:
            try:
                await accounts.flush()
            except StoreUnavailable:
                assert failure
    line.before = line.after = False
    await accounts.close()
    (bound,) = (each.bound(SHOP, MIDNIGHT) for each in rules().limits)
    (count,) = (await storage.meters.take([bound], Debt(SHOP, "", 0, {}))).counts
    assert (count.tokens, count.requests) == (spent, asked + unsure)
    await storage.close()
