"""The log of purges in SQLite: what the nodes of one file have, which is one node."""

import asyncio
import math
import sqlite3
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import Future

from edgecache.core.ports import Heard, Member
from edgecache.core.purges import Logged, PurgeRecord
from edgecache.errors import StoreUnavailable
from edgecache.storage.codec import decode_record, encode_record
from edgecache.storage.sqlite_database import SqliteDatabase
from edgecache.storage.statistics import LogStatistics

FOLLOW_BATCH = 1_000


class SqliteLog:
    """The port `Log`. Appends are flushed to the disk before they return: they survive a power cut.

    `follow` sees what this object appends; no other process can append while it is open for writing.
    """

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database
        self._identity = ""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed = asyncio.Event()
        self._closed = True
        self._appended = self._followers = self._unknown = 0

    def __repr__(self) -> str:
        return f"<SqliteLog {self._database!r} {self.statistics()}>"

    def statistics(self) -> LogStatistics:
        return LogStatistics(self._identity, self._appended, self._followers, 0, self._unknown)

    @property
    def identity(self) -> str:
        return self._identity

    @property
    def lease(self) -> float:
        """No other node writes to this log: what is known here holds for ever."""
        return math.inf

    async def open(self) -> None:
        await self._database.open()
        self._identity = await self._database.read(_identity)
        self._loop = asyncio.get_running_loop()
        self._closed = False

    async def close(self) -> None:
        self._closed = True
        self._announce()
        await self._database.close()

    async def append(self, record: PurgeRecord) -> int:
        blob = encode_record(record)
        job = self._database.submit(lambda connection: _append(connection, blob), durable=True)
        # Not after the await: a caller cancelled meanwhile has still appended, and followers must hear of it.
        job.add_done_callback(self._announce_from_thread)
        return await asyncio.wrap_future(job)

    async def read(self, after: int, limit: int = 1_000) -> Sequence[Logged]:
        """A first sequence above `after` + 1 says that what lay between was trimmed."""
        rows = await self._database.read(lambda connection: _read(connection, after, limit))
        batch = [Logged(sequence, decode_record(blob)) for sequence, blob in rows]
        self._unknown += sum(logged.record is None for logged in batch)
        return batch

    async def follow(self, after: int) -> AsyncIterator[Heard]:
        """
        Raises:
            StoreUnavailable: the log was closed, or cannot be read.
        """
        self._followers += 1
        try:
            while not self._closed:
                changed = self._changed  # before reading: an append that the read misses sets this one
                sent = time.monotonic()
                if batch := await self.read(after, FOLLOW_BATCH):
                    after = batch[-1].sequence
                    yield Heard(sent, batch)
                else:
                    await changed.wait()
            raise StoreUnavailable("the log is closed")
        finally:
            self._followers -= 1

    async def roll(self) -> Mapping[str, Member]:
        return {}

    async def strike(self, node: str, applied: int) -> None:
        return None

    async def trim(self, through: int) -> int:
        """Forget records up to `through`, but never the newest, so that what is missing shows; how many."""
        return await self._database.write(lambda connection: _trim(connection, through), durable=True)

    def _announce_from_thread(self, job: Future[int]) -> None:
        if not job.cancelled() and job.exception() is None and self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._announce_append)

    def _announce_append(self) -> None:
        self._appended += 1
        self._announce()

    def _announce(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _identity(connection: sqlite3.Connection) -> str:
    (identity,) = connection.execute("SELECT identity FROM log_state").fetchone()
    return str(identity)


def _append(connection: sqlite3.Connection, blob: bytes) -> int:
    (sequence,) = connection.execute("UPDATE log_state SET newest = newest + 1 RETURNING newest").fetchone()
    connection.execute("INSERT INTO log VALUES (?, ?)", (sequence, blob))
    return int(sequence)


def _read(connection: sqlite3.Connection, after: int, limit: int) -> list[tuple[int, bytes]]:
    query = "SELECT sequence, record FROM log WHERE sequence > ? ORDER BY sequence LIMIT ?"
    return connection.execute(query, (after, limit)).fetchall()


def _trim(connection: sqlite3.Connection, through: int) -> int:
    query = "DELETE FROM log WHERE sequence <= ? AND sequence < (SELECT newest FROM log_state)"
    return connection.execute(query, (through,)).rowcount
