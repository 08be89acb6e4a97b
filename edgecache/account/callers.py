"""Whose entries a request may see."""

import hashlib
from enum import StrEnum

import msgspec

from edgecache.account.tokens import PREFIX, Grant, Token, Tokens
from edgecache.core.entry import Scope
from edgecache.errors import Forbidden, Unauthenticated


class By(StrEnum):
    """How a caller is known."""

    TOKEN = "token"
    """By a token of ours, which no upstream must ever see."""
    CREDENTIAL = "credential"
    """By the credential it sends to its provider."""
    NOTHING = "nothing"


class Caller(msgspec.Struct, frozen=True):
    """`scope` is what is looked up and stored under."""

    scope: Scope
    by: By


class Callers:
    """Credential -> caller. `anonymous` is the scope of those who send none; None refuses them."""

    def __init__(self, tokens: Tokens, *, secret: bytes, anonymous: Scope | None) -> None:
        self._tokens = tokens
        self._secret = secret
        self._anonymous = anonymous

    def identify(self, credential: str | None) -> Caller:
        """Raises Unauthenticated, or Forbidden for a token that is not for traffic."""
        if not credential:
            return self._nobody()
        if credential.startswith(PREFIX):
            return self._holder(self._tokens.find(credential))
        digest = hashlib.blake2b(credential.encode(errors="surrogatepass"), digest_size=12, key=self._secret[:64])
        return Caller(Scope(f"key:{digest.hexdigest()}"), By.CREDENTIAL)

    def _nobody(self) -> Caller:
        if self._anonymous is None:
            raise Unauthenticated("No credential: send `Authorization: Bearer <key>`.")
        return Caller(self._anonymous, By.NOTHING)

    def _holder(self, token: Token | None) -> Caller:
        if token is None:
            raise Unauthenticated("This edgecache token is not known, or was revoked.")
        if not token.may(Grant.TRAFFIC):
            raise Forbidden(f"The token {token.name!r} is not for traffic.")
        return Caller(Scope(f"token:{token.scope}"), By.TOKEN)
