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


class Kind(StrEnum):
    """Name spaces of tags."""

    KEY = "key"
    ID = "id"
    URL = "url"
    ROUTE = "route"
    MODEL = "model"
    SCOPE = "scope"
    USER = "user"
    MEANING = "meaning"
    WITHIN = "within"
    ALL = "all"


class Tag(msgspec.Struct, frozen=True, array_like=True, order=True):
    """One name under which an entry can be purged. Hashable."""

    kind: Kind
    value: str

    def __hash__(self) -> int:
        return hash((self.kind, self.value))


EVERYTHING = Tag(Kind.ALL, "")


def within(scope: str, tag: Tag) -> Tag:
    """What carries `tag` in one scope only. No entry carries such a tag: the ledger makes it of two that are there."""
    if tag == EVERYTHING:
        return Tag(Kind.SCOPE, scope)
    return Tag(Kind.WITHIN, f"{scope}\0{tag.kind}\0{tag.value}")


def keys(values: Iterable[str]) -> tuple[Tag, ...]:
    """Owners' keys as tags, in order, without repetition."""
    return tuple(Tag(Kind.KEY, value) for value in dict.fromkeys(values))


def fits(key: str) -> bool:
    """Whether this can be an owner's key: 1 to 1,024 bytes of UTF-8."""
    try:
        return 0 < len(key.encode()) <= MAX_KEY_BYTES
    except UnicodeEncodeError:  # bytes that were not UTF-8 come out of headers as lone surrogates
        return False
