"""Entries to be purged."""

from edgecache.core.entry import Entry, Framing, Horizon, Scope, Source
from edgecache.core.tags import keys

SCOPE, PARTITION = Scope("team"), b"p" * 16
VECTOR = b"\0\0\x80\x3f" + bytes(12)


def entry(number: int, *tags: str, sequence: int = 0, ttl: float = 100.0, vector: bytes | None = VECTOR) -> Entry:
    return Entry(
        key=number.to_bytes(16, "big"),
        scope=SCOPE,
        partition=PARTITION,
        question="?",
        vector=vector,
        embedder="e",
        tags=keys(tags),
        horizon=Horizon("log", sequence),
        stored_at=0.0,
        ttl=ttl,
        source=Source.UPSTREAM,
        route="r",
        model="m",
        dialect="openai",
        framing=Framing.JSON,
        content_type="application/json",
        headers=(),
        body=b"{}",
    )
