"""What the purge log carries."""

from enum import StrEnum

import msgspec

from edgecache.core.meaning import Meaning
from edgecache.core.tags import Tag


class Effect(StrEnum):
    """PURGE: what carries the tags is dead. SOFT: it is stale. CLAIM: the entry carries these tags too from now on."""

    PURGE = "purge"
    SOFT = "soft"
    CLAIM = "claim"


class PurgeRecord(msgspec.Struct, frozen=True, array_like=True):
    """One order in the log: entries that carry any of `tags`, or that `meaning` covers, and were begun before it.

    `id` is what the owner was told; `at` is Unix time in seconds: a soft purge makes stale from then on, nothing else
    is decided by it. A claim names the entry by scope and key, so that what other nodes hold of it without these tags
    goes before any later purge of them is in force.
    """

    id: str
    tags: tuple[Tag, ...]
    at: float
    effect: Effect = Effect.PURGE
    meaning: Meaning | None = None
    claimed: tuple[str, bytes] | None = None


class Logged(msgspec.Struct, frozen=True, array_like=True):
    """A record with its place in the log; sequences are dense and start at 1. None stands for one that cannot be read
    here, written by a newer version or damaged: it may have purged anything.
    """

    sequence: int
    record: PurgeRecord | None
