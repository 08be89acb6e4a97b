"""Small settled facts in SQLite."""

import sqlite3
from collections.abc import Mapping

from edgecache.storage.sqlite_database import SqliteDatabase

_SET = "INSERT INTO facts VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value"
_SET_DEFAULT = "INSERT INTO facts VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
_GET = "SELECT value FROM facts WHERE kind = ? AND name = ?"


class SqliteRegistry:
    """The port `Registry`. Writes are flushed to the disk before they return."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    def __repr__(self) -> str:
        return f"<SqliteRegistry {self._database!r}>"

    async def values(self, kind: str) -> Mapping[str, bytes]:
        return await self._database.read(lambda connection: _values(connection, kind))

    async def set(self, kind: str, name: str, value: bytes) -> None:
        await self._database.write(lambda connection: connection.execute(_SET, (kind, name, value)), durable=True)

    async def set_default(self, kind: str, name: str, value: bytes) -> bytes:
        return await self._database.write(lambda connection: _set_default(connection, kind, name, value), durable=True)

    async def remove(self, kind: str, name: str) -> bool:
        return await self._database.write(lambda connection: _remove(connection, kind, name), durable=True)


def _values(connection: sqlite3.Connection, kind: str) -> dict[str, bytes]:
    return dict(connection.execute("SELECT name, value FROM facts WHERE kind = ?", (kind,)).fetchall())


def _set_default(connection: sqlite3.Connection, kind: str, name: str, value: bytes) -> bytes:
    connection.execute(_SET_DEFAULT, (kind, name, value))
    (settled,) = connection.execute(_GET, (kind, name)).fetchone()
    return bytes(settled)


def _remove(connection: sqlite3.Connection, kind: str, name: str) -> bool:
    return connection.execute("DELETE FROM facts WHERE kind = ? AND name = ?", (kind, name)).rowcount > 0
