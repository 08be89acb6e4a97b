"""What the port `Meters` promises, of every implementation."""

import asyncio
import json
import sqlite3
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from storage_samples import Storage

from edgecache.core.limits import Bound, Count, Counter, Debt, Most
from edgecache.core.prices import OTHERS, Spend, Sum
from edgecache.errors import StoreUnavailable
from edgecache.storage.redis import RedisStorage
from edgecache.storage.sqlite import SqliteStorage
from edgecache.testing.redis_server import RedisServer

DAY, NEXT = "2026-11-20", "2026-11-21"
ODD = "é\x00\ud800 [\"]'"


def row(scope: str = "a", *, day: str = DAY, route: str = "chat", currency: str = "USD", **counts: Any) -> Spend:
    """One answer of 10 and 3 tokens that cost 7, and one of the same from cache."""
    counts = {"spent": Sum(1, 10, 3, 7), "saved": Sum(1, 10, 3, 7)} | counts
    return Spend(day, scope, route, currency, **counts)


def by_name(rows: Any) -> dict[tuple[str, str, str, str], Spend]:
    found = {(each.day, each.scope, each.route, each.currency): each for each in rows}
    assert len(found) == len(rows)
    return found


def counter(scope: str = "a", limit: str = "l", window: int = 100, per: float = 60.0) -> Counter:
    return Counter(scope, limit, window, per)


def bound(most: Most, **of: Any) -> Bound:
    return Bound(counter(**of), most)


def debt(counts: Mapping[Counter, Count] | None = None, number: int = 1, node: str = "n") -> Debt:
    counts = counts or {}
    return Debt(next((each.scope for each in counts), "a"), node, number, counts)


NONE = debt(number=0)


async def test_nothing_at_first(storage: Storage) -> None:
    assert await storage.meters.scopes() == []
    assert await storage.meters.scopes(DAY) == []
    assert await storage.meters.days([DAY, NEXT]) == []


async def test_spend_by_scope_and_by_route_by_day_and_ever(storage: Storage) -> None:
    rows = [row("a"), row("b"), row("b", route="other"), row("b", day=NEXT), row("b", currency="")]
    await storage.meters.add("node", 1, rows)
    ever = by_name(await storage.meters.scopes())
    assert ever == by_name(
        [
            row("a", day=""),
            row("b", day="", spent=Sum(2, 20, 6, 14), saved=Sum(2, 20, 6, 14)),
            row("b", day="", route="other"),
            row("b", day="", currency=""),
        ]
    )
    assert by_name(await storage.meters.scopes(DAY)) == by_name([*rows[:3], rows[4]])
    assert by_name(await storage.meters.scopes(NEXT)) == by_name([rows[3]])
    assert by_name(await storage.meters.days([NEXT, DAY, "2026-11-22"])) == by_name(
        [
            row("", spent=Sum(2, 20, 6, 14), saved=Sum(2, 20, 6, 14)),
            row("", route="other"),
            row("", day=NEXT),
            row("", currency=""),
        ]
    )


async def test_a_batch_that_is_told_twice_counts_once(storage: Storage) -> None:
    for node, number in (("one", 1), ("one", 1), ("two", 1), ("one", 2), ("two", 1), ("one", 1)):
        await storage.meters.add(node, number, [row(spent=Sum(1, 2, 3, 4), saved=Sum())])
    assert await storage.meters.scopes() == [row(day="", spent=Sum(3, 6, 9, 12), saved=Sum())]


async def test_names_may_hold_anything_and_sums_are_whole_to_the_last(storage: Storage) -> None:
    large = 2**62
    for number in (1, 2):
        await storage.meters.add("n", number, [row(ODD, route=ODD, currency=ODD, spent=Sum(1, 1, 1, large - number))])
    (found,) = await storage.meters.scopes(DAY)
    assert (found.scope, found.route, found.currency, found.spent.money) == (ODD, ODD, ODD, 2 * large - 3)
    (found,) = await storage.meters.days([DAY])
    assert (found.scope, found.spent.money) == ("", 2 * large - 3)


async def test_many_rows_are_all_read(storage: Storage) -> None:
    for number in range(1, 5):
        await storage.meters.add("n", number, [row(f"s{number}-{at}") for at in range(400)])
    assert len(by_name(await storage.meters.scopes(DAY))) == 1_600


