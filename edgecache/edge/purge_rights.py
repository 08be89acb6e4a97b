"""Whether a token may purge what is asked, and within which scopes."""

from collections.abc import Callable, Sequence

from edgecache.account.grants import Token, refused
from edgecache.core.entry import Scope
from edgecache.core.tags import Tag, within
from edgecache.edge.purge_calls import Asked
from edgecache.errors import BadRequest, Forbidden

MOST_TAGS = 1_024
"""Tags of one record: 256 keys, each in up to four scopes."""
MOST_MEANINGS = 16
"""Records of one call by meaning, one for each scope: every fill is compared with each of them."""


def scopes(asked: Asked, token: Token, named: Callable[[str], Scope]) -> Sequence[Scope]:
    """The scopes that the purge is narrowed to; none for all there are.

    Raises:
        Forbidden: the token may not purge this, not even in part.
    """
    if not token.may(asked.grant):
        raise Forbidden(refused(token, asked.grant))
    if token.tags:
        _check_keys(asked, token)
    tenants = tuple(dict.fromkeys(map(named, token.tenants)))
    if asked.within is None:
        return tenants
    if tenants and asked.within not in tenants:
        raise Forbidden(f"The token {token.name!r} is not for the scope {asked.within[:80]!r}.")
    return (asked.within,)


def narrowed(tags: Sequence[Tag], scopes: Sequence[Scope]) -> tuple[Tag, ...]:
    """Raises BadRequest where that makes more tags than one record holds."""
    if not scopes:
        return tuple(tags)
    if len(tags) * len(scopes) > MOST_TAGS:
        most = MOST_TAGS // len(scopes)
        raise BadRequest(
            f"This token's {len(scopes)} tenants count for each key: at most {most} keys go into one purge."
        )
    return tuple(within(scope, tag) for scope in scopes for tag in tags)


def check_meanings(scopes: Sequence[Scope]) -> None:
    """Raises BadRequest."""
    if len(scopes) > MOST_MEANINGS:
        raise BadRequest(
            f"This token's {len(scopes)} tenants would make a purge each, at most {MOST_MEANINGS} go into one call: "
            "name one at a time as `scope`, or use a token with fewer tenants."
        )


def _check_keys(asked: Asked, token: Token) -> None:
    if not asked.keys:
        raise Forbidden(f"The token {token.name!r} is limited to tags: it purges by surrogate keys and nothing else.")
    for key in asked.keys:
        if not token.may_touch(key):
            raise Forbidden(f"The token {token.name!r} may not touch the key {key[:80]!r}.")
