"""A program that writes and says so, until it is killed: `python acknowledging_writer.py FILE`."""

import asyncio
import sys
from pathlib import Path

from storage_samples import entry, purge

from edgecache.storage.sqlite import SqliteStorage


async def main(path: Path) -> None:
    storage = SqliteStorage(path)
    await storage.open()
    await asyncio.gather(*(write(storage, worker) for worker in range(8)))


async def write(storage: SqliteStorage, worker: int) -> None:
    for number in range(worker, 1_000_000, 8):
        await storage.store.put(entry(number))
        print(f"entry {number}", flush=True)
        sequence = await storage.log.append(purge(number))
        print(f"purge {sequence} {number}", flush=True)


asyncio.run(main(Path(sys.argv[1])))