async def test_scopes_beyond_the_most_are_added_up(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that have a row go on; what comes to the others is lost in name only."""
    monkeypatch.setattr(storage.meters, "_most", 2)
    for number, scope in enumerate(["a", "b", "c", "d", "a"], 1):
        await storage.meters.add("n", number, [row(scope)])
    twice = Sum(2, 20, 6, 14)
    expected = [row("a", spent=twice, saved=twice), row("b"), row(OTHERS, spent=twice, saved=twice)]
    assert by_name(await storage.meters.scopes(DAY)) == by_name(expected)


async def test_a_request_is_counted_in_every_counter_or_in_none(storage: Storage) -> None:
    small, large = bound(Most(requests=2), limit="small"), bound(Most(requests=9), limit="large")
    for before in (0, 1):
        taken = await storage.meters.take([small, large], NONE)
        assert (taken.admitted, taken.counts) == (True, (Count(before), Count(before)))
    refused = await storage.meters.take([large, small], NONE)
    assert (refused.admitted, refused.counts) == (False, (Count(2), Count(2)))
    other = await storage.meters.take([bound(Most(requests=1), limit="small", scope="b")], Debt("b", "n", 0, {}))
    following = await storage.meters.take([bound(Most(requests=1), limit="small", window=101)], NONE)
    assert other.admitted and following.admitted


async def test_of_many_at_once_as_many_are_admitted_as_may_be(storage: Storage) -> None:
    taken = await asyncio.gather(*(storage.meters.take([bound(Most(requests=7))], NONE) for _ in range(40)))
    assert sum(each.admitted for each in taken) == 7


@pytest.mark.parametrize("most", [Most(tokens=100), Most(money=10**17)], ids=["tokens", "money"])
async def test_what_is_owed_counts_before_the_bound_is_looked_at(storage: Storage, most: Most) -> None:
    owed = Count(0, 99, 10**17 - 1)
    assert (await storage.meters.take([bound(most)], debt({counter(): owed}))).admitted
    more = debt({counter(): Count(2, 1, 1), counter(limit="x"): Count(1)}, 2)
    taken = await storage.meters.take([bound(most)], more)
    assert (taken.admitted, taken.counts) == (False, (Count(3, 100, 10**17),))
    (other,) = (await storage.meters.take([bound(Most(), limit="x")], NONE)).counts
    assert other == Count(1)


async def test_a_debt_that_is_told_twice_counts_once(storage: Storage) -> None:
    one = {counter(): Count(1, 2, 3)}
    for each in (debt(one), debt(one), debt(one, 3), debt(one, 2), debt(one, node="other"), debt(one, 3)):
        await storage.meters.charge([each])
        await storage.meters.take([bound(Most())], each)
    (count,) = (await storage.meters.take([bound(Most())], NONE)).counts
    assert (count.requests - 6, count.tokens, count.money) == (3, 6, 9)


async def test_scopes_are_charged_together(storage: Storage) -> None:
    await storage.meters.charge([])
    await storage.meters.charge([debt({counter(f"s{at}", of): Count(1, at, 5) for of in "lm"}) for at in range(300)])
    for at in (0, 299):
        taken = await storage.meters.take(
            [bound(Most(), scope=f"s{at}", limit=of) for of in "lm"], Debt(f"s{at}", "n", 0, {})
        )
        assert taken.counts == (Count(1, at, 5),) * 2


async def test_a_scope_may_be_called_anything(storage: Storage) -> None:
    await storage.meters.charge([debt({counter(ODD): Count(1, 1, 1)})])
    assert (await storage.meters.take([bound(Most(), scope=ODD)], Debt(ODD, "n", 0, {}))).counts == (Count(1, 1, 1),)


async def test_counts_survive_a_restart(make_storage: Callable[[], Storage]) -> None:
    for number in range(3):
        storage = make_storage()
        await storage.open()
        await storage.meters.add("n", number + 1, [row()])
        taken = await storage.meters.take([bound(Most(requests=9))], NONE)
        assert taken.counts == (Count(number),)
        (found,) = await storage.meters.scopes()
        assert found.spent.answers == number + 1
        await storage.close()


async def test_redis_keeps_nothing_for_ever_but_the_sums(redis_server: RedisServer) -> None:
    storage = RedisStorage(redis_server.url, "test-expiry")
    await storage.open()
    await storage.meters.add("spender", 1, [row()])
    await storage.meters.take([bound(Most(requests=1))], debt({counter(limit="owed"): Count()}))
    client = storage.meters._client
    names = [name.decode() for name in await client.call("KEYS", "{test-expiry:[sl][pi]*")]
    kept = {name.partition("}:")[2]: await client.call("EXPIRETIME", name) for name in names}
    assert kept.pop("all") == -1
    days = {DAY: 100, f"routes {DAY}": 400, "node:spender": 30, "node:n": 1}
    now = time.time()
    assert {name: round((at - now) / 86_400) for name, at in kept.items()} == days | {"l:100": 0, "owed:100": 0}
    assert min(kept.values()) - now > 3_000
    await storage.close()


async def test_sqlite_forgets_days_windows_and_nodes(tmp_path: Path) -> None:
    storage = SqliteStorage(tmp_path / "edgecache.db")
    await storage.open()
    days = ["2026-01-01", "2026-01-02", "2026-04-12", "2027-02-06"]
    for number, day in enumerate(days):
        await storage.meters.add(f"node {number}", 1, [row(day=day)])
    assert [bool(await storage.meters.scopes(day)) for day in days] == [False, False, False, True]
    assert {each.day for each in await storage.meters.days(days)} == set(days[1:])
    (ever,) = await storage.meters.scopes()
    assert ever.spent.answers == 4
    for window in range(63):  # of a minute: an hour, and the one before it
        await storage.meters.take([bound(Most(), window=window)], NONE)
    with sqlite3.connect(tmp_path / "edgecache.db") as connection:
        names = [json.loads(name)[2] for (name,) in connection.execute("SELECT name FROM limit_counts")]
    connection.close()
    assert sorted(names) == list(range(1, 63))
    await storage.close()


async def test_a_reader_finds_nothing_where_nothing_was_counted(tmp_path: Path) -> None:
    writer = SqliteStorage(tmp_path / "edgecache.db")
    await writer.open()
    reader = SqliteStorage(tmp_path / "edgecache.db", read_only=True)
    await reader.open()
    assert await reader.meters.scopes() == []
    with pytest.raises(StoreUnavailable):
        await reader.meters.take([bound(Most())], NONE)
    await writer.meters.add("n", 1, [row()])
    assert await reader.meters.scopes() == [row(day="")]
    await reader.close()
    await writer.close()
