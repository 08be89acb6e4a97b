"""Who purged what, in SQLite."""

import sqlite3
from collections.abc import Mapping, Sequence

from edgecache.core.ports import AuditLine
from edgecache.storage.codec import decode_line, encode_line
from edgecache.storage.sqlite_database import SqliteDatabase

KEPT = 100_000
"""Lines; older ones go."""

_WRITE = "INSERT INTO audit (id, line) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET line = excluded.line"
_HIT = """
INSERT INTO audit_hits VALUES (?, ?) ON CONFLICT DO UPDATE SET entries = entries + excluded.entries
"""
_LINES = "SELECT line, ifnull(entries, 0) FROM audit LEFT JOIN audit_hits USING (id)"


class SqliteAudit:
    """The port `Audit`. Lines are flushed to the disk before `write` returns; counts survive kill -9."""

    def __init__(self, database: SqliteDatabase, kept: int = KEPT) -> None:
        self._database = database
        self._kept = kept

    def __repr__(self) -> str:
        return f"<SqliteAudit {self._database!r}>"

    async def write(self, line: AuditLine) -> None:
        """A line with the same id is replaced, and keeps its place and its count."""
        blob = encode_line(line)
        await self._database.write(lambda connection: self._write(connection, line.id, blob), durable=True)

    async def hit(self, counts: Mapping[str, int]) -> None:
        """Of lines that are yet to be written, too."""
        rows = list(counts.items())
        await self._database.write(lambda connection: connection.executemany(_HIT, rows), durable=False)

    async def lines(self, limit: int = 100) -> Sequence[AuditLine]:
        rows = await self._database.read(
            lambda connection: connection.execute(f"{_LINES} ORDER BY number DESC LIMIT ?", (limit,)).fetchall()
        )
        return [line for row in rows if (line := decode_line(*row)) is not None]

    async def line(self, name: str) -> AuditLine | None:
        row = await self._database.read(
            lambda connection: connection.execute(f"{_LINES} WHERE id = ?", (name,)).fetchone()
        )
        return decode_line(*row) if row else None

    def _write(self, connection: sqlite3.Connection, name: str, blob: bytes) -> None:
        connection.execute(_WRITE, (name, blob))
        (oldest,) = connection.execute("SELECT max(number) - ? FROM audit", (self._kept,)).fetchone()
        gone = connection.execute("DELETE FROM audit WHERE number <= ? RETURNING id", (oldest,)).fetchall()
        connection.executemany("DELETE FROM audit_hits WHERE id = ?", gone)
