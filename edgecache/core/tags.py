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


class Tag(msgspec.Struct, frozen=True, array_like=True, order=True, gc=False):
    """One name under which an entry can be purged. Hashable."""

    kind: Kind
    value: str

    def __hash__(self) -> int:
        return hash((self.kind, self.value))


_KINDS = {str(kind): kind for kind in Kind}
EVERYTHING = Tag(Kind.ALL, "")
BROAD = frozenset({Kind.ALL, Kind.SCOPE, Kind.ROUTE, Kind.MODEL})
"""Kinds of which many entries have the same tag: of these purges the time is never guessed."""


def within(scope: str, tag: Tag) -> Tag:
    """What carries `tag` in one scope only. No entry carries such a tag: the ledger makes it of two that are there."""
    if tag == EVERYTHING:
        return Tag(Kind.SCOPE, scope)
    return Tag(Kind.WITHIN, f"{scope}\0{tag.kind}\0{tag.value}")


def apart(tag: Tag) -> tuple[str, Tag] | None:
    """The scope and the tag that `within` made one; None for any other tag."""
    if tag.kind is not Kind.WITHIN:
        return None
    scope, _, inner = tag.value.partition("\0")
    kind, _, value = inner.partition("\0")
    return (scope, Tag(_KINDS[kind], value)) if kind in _KINDS else None


def keys(values: Iterable[str]) -> tuple[Tag, ...]:
    """Owners' keys as tags, in order, without repetition."""
    return tuple(Tag(Kind.KEY, value) for value in dict.fromkeys(values))


def fits(key: str) -> bool:
    """Whether this can be an owner's key: 1 to 1,024 bytes of UTF-8."""
    try:
        return 0 < len(key.encode()) <= MAX_KEY_BYTES
    except UnicodeEncodeError:  # bytes that were not UTF-8 come out of headers as lone surrogates
        return False
