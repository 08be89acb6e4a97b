"""The embedded storage: one SQLite file in the data folder, nothing to start."""

from pathlib import Path

import msgspec

from edgecache.storage.sqlite_audit import SqliteAudit
from edgecache.storage.sqlite_database import SqliteDatabase
from edgecache.storage.sqlite_feed import SilentFeed
from edgecache.storage.sqlite_log import SqliteLog
from edgecache.storage.sqlite_meters import SqliteMeters
from edgecache.storage.sqlite_registry import SqliteRegistry
from edgecache.storage.sqlite_store import SqliteStore
from edgecache.storage.statistics import LogStatistics, StoreStatistics


class SqliteStatistics(msgspec.Struct, frozen=True):
    """`transactions` is less than the writes where writes came together."""

    store: StoreStatistics
    log: LogStatistics
    transactions: int


class SqliteStorage:
    """Entries, log, registry, audit log and meters in the file `path` (mode 0600; its folder is made where
    there is none).

    One process at a time may open a file; `read_only` opens may come beside it (for the command line), and there
    everything that writes raises StoreUnavailable. Opening and closing this opens and closes all parts.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self._database = SqliteDatabase(path, read_only=read_only)
        self.store = SqliteStore(self._database)
        self.log = SqliteLog(self._database)
        self.registry = SqliteRegistry(self._database)
        self.feed = SilentFeed()
        self.audit = SqliteAudit(self._database)
        self.meters = SqliteMeters(self._database)

    def __repr__(self) -> str:
        return f"<SqliteStorage {self._database!r}>"

    def statistics(self) -> SqliteStatistics:
        return SqliteStatistics(self.store.statistics(), self.log.statistics(), self._database.transactions)

    async def open(self) -> None:
        """
        Raises:
            StoreUnavailable: the file is in use by another process, not ours, of a newer version, or not writable.
        """
        try:
            await self.log.open()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        await self.log.close()
