"""One SQLite file: its lock, its schema, its threads. Nothing here touches the disk on the event loop."""

import asyncio
import os
import secrets
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from edgecache.errors import StoreUnavailable
from edgecache.storage.sqlite_writer import SqliteWriter, translated

T = TypeVar("T")

SCHEMA = 2
READERS = 4

_NEW_TABLES = """
CREATE TABLE entries (
    id INTEGER PRIMARY KEY,
    key BLOB NOT NULL UNIQUE,
    scope TEXT NOT NULL,
    head BLOB NOT NULL,
    body BLOB NOT NULL,
    version TEXT NOT NULL,
    tags BLOB NOT NULL,
    compared INTEGER NOT NULL
);
CREATE TABLE audit (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, line BLOB NOT NULL);
CREATE TABLE audit_hits (id TEXT PRIMARY KEY, entries INTEGER NOT NULL) WITHOUT ROWID;
"""
_TABLES = f"""
{_NEW_TABLES}
CREATE TABLE log (sequence INTEGER PRIMARY KEY, record BLOB NOT NULL);
CREATE TABLE log_state (identity TEXT NOT NULL, newest INTEGER NOT NULL);
CREATE TABLE facts (kind TEXT, name TEXT, value BLOB NOT NULL, PRIMARY KEY (kind, name)) WITHOUT ROWID;
"""


class SqliteDatabase:
    """A file that one process writes and any number may read.

    A reader (`read_only`) needs a file that is there and takes no lock; its writes raise StoreUnavailable.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        self.read_only = read_only
        self._lock: sqlite3.Connection | None = None
        self._writer: SqliteWriter | None = None
        self._readers: ThreadPoolExecutor | None = None
        self._thread = threading.local()
        self._connections: list[sqlite3.Connection] = []

    def __repr__(self) -> str:
        state = "open" if self._readers else "closed"
        return f"<SqliteDatabase {self.path.name} {state}{' read-only' if self.read_only else ''}>"

    @property
    def transactions(self) -> int:
        """How many were committed; less than the writes where writes came together."""
        return self._writer.transactions if self._writer else 0

    async def open(self) -> None:
        """
        Raises:
            StoreUnavailable: not a database of ours, made by a newer version, in use by another process, or the
                folder cannot be written.
        """
        if self._readers is None:
            await asyncio.to_thread(self._open)

    async def close(self) -> None:
        readers, self._readers = self._readers, None  # here, on the loop: no read can slip in behind it
        await asyncio.to_thread(self._close, readers)

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """What `work` returns, run in a thread on a connection that only reads."""
        if self._readers is None:
            raise StoreUnavailable(f"{self.path} is not open")
        try:
            return await asyncio.wrap_future(self._readers.submit(self._read, work))
        except sqlite3.Error as error:
            raise translated(error) from error

    def submit(self, work: Callable[[sqlite3.Connection], T], *, durable: bool) -> Future[T]:
        """See `SqliteWriter.submit`."""
        if self._writer is None:
            raise StoreUnavailable(f"{self.path} is {'read-only here' if self.read_only else 'not open'}")
        return self._writer.submit(work, durable=durable)

    async def write(self, work: Callable[[sqlite3.Connection], T], *, durable: bool) -> T:
        """What `work` returns, once it is committed."""
        return await asyncio.wrap_future(self.submit(work, durable=durable))

    async def settle(self) -> bool:
        """See `SqliteWriter.settle`."""
        if self._writer is None:
            raise StoreUnavailable(f"{self.path} is {'read-only here' if self.read_only else 'not open'}")
        return await asyncio.wrap_future(self._writer.settle())

    def _open(self) -> None:
        try:
            if not self.read_only:
                self._open_for_writing()
            self._check_version()
        except (sqlite3.Error, OSError, StoreUnavailable) as error:
            self._close(None)
            if isinstance(error, StoreUnavailable):
                raise
            raise StoreUnavailable(f"{self.path} cannot be opened: {error}") from error
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="edgecache-sqlite-reader")

    def _open_for_writing(self) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = _take_lock(self.path)
        _make_private(self.path)
        connection = _connect(self.path)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA secure_delete=ON")  # by default where Debian made SQLite, not everywhere
            _create_tables(connection)
        except BaseException:
            connection.close()
            raise
        self._writer = SqliteWriter(connection)

    def _check_version(self) -> None:
        connection = self._connect_to_read()
        try:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
        finally:
            connection.close()
        if version != SCHEMA:
            made = "by a newer edgecache" if version > SCHEMA else "by something else"
            raise StoreUnavailable(f"{self.path} was made {made} (schema {version}, this is {SCHEMA})")

    def _close(self, readers: ThreadPoolExecutor | None) -> None:
        writer, lock = self._writer, self._lock
        self._writer = self._lock = None
        if readers is not None:
            readers.shutdown()
        for connection in self._connections:
            connection.close()
        self._connections, self._thread = [], threading.local()
        if writer is not None:
            writer.close()
        if lock is not None:
            lock.close()

    def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        connection: sqlite3.Connection | None = getattr(self._thread, "connection", None)
        if connection is None:
            connection = self._thread.connection = self._connect_to_read()
            self._connections.append(connection)
        return work(connection)

    def _connect_to_read(self) -> sqlite3.Connection:
        return _connect(self.path, "?mode=ro" if self.read_only else "?mode=rw", "PRAGMA query_only=1")


def _connect(path: Path, query: str = "?mode=rw", *pragmas: str) -> sqlite3.Connection:
    """In autocommit mode. A connection is used by one thread at a time, though not always the one that made it."""
    connection = sqlite3.connect(
        path.absolute().as_uri() + query, uri=True, timeout=5, isolation_level=None, check_same_thread=False
    )
    for pragma in pragmas:
        connection.execute(pragma)
    return connection


def _take_lock(path: Path) -> sqlite3.Connection:
    """An exclusive transaction, held open, on a file of its own: SQLite's locks work on every system, also between
    two stores of one process, and the operating system drops them with the process."""
    beside = path.with_name(path.name + ".lock")
    _make_private(beside)
    lock = sqlite3.connect(beside, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        lock.execute("PRAGMA journal_mode=MEMORY")
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        lock.close()
        if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
            raise
        raise StoreUnavailable(
            f"{path} is in use by another edgecache: one node per file; several nodes share a Redis store instead"
        ) from error
    return lock


def _make_private(path: Path) -> None:
    """Before SQLite opens it, so that the files it puts beside it inherit the mode."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    path.chmod(0o600)


def _create_tables(connection: sqlite3.Connection) -> None:
    """In a file that is empty, or of the schema before; in one transaction, so that a half-made file cannot be. Entries
    of the schema before go: they lack what decides about them now.
    """
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if tables == 0:
        steps = f"{_TABLES} INSERT INTO log_state VALUES ('{secrets.token_hex(16)}', 0);"
    elif connection.execute("PRAGMA user_version").fetchone() == (1,):
        steps = f"DROP TABLE entries; {_NEW_TABLES}"
    else:
        return
    connection.executescript(f"BEGIN; {steps} PRAGMA user_version={SCHEMA}; COMMIT;")
