"""What the cache keeps: one answer, the question it answered, and what it was made from."""

from collections.abc import Sequence
from enum import StrEnum
from typing import NewType

import msgspec

from edgecache.core.documents import Document
from edgecache.core.reply import Usage
from edgecache.core.tags import Tag, keys

Scope = NewType("Scope", str)
"""Whose entries these are. Never optional: no lookup in this package works without one."""


_OBJECT = 120
"""About what a small object costs, in bytes."""

MAX_TAGS = 256
"""Most tags of an entry or a fill. An answer that cannot have all its tags is not stored; a request whose tags would
make too many asks for itself.
"""
TOO_MANY_TAGS = "too many tags"
"""Why such an answer is not stored."""


def with_keys(tags: tuple[Tag, ...], values: Sequence[str]) -> tuple[Tag, ...] | None:
    """`tags` and owners' keys, without repetition; None where an entry may not have so many."""
    if len(values) > MAX_TAGS:
        return None
    united = tuple(dict.fromkeys((*tags, *keys(values))))
    return united if len(united) <= MAX_TAGS else None


class Source(StrEnum):
    """Who made an answer. A route lists the sources it may serve."""

    UPSTREAM = "upstream"
    LOCAL = "local"
    ADAPTED = "adapted"
    PUSHED = "pushed"


class Framing(StrEnum):
    """How a provider sent an answer."""

    JSON = "json"
    SSE = "sse"


class Horizon(msgspec.Struct, frozen=True, array_like=True):
    """The newest purge known before a fill began: `log` names the log, `sequence` is dense in it."""

    log: str
    sequence: int


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One stored answer.

    `key` (16 bytes) is the exact key, `partition` (16 bytes) all of the identity but the question's text. `vector` is
    the question as a unit vector of little-endian float32, made by the embedder called `embedder`; None where the
    entry may only be found exactly. `stored_at` is Unix time in seconds, `ttl` seconds. `body` is what the provider
    sent, in `framing`. For so many seconds after its `ttl` it may be served while it is revalidated, or when that fails
    (RFC 5861); `grace` is how long it is kept in all, unless it `must_revalidate` (RFC 9111 section 5.2.2.2).
    `pending` are those of its tags of which other nodes may not have heard yet: it is dead of any of its tags, but is
    served for these only when all have. `compared_to` is the newest purge by meaning it was held against since its
    fill. `document` is what RFC 9111 needs of a page that was fetched; None for answers.
    `usage` is what it cost, as far as its provider told. `bound`: it was asked for by a request that may go on with it
    at its provider.
    """

    key: bytes
    scope: Scope
    partition: bytes
    question: str
    vector: bytes | None
    embedder: str
    tags: tuple[Tag, ...]
    horizon: Horizon
    stored_at: float
    ttl: float
    source: Source
    route: str
    model: str
    dialect: str
    framing: Framing
    content_type: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    stale_while_revalidate: float = 0
    stale_if_error: float = 0
    grace: float = 0
    must_revalidate: bool = False
    compared_to: int = 0
    pending: tuple[Tag, ...] = ()
    document: Document | None = None
    usage: Usage | None = None
    bound: bool = False

    @property
    def id(self) -> str:
        """The name under which this entry can be explained and purged: 32 hexadecimal digits."""
        return self.key.hex()

    @property
    def version(self) -> str:
        """Tells entries under one key apart; tags that are added later change nothing about it."""
        return f"{self.stored_at!r} {self.horizon.sequence} {self.horizon.log}"

    @property
    def expires_at(self) -> float:
        """Unix time in seconds: fresh until then."""
        return self.stored_at + self.ttl

    @property
    def kept_until(self) -> float:
        """Unix time in seconds: of no use to anyone after that."""
        return self.expires_at + self.grace

    def size(self) -> int:
        """About how many bytes this entry costs in memory."""
        named = sum(len(tag.value) for tag in self.tags) + sum(len(name) + len(value) for name, value in self.headers)
        named += len(self.model) + len(self.content_type)
        objects = _OBJECT * (12 + len(self.tags) + 3 * len(self.headers))
        return objects + named + len(self.body) + 4 * len(self.question) + len(self.vector or b"")
