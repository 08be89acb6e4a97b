"""What a token may do, and to what."""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from fnmatch import fnmatchcase

import msgspec

MOST = 64
"""Patterns, and tenants, of one token."""


class Grant(StrEnum):
    """`purge` is both of `purge_select` (keys, URLs, ids, meanings, users) and `purge_all`; `admin` is everything."""

    TRAFFIC = "traffic"
    PURGE = "purge"
    PURGE_SELECT = "purge_select"
    PURGE_ALL = "purge_all"
    PUSH = "push"
    ADMIN = "admin"


PURGING = (Grant.PURGE, Grant.PURGE_SELECT, Grant.PURGE_ALL)

_INCLUDES = {Grant.PURGE: (Grant.PURGE_SELECT, Grant.PURGE_ALL), Grant.ADMIN: tuple(Grant)}
_DOING = {
    Grant.TRAFFIC: "traffic",
    Grant.PURGE: "purging",
    Grant.PURGE_SELECT: "purging what it names",
    Grant.PURGE_ALL: "purging everything",
    Grant.PUSH: "pushing answers",
    Grant.ADMIN: "administration",
}


class Token(msgspec.Struct, frozen=True):
    """A token's facts; `digest` is SHA-256 of the secret in hexadecimal (256 random bits need no salt). `created` is
    Unix time in seconds. `tags` are shell patterns of the surrogate keys it may touch, `tenants` the scopes, by the
    names in `scopes.py`; none of them: no limit.
    """

    name: str
    scope: str
    grants: tuple[Grant, ...]
    digest: str
    created: float
    tags: tuple[str, ...] = ()
    tenants: tuple[str, ...] = ()

    def may(self, grant: Grant) -> bool:
        return grant in self.grants or any(grant in _INCLUDES.get(granted, ()) for granted in self.grants)

    def may_touch(self, key: str) -> bool:
        """Whether this surrogate key is within its limits."""
        return not self.tags or any(fnmatchcase(key, pattern) for pattern in self.tags)


def refused(token: Token, grant: Grant) -> str:
    """What is told where a token may not do what `grant` says."""
    return f"The token {token.name!r} is not for {_DOING[grant]}."


def problems(token: Token) -> Sequence[str]:
    """Why there can be no such token, a sentence each. A limit that limits nothing is one: who set it relies on it."""
    return tuple(_problems(token))


def _problems(token: Token) -> Iterator[str]:
    if not all(map(_nameable, (token.name, token.scope, *token.tenants, *token.tags))):
        yield "A token's name, scope, tenants and tags have 1 to 100 printable characters each."
    if not token.grants:
        yield f"A token grants at least one of {', '.join(Grant)}."
    if max(len(token.tags), len(token.tenants)) > MOST:
        yield f"A token has at most {MOST} tags and {MOST} tenants."
    limited = bool(token.tags or token.tenants)
    if limited and Grant.ADMIN in token.grants:
        yield "A token for administration has no limits."
    elif limited and not any(token.may(grant) for grant in (*PURGING, Grant.PUSH)):
        yield "Tags and tenants limit purging and pushing, which this token is not for."
    if token.tags and Grant.PURGE_ALL in token.grants:
        yield "A token that is limited to tags cannot purge everything."


def _nameable(text: str) -> bool:
    return 0 < len(text) <= 100 and text.isprintable()
