"""What is particular to the file: who may open it, what happens to it, how writes share transactions."""

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any

import pytest
from storage_samples import SCOPE, entry, purge, scanned

import edgecache
from edgecache.core.purges import Logged
from edgecache.errors import StoreUnavailable
from edgecache.storage.sqlite import SqliteStorage
from edgecache.storage.sqlite_writer import SqliteWriter


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "edgecache.db"


@pytest.fixture
async def storage(path: Path) -> AsyncIterator[SqliteStorage]:
    storage = SqliteStorage(path)
    await storage.open()
    yield storage
    await storage.close()


async def test_only_the_owner_may_read_the_files(storage: SqliteStorage, path: Path) -> None:
    await storage.store.put(entry())
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    names = ["edgecache.db", "edgecache.db-shm", "edgecache.db-wal", "edgecache.db.lock"]
    assert modes == dict.fromkeys(names, 0o600)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_two_nodes_cannot_serve_from_one_file(storage: SqliteStorage, path: Path) -> None:
    second = SqliteStorage(path)
    with pytest.raises(StoreUnavailable, match="in use by another edgecache"):
        await second.open()
    await second.close()
    await storage.store.put(entry())
    await storage.close()
    await second.open()
    assert await second.store.count() == 1
    await second.close()


async def test_another_process_cannot_serve_from_it_either(storage: SqliteStorage, path: Path) -> None:
    program = (
        "import asyncio, pathlib, sys; from edgecache.storage.sqlite import SqliteStorage;"
        "asyncio.run(SqliteStorage(pathlib.Path(sys.argv[1])).open())"
    )
    result = await asyncio.to_thread(_python, program, str(path))
    assert result.returncode == 1
    assert "in use by another edgecache" in result.stderr


async def test_a_reader_sees_what_the_server_writes_and_writes_nothing(storage: SqliteStorage, path: Path) -> None:
    await storage.store.put(entry(1))
    await storage.log.append(purge(1))
    reader = SqliteStorage(path, read_only=True)
    await reader.open()
    await storage.store.put(entry(2))
    assert set(await scanned(reader.store)) == {entry(1).key, entry(2).key}
    assert reader.log.identity == storage.log.identity
    assert len(await reader.log.read(0)) == 1
    for write in (reader.store.put(entry(3)), reader.log.append(purge(2)), reader.registry.set("a", "b", b"")):
        with pytest.raises(StoreUnavailable, match="read-only"):
            await write
    await reader.close()


async def test_a_reader_makes_no_file(path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="cannot be opened"):
        await SqliteStorage(path, read_only=True).open()
    assert not path.parent.exists()


async def test_a_file_that_is_no_database_is_left_alone(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"precious " * 1_000)
    with pytest.raises(StoreUnavailable, match="not a database"):
        await SqliteStorage(path).open()
    assert path.read_bytes() == b"precious " * 1_000


async def test_a_file_of_a_newer_version_is_refused(storage: SqliteStorage, path: Path) -> None:
    await storage.close()
    _sql(path, "PRAGMA user_version = 99")
    with pytest.raises(StoreUnavailable, match="newer edgecache"):
        await storage.open()


async def test_a_file_of_the_version_before_keeps_its_log_and_its_facts(path: Path) -> None:
    """Its entries lack what decides about them now."""
    path.parent.mkdir()
    for statement in SCHEMA_1:
        _sql(path, statement)
    storage = SqliteStorage(path)
    await storage.open()
    assert storage.log.identity == "before"
    assert await storage.log.append(purge(1)) == 8
    assert await storage.registry.values("secret") == {"cluster": b"x"}
    assert await storage.store.count() == 0
    await storage.store.put(stored := entry(1))
    await storage.close()
    await storage.open()
    assert await storage.store.find(stored.key) == stored
    await storage.close()


async def test_somebody_elses_database_is_refused(path: Path) -> None:
    path.parent.mkdir()
    _sql(path, "CREATE TABLE accounts (name TEXT)")
    with pytest.raises(StoreUnavailable, match="something else"):
        await SqliteStorage(path).open()


async def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable, match="cannot be opened"):
        await SqliteStorage(tmp_path / "file" / "edgecache.db").open()


