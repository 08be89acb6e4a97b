"""Entries in SQLite."""

import sqlite3
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any, TypeAlias

from edgecache.core.entry import Entry, Scope
from edgecache.storage.codec import Blobs, Codec, mark, off_loop
from edgecache.storage.sqlite_database import SqliteDatabase
from edgecache.storage.statistics import StoreStatistics

SCAN_BATCH = 500

_PUT = """
INSERT INTO entries (scope, head, body, version, tags, compared, key) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (key) DO UPDATE SET scope = excluded.scope, head = excluded.head, body = excluded.body,
version = excluded.version, tags = excluded.tags, compared = excluded.compared
"""
_REPLACE = """
UPDATE entries SET scope = ?, head = ?, body = ?, version = ?, tags = ?, compared = ?
WHERE key = ? AND scope = ? AND version = ? AND tags = ?
"""
_COMPARED = "UPDATE entries SET compared = max(compared, ?) WHERE key = ? AND scope = ? AND version = ?"
_DELETE = "DELETE FROM entries WHERE key = ? AND scope = ? AND version = ?"

Row: TypeAlias = tuple[Any, ...]


class SqliteStore:
    """The port `Store`. It is opened and closed with its storage; entries stay until someone deletes them."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database
        self._codec = Codec()
        self._gets = self._hits = self._puts = self._deleted = 0
        self._unsettled = False

    def __repr__(self) -> str:
        return f"<SqliteStore {self._database!r} {self.statistics()}>"

    def statistics(self) -> StoreStatistics:
        return StoreStatistics(self._gets, self._hits, self._puts, self._deleted, self._codec.unreadable)

    async def open(self) -> None:
        await self._database.open()

    async def close(self) -> None:
        await self._database.close()

    async def get(self, scope: Scope, key: bytes) -> Entry | None:
        entry = await self.find(key)
        return entry if entry is not None and entry.scope == scope else None

    async def find(self, key: bytes) -> Entry | None:
        entry = await self._database.read(lambda connection: self._find(connection, key))
        self._gets += 1
        self._hits += entry is not None
        return entry

    async def head(self, key: bytes) -> Entry | None:
        return await self._database.read(lambda connection: self._head(connection, key))

    async def put(self, entry: Entry) -> None:
        """Survives kill -9 once it returned; after a power cut the last entries may be missing."""
        row = await self._row(entry)
        await self._database.write(lambda connection: connection.execute(_PUT, (*row, entry.key)), durable=False)
        self._puts += 1

    async def replace(self, old: Entry, new: Entry) -> bool:
        row = (*await self._row(new), *_which(old), mark(old))
        done = await self._database.write(lambda connection: connection.execute(_REPLACE, row).rowcount, durable=False)
        self._puts += done
        return done > 0

    async def compared(self, entries: Sequence[Entry], through: int) -> None:
        rows = [(through, *_which(entry)) for entry in entries]
        await self._database.write(lambda connection: connection.executemany(_COMPARED, rows), durable=False)

    async def delete(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        deleted = await self._database.write(lambda connection: _delete(connection, entries), durable=False)
        self._deleted += len(deleted)
        self._unsettled = self._unsettled or bool(deleted)
        return deleted

    async def scan(self) -> AsyncIterator[Sequence[Entry]]:
        """By row number, which replacing an entry keeps: what is there all the while comes exactly once. At its end
        nothing is left in the files of what was deleted by then: the reaper's passes end so, and with them erasures.
        """
        after = 0
        while True:
            rows = await self._database.read(partial(_page, after=after))
            if not rows:
                await self._settle()
                return
            after = rows[-1][0]
            batch = await off_loop(sum(len(head) for _, head, _ in rows), self._decode_heads, rows)
            if batch:
                yield batch

    async def _settle(self) -> None:
        """Once for many deletions; what was deleted meanwhile, or could not be settled, is left to the next scan."""
        if self._unsettled:
            self._unsettled = False
            self._unsettled = not await self._database.settle() or self._unsettled

    async def count(self) -> int:
        return await self._database.read(_count)

    async def _row(self, entry: Entry) -> Row:
        blobs = await off_loop(len(entry.body), self._codec.encode, entry)
        return entry.scope, blobs.head, blobs.body, entry.version, mark(entry), entry.compared_to

    def _find(self, connection: sqlite3.Connection, key: bytes) -> Entry | None:
        row = connection.execute("SELECT head, body, compared FROM entries WHERE key = ?", (key,)).fetchone()
        return self._codec.decode(Blobs(*row[:2]), row[2]) if row else None

    def _head(self, connection: sqlite3.Connection, key: bytes) -> Entry | None:
        row = connection.execute("SELECT head, compared FROM entries WHERE key = ?", (key,)).fetchone()
        return self._codec.decode_head(*row) if row else None

    def _decode_heads(self, rows: list[tuple[int, bytes, int]]) -> list[Entry]:
        entries = (self._codec.decode_head(head, compared) for _, head, compared in rows)
        return [entry for entry in entries if entry is not None]


def _which(entry: Entry) -> Row:
    """What names this very version."""
    return entry.key, entry.scope, entry.version


def _page(connection: sqlite3.Connection, after: int) -> list[tuple[int, bytes, int]]:
    query = "SELECT id, head, compared FROM entries WHERE id > ? ORDER BY id LIMIT ?"
    return connection.execute(query, (after, SCAN_BATCH)).fetchall()


def _count(connection: sqlite3.Connection) -> int:
    (count,) = connection.execute("SELECT count(*) FROM entries").fetchone()
    return int(count)


def _delete(connection: sqlite3.Connection, entries: Sequence[Entry]) -> list[Entry]:
    return [entry for entry in entries if connection.execute(_DELETE, _which(entry)).rowcount]
