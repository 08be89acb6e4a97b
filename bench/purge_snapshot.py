"""For how long a snapshot of the ledger holds the event loop: it remembers as many tags as it can, hard and soft."""

import time

from bench.figures import Figure, figure
from edgecache.core.ledger import Ledger
from edgecache.core.purges import Effect, Logged, PurgeRecord
from edgecache.core.tags import keys

TAGS = 200_000
BATCH = 200


def measure(repeats: int) -> list[Figure]:
    ledger = Ledger("bench")
    for first in range(0, TAGS, BATCH):
        tags = keys(f"key-{number}" for number in range(first, first + BATCH))
        for effect in (Effect.PURGE, Effect.SOFT):
            ledger.apply(Logged(ledger.applied + 1, PurgeRecord("bench", tags, 0.0, effect)))
    return [figure("snapshot_ms", [_frozen(ledger) for _ in range(repeats)], "ms")]


def _frozen(ledger: Ledger) -> float:
    """Milliseconds. The bytes are made in another thread."""
    begun = time.perf_counter()
    ledger.frozen()
    return 1_000 * (time.perf_counter() - begun)
