"""A whole node in a process of its own that notes when each purge was acknowledged and when it was in force here.

`python -m bench.purge_node`, with settings from the environment. Prints `{"port", "admin"}` when it serves; for each
line that comes, the notes since the last one, as `{"acknowledged": {sequence: time}, "applied": {...}}` in seconds of
the system-wide monotonic clock, the same for all processes of one machine.
"""

import asyncio
import gc
import sys
import time
from typing import Any

import msgspec
import uvloop

from edgecache.app import SWITCH, App
from edgecache.core.purges import PurgeRecord
from edgecache.models.progress import Silent
from edgecache.settings import load


class Notes:
    """Times by sequence."""

    def __init__(self, app: App) -> None:
        self.acknowledged: dict[int, float] = {}
        self.applied: dict[int, float] = {}
        log, ledger = app.storage.log, app._ledger
        append = log.append

        async def noted(record: PurgeRecord) -> int:
            sequence = await append(record)
            self.acknowledged[sequence] = time.monotonic()
            return sequence

        log.append = noted  # type: ignore[method-assign]
        app._purge_log.on_applied(lambda: self.applied.setdefault(ledger.applied, time.monotonic()))

    def take(self) -> dict[str, Any]:
        found = {"acknowledged": dict(self.acknowledged), "applied": dict(self.applied)}
        self.acknowledged.clear()
        self.applied.clear()
        return found


async def serve() -> None:
    app = App(load(), Silent())
    notes = Notes(app)
    await app.open()
    sys.setswitchinterval(SWITCH)
    gc.collect()
    gc.freeze()  # as `edgecache serve` does
    assert app.traffic is not None and app.admin is not None
    say({"port": app.traffic.port, "admin": app.admin.port})
    while await asyncio.to_thread(sys.stdin.readline):
        say(notes.take())
    await app.close()


def say(what: dict[str, Any]) -> None:
    sys.stdout.write(msgspec.json.encode(what).decode() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())
