"""How many records a second a relay could pass on: the smallest of four bounds, computed from assumptions."""

from bench.scale_network import REGIONS, rtt
from bench.scale_region import COMMAND

RECORD = {"one_key": 64, "256_keys": 5_676}
"""Bytes of a record in the log, with keys of 16 characters (`msgspec.msgpack.encode(PurgeRecord(...))`)."""
ENVELOPE = 40
"""Bytes that Redis's protocol adds to a record in a reply: assumed."""
WINDOW = 2 * 2**20
"""Bytes under way on one TCP connection: half of Linux's largest send buffer as it comes (`tcp_wmem`, 4 MiB)."""
NETWORK = 10e9 / 8
"""Bytes a second out of a machine that runs a regional Redis: assumed."""
SITES = 100
BATCH = 1_000
"""Records of one read, as in `edgecache/storage/redis_log.py`."""


def limits() -> dict[str, float]:
    """Records a second from home to the region farthest from it."""
    farthest = max(rtt(REGIONS[0], name) for name in REGIONS)
    found = {}
    for name, size in RECORD.items():
        wire = size + ENVELOPE
        bounds = (WINDOW / farthest / wire, 1 / COMMAND, NETWORK / (SITES * wire))
        found[f"stream_{name}_limit"] = min(bounds)
        found[f"one_read_{name}_limit"] = min(*bounds, BATCH / farthest)
    return found
