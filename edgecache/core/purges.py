"""What the purge log carries."""

import msgspec

from edgecache.core.tags import Tag


class PurgeRecord(msgspec.Struct, frozen=True, array_like=True):
    """One order in the log: entries that carry any of `tags` and were begun before it are dead.

    `id` is what the owner was told; `at` is Unix time in seconds, for people; nothing is decided by it."""

    id: str
    tags: tuple[Tag, ...]
    at: float


class Logged(msgspec.Struct, frozen=True, array_like=True):
    """A record with its place in the log; sequences are dense and start at 1."""

    sequence: int
    record: PurgeRecord
