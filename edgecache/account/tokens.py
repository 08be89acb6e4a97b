"""Tokens we give out: kept hashed, named, and revocable."""

import asyncio
import hashlib
import logging
from collections.abc import Callable

import msgspec

from edgecache.account.grants import Grant, Token, problems, refused
from edgecache.account.scopes import TOKEN, named
from edgecache.core.entry import Scope
from edgecache.core.ports import Registry
from edgecache.errors import BadRequest, Forbidden, NotFound, Unauthenticated

PREFIX = "edgecache-"
_KIND = "token"

_log = logging.getLogger("edgecache.tokens")


class Tokens:
    """All tokens in memory, by digest. `generation` changes whenever the set of them does. `anonymous` is the scope of
    callers without a credential, which no token's may be called like.
    """

    def __init__(
        self, registry: Registry, *, clock: Callable[[], float], random: Callable[[int], str], anonymous: str = ""
    ) -> None:
        self._registry = registry
        self._anonymous = anonymous
        self._clock = clock
        self._random = random
        self._by_digest: dict[str, Token] = {}
        self._local: dict[str, Token] = {}
        self._changing = asyncio.Lock()
        self.generation = 0

    async def open(self) -> None:
        await self.refresh()

    async def refresh(self) -> None:
        """What other nodes changed. Never with what was read before a token was made or revoked here."""
        async with self._changing:
            values = await self._registry.values(_KIND)
            found = [token for name, value in values.items() if (token := _decode(name, value)) is not None]
            self._replace({**{token.digest: token for token in found}, **self._local})

    def _replace(self, tokens: dict[str, Token]) -> None:
        if tokens != self._by_digest:
            self._by_digest = tokens
            self.generation += 1

    def admit_admin(self, secret: str) -> None:
        """The token of this node's own admin file."""
        token = Token("admin", "admin", (Grant.ADMIN,), _digest(secret), self._clock())
        self._local = {token.digest: token}
        self._replace({**self._by_digest, **self._local})

    def find(self, secret: str) -> Token | None:
        """Constant time in the secret: what is compared is its digest."""
        return self._by_digest.get(_digest(secret))

    def holder(self, secret: str, *grants: Grant) -> Token:
        """The token with this secret, which may do what any of `grants` says.

        Raises:
            Unauthenticated: it is not known, or was revoked.
            Forbidden: it may do something else.
        """
        token = self.find(secret)
        if token is None:
            raise Unauthenticated("This edgecache token is not known, or was revoked.")
        if not any(map(token.may, grants)):
            raise Forbidden(refused(token, grants[0]))
        return token

    def named(self, name: str) -> Scope:
        """The scope that `name` means. Raises BadRequest where it could be either of two."""
        if name == self._anonymous and any(token.scope == name for token in self._by_digest.values()):
            raise BadRequest(
                f"{name!r} is the scope of callers without a credential and that of a token: write `{TOKEN}{name}` for "
                "the token's, or change `anonymous_scope`."
            )
        return named(name, self._anonymous)

    def all(self) -> list[Token]:
        return sorted(self._by_digest.values(), key=lambda token: token.name)

    async def create(
        self,
        name: str,
        scope: str,
        grants: tuple[Grant, ...],
        *,
        tags: tuple[str, ...] = (),
        tenants: tuple[str, ...] = (),
    ) -> str:
        """The new token's secret, told once. Raises BadRequest for what no token can be."""
        secret = PREFIX + self._random(32)
        token = Token(name, scope, grants, _digest(secret), self._clock(), tags=tags, tenants=tenants)
        if found := problems(token):
            raise BadRequest(" ".join(found))
        if scope == self._anonymous:
            raise BadRequest(f"{scope!r} is the scope of callers without a credential: choose another for the token.")
        async with self._changing:
            await self._add(token)
        return secret

    async def _add(self, token: Token) -> None:
        """The registry decides between nodes that choose one name at the same time."""
        content = msgspec.json.encode(token)
        taken = any(token.name == known.name for known in self._by_digest.values())
        if taken or await self._registry.set_default(_KIND, token.name, content) != content:
            raise BadRequest(f"There is a token named {token.name!r}: revoke it first, or choose another name.")
        self._replace({**self._by_digest, token.digest: token})

    async def revoke(self, name: str) -> None:
        """In force here when it returns."""
        async with self._changing:
            if not await self._registry.remove(_KIND, name):
                raise NotFound(f"There is no token named {name!r}.")
            kept = {digest: token for digest, token in self._by_digest.items() if token.name != name}
            self._replace({**kept, **self._local})

    def __repr__(self) -> str:
        return f"<Tokens {len(self._by_digest)} generation={self.generation}>"


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()


def _decode(name: str, value: bytes) -> Token | None:
    """None for what a newer version wrote: such a token opens nothing here."""
    try:
        return msgspec.json.decode(value, type=Token)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        _log.warning("the token %r cannot be read here and is not accepted", name)
        return None
