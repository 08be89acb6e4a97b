"""Walks through the store for purge calls: who may have one now, and what its token may see of what it finds."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from edgecache.account.grants import Grant, Token
from edgecache.account.scopes import CREDENTIAL
from edgecache.core.tags import Kind, Tag
from edgecache.edge.purge_audit import word
from edgecache.errors import RequestError
from edgecache.purge.preview import Preview

MOST = 4
"""Walks at a time, but for those of administrators."""
RETRY_AFTER = 2

_OF_A_TENANT = (Kind.ALL, Kind.ROUTE, Kind.MODEL, Kind.URL, Kind.SCOPE)
UNKNOWN: dict[str, Any] = {"count": None, "examples": [], "uncompared": None, "complete": False}
"""What is told of a purge where nothing could be counted."""


class Busy(RequestError):
    """This walk would be beside too many others."""

    status = 429


class Walks:
    """One of each token at a time, and few in all, so that nobody's make the others slow."""

    def __init__(self) -> None:
        self._of: set[str] = set()

    @contextmanager
    def begin(self, token: Token) -> Iterator[None]:
        """Raises Busy."""
        if token.name in self._of:
            raise Busy(f"A preview for the token {token.name!r} is under way: wait for it.", retry_after=RETRY_AFTER)
        if len(self._of) >= MOST and not token.may(Grant.ADMIN):
            raise Busy(f"{MOST} previews are under way on this node: wait for one to end.", retry_after=RETRY_AFTER)
        self._of.add(token.name)
        try:
            yield
        finally:
            self._of.discard(token.name)

    def __repr__(self) -> str:
        return f"<Walks of {sorted(self._of)}>"


def told(found: Preview, token: Token) -> dict[str, Any]:
    """As the answer to the call of this token."""
    return {
        "count": found.count,
        "examples": [
            {
                "id": example.id,
                "question": example.question,
                "tags": [word(tag) for tag in example.tags if is_shown(tag, token)],
            }
            for example in found.examples
        ],
        "uncompared": found.uncompared,
        "complete": found.complete,
    }


def is_shown(tag: Tag, token: Token) -> bool:
    """A token with limits sees keys that it may touch, and nothing that stands for a person or a credential."""
    if not (token.tags or token.tenants):
        return True
    if tag.kind is Kind.KEY:
        return token.may_touch(tag.value)
    if tag.kind in _OF_A_TENANT:
        return not token.tags and not tag.value.startswith(CREDENTIAL)
    return tag.kind is Kind.ID