async def test_a_damaged_entry_is_absent(storage: SqliteStorage, path: Path) -> None:
    for number in range(3):
        await storage.store.put(entry(number))
    _sql(path, "UPDATE entries SET head = x'00' WHERE id = 1")
    _sql(path, "UPDATE entries SET body = substr(body, 1, 20) WHERE id = 2")
    assert [await storage.store.get(SCOPE, entry(number).key) for number in range(3)] == [None, None, entry(2)]
    assert set(await scanned(storage.store)) == {entry(1).key, entry(2).key}
    assert storage.store.statistics().unreadable == 3


async def test_a_damaged_purge_is_told_without_what_it_was(storage: SqliteStorage, path: Path) -> None:
    for number in range(1, 4):
        await storage.log.append(purge(number))
    _sql(path, "UPDATE log SET record = x'00' WHERE sequence = 2")
    assert await storage.log.read(0) == [Logged(1, purge(1)), Logged(2, None), Logged(3, purge(3))]
    assert storage.log.statistics().unknown == 1


async def test_a_damaged_file_is_an_error(storage: SqliteStorage, path: Path) -> None:
    for number in range(300):
        await storage.store.put(entry(number))
    await storage.close()
    with path.open("r+b") as file:
        file.seek(80_000)
        file.write(b"\xa5" * 400_000)
    await storage.open()
    with pytest.raises(StoreUnavailable, match="SQLite"):
        await scanned(storage.store)


async def test_a_file_that_cannot_be_opened_is_let_go(storage: SqliteStorage, path: Path) -> None:
    await storage.close()
    with path.open("r+b") as file:
        file.seek(8_192)
        file.write(b"\xa5" * 100_000)
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="malformed"):
            await SqliteStorage(path).open()


async def test_writes_that_come_together_share_transactions(storage: SqliteStorage) -> None:
    before = storage.statistics().transactions
    await asyncio.gather(*(storage.store.put(entry(number)) for number in range(200)))
    assert storage.statistics().transactions - before < 100


