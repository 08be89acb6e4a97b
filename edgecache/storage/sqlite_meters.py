"""What was spent, saved and counted against limits, in SQLite."""

import json
import sqlite3
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from typing import TypeVar

from edgecache.core.limits import Bound, Count, Counter, Debt, Taken
from edgecache.core.prices import Spend
from edgecache.storage.meter_lines import EVER, MOST, ROUTES, ROUTES_KEPT, SCOPES_KEPT, Line, lines, spend
from edgecache.storage.sqlite_database import SqliteDatabase

T = TypeVar("T")

NODES = 100
"""Of which the last batch is remembered; each start of the process is one."""
DEBTS = 10_000
"""Of nodes and scopes of which the last debt is remembered: one that is told again is told soon."""
LATE = 3_600
"""Seconds for which a count is kept after its window: what is owed to it may still come."""

_TABLES = (
    """
    CREATE TABLE IF NOT EXISTS spend (
        period TEXT, name TEXT,
        answers INTEGER, prompt INTEGER, completion INTEGER, money INTEGER,
        saved_answers INTEGER, saved_prompt INTEGER, saved_completion INTEGER, saved_money INTEGER,
        PRIMARY KEY (period, name)
    ) WITHOUT ROWID
    """,
    "CREATE TABLE IF NOT EXISTS spend_nodes (id INTEGER PRIMARY KEY, node TEXT UNIQUE, number INTEGER)",
    """
    CREATE TABLE IF NOT EXISTS limit_counts (
        name TEXT PRIMARY KEY, ends REAL, requests INTEGER, tokens INTEGER, money INTEGER
    ) WITHOUT ROWID
    """,
    "CREATE INDEX IF NOT EXISTS limit_counts_by_end ON limit_counts (ends)",
    "CREATE TABLE IF NOT EXISTS limit_debts (id INTEGER PRIMARY KEY, name TEXT UNIQUE, number INTEGER)",
)
"""Made by the first write, so that a file of the version before needs no other schema."""
_COLUMNS = (
    "answers", "prompt", "completion", "money", "saved_answers", "saved_prompt", "saved_completion", "saved_money"
)  # fmt: skip
_ADD = f"""
INSERT INTO spend VALUES (?, ?, {", ".join("?" * len(_COLUMNS))}) ON CONFLICT DO UPDATE SET
{", ".join(f"{column} = {column} + excluded.{column}" for column in _COLUMNS)}
"""
_NUMBER = """
INSERT INTO spend_nodes (node, number) VALUES (?, ?) ON CONFLICT (node) DO UPDATE SET number = excluded.number
WHERE excluded.number > number
"""
_COUNT = """
INSERT INTO limit_counts VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
requests = requests + excluded.requests, tokens = tokens + excluded.tokens, money = money + excluded.money
"""


class SqliteMeters:
    """The port `Meters`. What was added survives kill -9, though perhaps not a power cut."""

    def __init__(self, database: SqliteDatabase, most: int = MOST) -> None:
        self._database = database
        self._most = most
        self._made = False

    def __repr__(self) -> str:
        return f"<SqliteMeters {self._database!r}>"

    # --- spend ----------------------------------------------------------------------------------------------------

    async def add(self, node: str, number: int, rows: Sequence[Spend]) -> None:
        await self._write(lambda connection: self._add(connection, node, number, lines(rows)))

    def _add(self, connection: sqlite3.Connection, node: str, number: int, added: Sequence[Line]) -> None:
        if connection.execute(_NUMBER, (node, number)).rowcount == 0:
            return
        connection.execute("DELETE FROM spend_nodes WHERE id <= (SELECT max(id) FROM spend_nodes) - ?", (NODES,))
        room = {period: self._most - _held(connection, period) for period in {line.period for line in added}}
        for line in added:
            known = _known(connection, line)
            name = line.name if known or room[line.period] > 0 else line.others
            room[line.period] -= not known
            connection.execute(_ADD, (line.period, name, *line.counts))
        for day in {line.period for line in added if line.days == SCOPES_KEPT}:
            _forget(connection, day)

    async def scopes(self, day: str = "") -> Sequence[Spend]:
        return await self._rows([(day or EVER, day)])

    async def days(self, days: Sequence[str]) -> Sequence[Spend]:
        return await self._rows([(ROUTES + day, day) for day in days])

    async def _rows(self, periods: Sequence[tuple[str, str]]) -> Sequence[Spend]:
        return await self._database.read(
            lambda connection: [row for period, day in periods for row in _read(connection, period, day)]
        )

    # --- limits ---------------------------------------------------------------------------------------------------

    async def take(self, bounds: Sequence[Bound], debt: Debt) -> Taken:
        return await self._write(lambda connection: _take(connection, bounds, debt))

    async def charge(self, debts: Sequence[Debt]) -> None:
        def pay(connection: sqlite3.Connection) -> None:
            for debt in debts:
                _pay(connection, debt)

        await self._write(pay)

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def with_tables(connection: sqlite3.Connection) -> T:
            if not self._made:
                for table in _TABLES:
                    connection.execute(table)
            return work(connection)

        result = await self._database.write(with_tables, durable=False)
        self._made = True  # only now: a transaction that is rolled back takes its tables along
        return result


