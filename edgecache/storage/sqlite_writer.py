"""The one thread that writes to SQLite: what is waiting when it comes round goes into one transaction."""

import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, NamedTuple, TypeVar

from edgecache.errors import StoreUnavailable

T = TypeVar("T")

BUSY_MS, SETTLE_MS = 5_000, 100
"""Milliseconds to wait for who reads: a write, and `settle`, which can be done later."""
MAX_GROUP = 256
"""Jobs in one transaction: bounds how long the first waits for the last."""


class _Job(NamedTuple):
    work: Callable[[sqlite3.Connection], Any]
    durable: bool
    future: Future[Any]
    apart: bool = False


class SqliteWriter:
    """Group commit. A job's future is done when its transaction is committed.

    A group in which one job is `durable` is flushed to the disk (`synchronous=FULL`) before any of its futures is
    done; the others survive the end of the process, kill -9 included, but perhaps not a power cut.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._closing = threading.Lock()
        self._closed = False
        self._transactions = 0
        # A daemon, so that a program that forgets `close` can end: a transaction cut off is rolled back.
        self._thread = threading.Thread(target=self._run, name="edgecache-sqlite-writer", daemon=True)
        self._thread.start()

    @property
    def transactions(self) -> int:
        return self._transactions

    def submit(self, work: Callable[[sqlite3.Connection], T], *, durable: bool) -> Future[T]:
        """`work` runs inside a transaction; what it returns is the future's result.

        A future cancelled before its turn is not run. Its exception is StoreUnavailable, or what `work` raised.
        """
        future: Future[T] = Future()
        with self._closing:
            if self._closed:
                raise StoreUnavailable("the store is closed")
            self._jobs.put(_Job(work, durable, future))
        return future

    def settle(self) -> Future[bool]:
        """Bring what is committed into the file itself, and empty the log beside it (`-wal`), which keeps what was
        overwritten or deleted. False where a reader was in the way.
        """
        future: Future[bool] = Future()
        with self._closing:
            if self._closed:
                raise StoreUnavailable("the store is closed")
            self._jobs.put(_Job(_checkpoint, False, future, apart=True))
        return future

    def close(self) -> None:
        """Finish what was submitted. Blocks."""
        with self._closing:
            if not self._closed:
                self._closed = True
                self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        group: list[_Job | None] = []
        while None not in group:
            group = self._wait()
            jobs = [job for job in group if job and job.future.set_running_or_notify_cancel()]
            self._finish([job for job in jobs if not job.apart])
            for job in jobs:
                if job.apart:
                    self._do_apart(job)
        self._connection.close()

    def _wait(self) -> list[_Job | None]:
        group = [self._jobs.get()]
        while group[-1] and len(group) < MAX_GROUP:
            try:
                group.append(self._jobs.get_nowait())
            except queue.Empty:
                break
        return group

    def _finish(self, group: list[_Job]) -> None:
        """A group that fails was rolled back as a whole; then each job has its own transaction and its own error."""
        try:
            results = self._commit(group)
        except Exception as error:  # noqa: BLE001 - whatever it is belongs to the jobs, and the thread must live
            self._fail(group, error)
        else:
            for job, result in zip(group, results, strict=True):
                job.future.set_result(result)

    def _do_apart(self, job: _Job) -> None:
        """What cannot be in a transaction."""
        try:
            result = job.work(self._connection)
        except Exception as error:  # noqa: BLE001 - as in `_finish`
            job.future.set_exception(translated(error))
        else:
            job.future.set_result(result)

    def _fail(self, group: list[_Job], error: Exception) -> None:
        if len(group) > 1:
            for job in group:
                self._finish([job])
        else:
            group[0].future.set_exception(translated(error))

    def _commit(self, group: list[_Job]) -> list[Any]:
        if not group:
            return []
        durable = any(job.durable for job in group)
        self._connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            results = [job.work(self._connection) for job in group]
            self._connection.execute("COMMIT")
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        self._transactions += 1
        return results


def _checkpoint(connection: sqlite3.Connection) -> bool:
    connection.execute(f"PRAGMA busy_timeout={SETTLE_MS}")
    try:
        busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    finally:
        connection.execute(f"PRAGMA busy_timeout={BUSY_MS}")
    return not busy


def translated(error: Exception) -> Exception:
    """SQLite's errors as ours; anything else is a mistake of the caller and stays what it is."""
    if not isinstance(error, sqlite3.Error):
        return error
    unavailable = StoreUnavailable(f"SQLite: {error}")
    unavailable.__cause__ = error
    return unavailable