async def test_purges_and_facts_are_flushed_to_the_disk(
    storage: SqliteStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[bool] = []
    submit = SqliteWriter.submit

    def spy(writer: SqliteWriter, work: Callable[[sqlite3.Connection], Any], *, durable: bool) -> Future[Any]:
        flushed.append(durable)
        return submit(writer, work, durable=durable)

    monkeypatch.setattr(SqliteWriter, "submit", spy)
    await storage.log.append(purge(1))
    await storage.log.trim(1)
    await storage.registry.set("a", "b", b"")
    await storage.registry.set_default("a", "c", b"")
    await storage.registry.remove("a", "c")
    assert flushed == [True] * 5
    await storage.store.put(entry())
    assert flushed[5:] == [False]


async def test_a_full_disk_is_an_error_and_nothing_acknowledged_is_lost(path: Path) -> None:
    """The limit on the size of a file stands for the disk; when it is lifted, writing goes on."""
    result = await asyncio.to_thread(_python, FULL_DISK, str(path))
    assert result.returncode == 0, result.stderr
    assert "SQLite: " in result.stdout


def test_a_job_that_fails_fails_alone(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "db", isolation_level=None, check_same_thread=False)
    connection.execute("CREATE TABLE numbers (number UNIQUE)")
    writer = SqliteWriter(connection)
    gate = threading.Event()
    jobs = [writer.submit(lambda _: gate.wait(20), durable=False)]
    insert = "INSERT INTO numbers VALUES (?)"
    for number in (1, 2, 2, 3):
        jobs.append(writer.submit(lambda c, n=number: c.execute(insert, (n,)).rowcount, durable=False))
    jobs.append(writer.submit(lambda _: [][1], durable=False))
    cancelled = writer.submit(lambda c: c.execute("INSERT INTO numbers VALUES (9)"), durable=False)
    cancelled.cancel()
    gate.set()
    assert not wait(jobs, timeout=60).not_done
    assert [job.exception() and type(job.exception()) for job in jobs] == [
        None, None, None, StoreUnavailable, None, IndexError,
    ]  # fmt: skip
    writer.close()
    writer.close()
    assert [row for (row,) in _sql(tmp_path / "db", "SELECT number FROM numbers")] == [1, 2, 3]


def test_a_durable_job_is_flushed_to_the_disk(tmp_path: Path) -> None:
    """`synchronous` is 2 (FULL) for a group with a durable job in it, 1 (NORMAL) for any other."""
    writer = SqliteWriter(sqlite3.connect(tmp_path / "db", isolation_level=None, check_same_thread=False))

    def synchronous(connection: sqlite3.Connection) -> int:
        return int(connection.execute("PRAGMA synchronous").fetchone()[0])

    assert [writer.submit(synchronous, durable=durable).result() for durable in (True, False, True)] == [2, 1, 2]
    writer.close()


def _sql(path: Path, statement: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    try:
        with connection:
            return connection.execute(statement).fetchall()
    finally:
        connection.close()


def _python(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    folders = [str(Path(edgecache.__file__).parents[1]), str(Path(__file__).parent)]
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(folders)},
        capture_output=True,
        text=True,
        timeout=60,
    )


SCHEMA_1 = (
    "CREATE TABLE entries (id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, scope TEXT NOT NULL, head BLOB NOT NULL,"
    " body BLOB NOT NULL)",
    "CREATE TABLE log (sequence INTEGER PRIMARY KEY, record BLOB NOT NULL)",
    "CREATE TABLE log_state (identity TEXT NOT NULL, newest INTEGER NOT NULL)",
    "CREATE TABLE facts (kind TEXT, name TEXT, value BLOB NOT NULL, PRIMARY KEY (kind, name)) WITHOUT ROWID",
    "INSERT INTO entries VALUES (1, x'01', 's', x'02', x'03')",
    "INSERT INTO log_state VALUES ('before', 7)",
    "INSERT INTO facts VALUES ('secret', 'cluster', x'78')",
    "PRAGMA user_version = 1",
)
FULL_DISK = """
import asyncio, pathlib, random, resource, sys
from storage_samples import entry, purge, scanned
from edgecache.errors import StoreUnavailable
from edgecache.storage.sqlite import SqliteStorage

async def main(path):
    storage, stored = SqliteStorage(path), set()
    await storage.open()
    no_limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, no_limit[1]))
    try:
        for number in range(1_000):
            full = entry(number, body=random.Random(number).randbytes(5_000))
            await storage.store.put(full)
            stored.add(full.key)
    except StoreUnavailable as error:
        print(error)
    try:
        await storage.log.append(purge(1))
    except StoreUnavailable as error:
        print(error)
    assert 0 < len(stored) < 100, len(stored)
    assert stored <= set(await scanned(storage.store))
    resource.setrlimit(resource.RLIMIT_FSIZE, no_limit)
    await storage.store.put(entry(5_000))
    await storage.log.append(purge(2))
    sequences = [one.sequence for one in await storage.log.read(0)]
    assert sequences == list(range(1, len(sequences) + 1)), sequences
    await storage.close()

asyncio.run(main(pathlib.Path(sys.argv[1])))
"""


async def test_what_was_deleted_is_in_no_file_when_the_next_walk_has_ended(storage: SqliteStorage, path: Path) -> None:
    """An erasure: neither in free pages nor in the log beside the file."""
    secret = "SECRETQUESTION of alice"

    def files() -> list[str]:
        return [file.name for file in path.parent.iterdir() if secret.encode() in file.read_bytes()]

    kept, gone = entry(1), entry(2, question=secret)
    await storage.store.put(kept)
    await storage.store.put(gone)
    assert await asyncio.to_thread(files)
    await storage.store.delete([gone])
    assert await asyncio.to_thread(files)  # until then
    assert list(await scanned(storage.store)) == [kept.key]
    assert await asyncio.to_thread(files) == []
    assert await storage.store.get(SCOPE, kept.key) == kept


async def test_a_reader_in_the_way_leaves_it_to_the_next_walk(
    storage: SqliteStorage, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgecache.storage.sqlite_writer.SETTLE_MS", 1)
    found = entry()
    await storage.store.put(found)
    reader = sqlite3.connect(path, isolation_level=None)
    try:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM entries").fetchone()
        await storage.store.delete([found])
        await scanned(storage.store)
        assert path.with_name(path.name + "-wal").stat().st_size > 0
    finally:
        reader.close()
    await scanned(storage.store)
    assert path.with_name(path.name + "-wal").stat().st_size == 0


async def test_what_is_deleted_is_overwritten(storage: SqliteStorage) -> None:
    """Not every SQLite does so unasked."""
    (on,) = await storage.store._database.write(lambda c: c.execute("PRAGMA secure_delete").fetchone(), durable=False)
    assert on == 1
