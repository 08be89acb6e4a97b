"""Entries in SQLite."""

import sqlite3
from collections.abc import AsyncIterator, Sequence
from functools import partial

from edgecache.core.entry import Entry, Scope
from edgecache.storage.codec import Blobs, Codec, off_loop
from edgecache.storage.sqlite_database import SqliteDatabase
from edgecache.storage.statistics import StoreStatistics

SCAN_BATCH = 500

_PUT = """
INSERT INTO entries (key, scope, head, body) VALUES (?, ?, ?, ?)
ON CONFLICT (key) DO UPDATE SET scope = excluded.scope, head = excluded.head, body = excluded.body
"""


class SqliteStore:
    """The port `Store`. It is opened and closed with its storage; entries stay until someone deletes them."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database
        self._codec = Codec()
        self._gets = self._hits = self._puts = self._deleted = 0

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

    async def put(self, entry: Entry) -> None:
        """Survives kill -9 once it returned; after a power cut the last entries may be missing."""
        blobs = await off_loop(len(entry.body), self._codec.encode, entry)
        row = (entry.key, entry.scope, blobs.head, blobs.body)
        await self._database.write(lambda connection: connection.execute(_PUT, row), durable=False)
        self._puts += 1

    async def delete(self, entries: Sequence[tuple[Scope, bytes]]) -> int:
        rows = [(key, scope) for scope, key in entries]
        count = await self._database.write(lambda connection: _delete(connection, rows), durable=False)
        self._deleted += count
        return count

    async def scan(self) -> AsyncIterator[Sequence[Entry]]:
        """By row number, which replacing an entry keeps: what is there all the while comes exactly once."""
        after = 0
        while True:
            rows = await self._database.read(partial(_page, after=after))
            if not rows:
                return
            after = rows[-1][0]
            batch = await off_loop(sum(len(head) for _, head in rows), self._decode_heads, rows)
            if batch:
                yield batch

    async def count(self) -> int:
        return await self._database.read(_count)

    def _find(self, connection: sqlite3.Connection, key: bytes) -> Entry | None:
        row = connection.execute("SELECT head, body FROM entries WHERE key = ?", (key,)).fetchone()
        return self._codec.decode(Blobs(*row)) if row else None

    def _decode_heads(self, rows: list[tuple[int, bytes]]) -> list[Entry]:
        entries = (self._codec.decode_head(head) for _, head in rows)
        return [entry for entry in entries if entry is not None]


def _page(connection: sqlite3.Connection, after: int) -> list[tuple[int, bytes]]:
    query = "SELECT id, head FROM entries WHERE id > ? ORDER BY id LIMIT ?"
    return connection.execute(query, (after, SCAN_BATCH)).fetchall()


def _count(connection: sqlite3.Connection) -> int:
    (count,) = connection.execute("SELECT count(*) FROM entries").fetchone()
    return int(count)


def _delete(connection: sqlite3.Connection, rows: list[tuple[bytes, Scope]]) -> int:
    return connection.executemany("DELETE FROM entries WHERE key = ? AND scope = ?", rows).rowcount
