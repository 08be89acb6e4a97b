"""After kill -9 everything acknowledged is there."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from storage_samples import entry, purge, scanned

import edgecache
from edgecache.core.purges import Logged
from edgecache.errors import StoreUnavailable
from edgecache.storage.redis import RedisStorage
from edgecache.storage.sqlite import SqliteStorage
from edgecache.testing.redis_server import RedisServer

WRITER = Path(__file__).with_name("acknowledging_writer.py")


async def test_sqlite_keeps_what_it_acknowledged_when_its_process_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "edgecache.db"
    acknowledged = await asyncio.to_thread(_write_and_kill, path)
    storage = SqliteStorage(path)
    await storage.open()
    await _check(storage, acknowledged)
    await storage.close()


async def test_redis_keeps_what_it_acknowledged_when_the_server_is_killed(redis_installed: None) -> None:
    async with RedisServer() as server:
        storage = RedisStorage(server.url)
        await storage.open()
        acknowledged: list[str] = []
        enough = asyncio.Event()
        writers = [asyncio.create_task(_write(storage, worker, acknowledged, enough)) for worker in range(8)]
        await enough.wait()
        await asyncio.to_thread(server.kill)
        await asyncio.gather(*writers)
        await asyncio.to_thread(server.start)
        entries = await scanned(storage.store)
        numbers = [int(line.split()[1]) for line in acknowledged if line.startswith("entry")]
        assert {entry(number).key for number in numbers} <= set(entries)
        with pytest.raises(StoreUnavailable, match="the purge log"):  # all of them are dead by every purge there was
            await storage.log.read(0)
        await storage.close()


def _write_and_kill(path: Path) -> list[str]:
    environment = os.environ | {"PYTHONPATH": str(Path(edgecache.__file__).parents[1])}
    command = [sys.executable, str(WRITER), str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as writer:
        assert writer.stdout
        lines = [writer.stdout.readline() for _ in range(300)]
        writer.kill()
        lines += writer.stdout.readlines()
    return [line.strip() for line in lines if line.endswith("\n")]


async def _write(storage: RedisStorage, worker: int, acknowledged: list[str], enough: asyncio.Event) -> None:
    try:
        for number in range(worker, 1_000_000, 8):
            await storage.store.put(entry(number))
            acknowledged.append(f"entry {number}")
            sequence = await storage.log.append(purge(number))
            acknowledged.append(f"purge {sequence} {number}")
            if len(acknowledged) >= 300:
                enough.set()
    except StoreUnavailable:
        return


async def _check(storage: SqliteStorage, acknowledged: list[str]) -> None:
    assert len(acknowledged) >= 300
    entries = await scanned(storage.store)
    logged = await storage.log.read(0, limit=100_000)
    assert [one.sequence for one in logged] == list(range(1, len(logged) + 1))
    for line in acknowledged:
        kind, *numbers = line.split()
        if kind == "entry":
            assert entry(int(numbers[0])).key in entries
        else:
            sequence, number = map(int, numbers)
            assert logged[sequence - 1] == Logged(sequence, purge(number))
