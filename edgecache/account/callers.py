"""Whose entries a request may see."""

import hashlib
from enum import StrEnum
from ipaddress import ip_address
from urllib.parse import urlsplit

import msgspec

from edgecache.account.grants import Grant
from edgecache.account.scopes import CREDENTIAL, of_tenant
from edgecache.account.tokens import PREFIX, Tokens
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
    """Credential -> caller. `anonymous` is the scope of those who send none; None refuses them. With `local_only` they
    must name this machine as the host: a page of another site, whose name was pointed here, names its own.
    """

    def __init__(self, tokens: Tokens, *, secret: bytes, anonymous: Scope | None, local_only: bool = False) -> None:
        self._tokens = tokens
        self._secret = secret
        self._anonymous = anonymous
        self._local_only = local_only

    def identify(self, credential: str | None, host: str = "localhost") -> Caller:
        """Raises Unauthenticated, or Forbidden for a token that is not for traffic, or a host that is not ours."""
        if not credential:
            return self._nobody(host)
        if PREFIX in credential:  # however it is dressed up: a token of ours must not pass for a provider's key
            token = self._tokens.holder(credential, Grant.TRAFFIC)
            return Caller(of_tenant(token.scope), By.TOKEN)
        digest = hashlib.blake2b(credential.encode(errors="surrogatepass"), digest_size=12, key=self._secret[:64])
        return Caller(Scope(CREDENTIAL + digest.hexdigest()), By.CREDENTIAL)

    def _nobody(self, host: str) -> Caller:
        if self._anonymous is None:
            raise Unauthenticated("No credential: send `Authorization: Bearer <key>`.")
        if self._local_only and not _is_here(host):
            raise Forbidden(
                f"Without a credential only localhost is answered, not {host[:80]!r}: "
                "send one, or set `anonymous_scope`."
            )
        return Caller(self._anonymous, By.NOTHING)


def _is_here(host: str) -> bool:
    """A Host header's value: name or address, maybe with a port."""
    name = urlsplit(f"//{host}").hostname if "[" not in host or "]" in host else None
    if name is None or name == "localhost":
        return name is not None
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False