def _held(connection: sqlite3.Connection, period: str) -> int:
    (count,) = connection.execute("SELECT count(*) FROM spend WHERE period = ?", (period,)).fetchone()
    return int(count)


def _known(connection: sqlite3.Connection, line: Line) -> bool:
    found = connection.execute("SELECT 1 FROM spend WHERE period = ? AND name = ?", (line.period, line.name))
    return found.fetchone() is not None


def _read(connection: sqlite3.Connection, period: str, day: str) -> list[Spend]:
    if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'spend'").fetchone() is None:
        return []
    found = connection.execute(f"SELECT name, {', '.join(_COLUMNS)} FROM spend WHERE period = ?", (period,))
    return [spend(day, name, counts) for name, *counts in found]


def _forget(connection: sqlite3.Connection, today: str) -> None:
    """Days that are kept no longer. Periods sort as days do; that of all time begins with a letter."""
    day = date.fromisoformat(today)
    oldest, oldest_by_route = (str(day - timedelta(days=kept)) for kept in (SCOPES_KEPT, ROUTES_KEPT))
    connection.execute("DELETE FROM spend WHERE period < ?", (oldest,))
    connection.execute("DELETE FROM spend WHERE period > ? AND period < ?", (ROUTES, ROUTES + oldest_by_route))


def _take(connection: sqlite3.Connection, bounds: Sequence[Bound], debt: Debt) -> Taken:
    _pay(connection, debt)
    counts = tuple(_count(connection, bound.counter) for bound in bounds)
    admitted = all(bound.most.reached(count) is None for bound, count in zip(bounds, counts, strict=True))
    if admitted:
        for bound in bounds:
            _charge(connection, bound.counter, Count(requests=1))
    return Taken(admitted, counts)


def _pay(connection: sqlite3.Connection, debt: Debt) -> None:
    name = json.dumps((debt.scope, debt.node))
    last = connection.execute("SELECT number FROM limit_debts WHERE name = ?", (name,)).fetchone()
    if not debt.counts or (last and last[0] >= debt.number):
        return
    connection.execute("INSERT OR REPLACE INTO limit_debts (name, number) VALUES (?, ?)", (name, debt.number))
    connection.execute("DELETE FROM limit_debts WHERE id <= (SELECT max(id) FROM limit_debts) - ?", (DEBTS,))
    for counter, count in debt.counts.items():
        _charge(connection, counter, count)


def _charge(connection: sqlite3.Connection, counter: Counter, count: Count) -> None:
    connection.execute(_COUNT, (_name(counter), counter.ends, count.requests, count.tokens, count.money))
    connection.execute("DELETE FROM limit_counts WHERE ends < ?", (counter.ends - counter.per - LATE,))


def _count(connection: sqlite3.Connection, counter: Counter) -> Count:
    found = connection.execute(
        "SELECT requests, tokens, money FROM limit_counts WHERE name = ?", (_name(counter),)
    ).fetchone()
    return Count(*found) if found else Count()


def _name(counter: Counter) -> str:
    return json.dumps((counter.scope, counter.limit, counter.window))
