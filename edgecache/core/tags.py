"""Tags: what an answer was made from, and what a purge names.

A tag is a pair (kind, value). Owners' surrogate keys are kind `key`; every other kind is ours and is reached only
through our own calls and rights, so that an owner's key called `all` purges what is tagged `all` and nothing else.
"""

from collections.abc import Iterable
from enum import StrEnum

import msgspec

MAX_KEY_BYTES = 1_024
MAX_HEADER_BYTES = 16_384
MAX_KEYS_PER_PURGE = 256

TAG_HEADERS = ("surrogate-key", "cache-tag", "edge-cache-tag", "xkey", "cache-groups")
"""Response headers that name tags; the first separates by white space, see `parse_keys`."""


class Kind(StrEnum):
    """Name spaces of tags."""

    KEY = "key"
    ID = "id"
    URL = "url"
    ROUTE = "route"
    MODEL = "model"
    SCOPE = "scope"
    ALL = "all"


class Tag(msgspec.Struct, frozen=True, array_like=True, order=True):
    """One name under which an entry can be purged. Hashable."""

    kind: Kind
    value: str

    def __hash__(self) -> int:
        return hash((self.kind, self.value))


EVERYTHING = Tag(Kind.ALL, "")


def keys(values: Iterable[str]) -> tuple[Tag, ...]:
    """Owners' keys as tags, in order, without repetition."""
    return tuple(Tag(Kind.KEY, value) for value in dict.fromkeys(values))


def parse_keys(header: str) -> tuple[str, ...]:
    """The keys of a `Surrogate-Key` header (separated by white space), or of a `Cache-Tag` like one (by commas).

    Keys over 1,024 bytes, and all that comes after 16,384 bytes, are dropped: an answer is tagged with what is left.
    `refused_keys` says what was dropped.
    """
    return tuple(key for key in _split(header) if _fits(key))


def refused_keys(header: str) -> tuple[str, ...]:
    """Why parts of a header cannot be used, one line each; empty when all of it can."""
    problems = []
    if len(header.encode()) > MAX_HEADER_BYTES:
        problems.append(f"the header has {len(header.encode())} bytes, at most {MAX_HEADER_BYTES} are read")
    problems += [
        f"a key has {len(key.encode())} bytes, at most {MAX_KEY_BYTES} are allowed: {key[:40]}..."
        for key in _split(header)
        if not _fits(key)
    ]
    return tuple(problems)


def _split(header: str) -> list[str]:
    cut = header.encode()[:MAX_HEADER_BYTES].decode(errors="ignore")
    return list(dict.fromkeys(cut.replace(",", " ").split()))


def _fits(key: str) -> bool:
    return len(key.encode()) <= MAX_KEY_BYTES
