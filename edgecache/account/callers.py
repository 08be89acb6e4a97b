"""Whose entries a request may see."""

import hashlib
import re
from enum import StrEnum
from ipaddress import ip_address
from urllib.parse import urlsplit

import msgspec

from edgecache.account.grants import Grant
from edgecache.account.scopes import CREDENTIAL, of_tenant
from edgecache.account.tokens import PREFIX, Tokens
from edgecache.core.entry import Scope
from edgecache.errors import Forbidden, Unauthenticated

_TOKEN = re.compile(re.escape(PREFIX) + "[0-9a-f]{64}")


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
    """Credential -> caller. `anonymous` is the scope of those who send none; None refuses them. With `local_only`,
    where these are admitted, all who show no token of ours must name this machine as the host: a page of another site,
    whose name was pointed here, names its own, and can add a cookie or any key to its requests.
    """

    def __init__(self, tokens: Tokens, *, secret: bytes, anonymous: Scope | None, local_only: bool = False) -> None:
        self._tokens = tokens
        self._secret = secret
        self._anonymous = anonymous
        self._local_only = local_only

    def identify(self, credential: str | None, host: str = "localhost", cookies: str | None = None) -> Caller:
        """`cookies` make a caller of who shows no `credential`. Raises Unauthenticated, or Forbidden for a token that
        is not for traffic, or a host that is not ours.
        """
        if credential and PREFIX in credential:  # however it is dressed up: it must not pass for a provider's key
            token = self._tokens.holder(credential, Grant.TRAFFIC)
            return Caller(of_tenant(token.scope), By.TOKEN)
        self._check_host(host)
        if credential:
            return self._by_credential(credential)
        if not cookies:
            return self._nobody()
        if holds_token(cookies):  # they go on to the provider
            raise Unauthenticated("A token of this edgecache is in a cookie: send it as `Authorization: Bearer`.")
        return self._by_credential(cookies)

    def _by_credential(self, credential: str) -> Caller:
        digest = hashlib.blake2b(credential.encode(errors="surrogatepass"), digest_size=12, key=self._secret[:64])
        return Caller(Scope(CREDENTIAL + digest.hexdigest()), By.CREDENTIAL)

    def _check_host(self, host: str) -> None:
        if self._local_only and self._anonymous is not None and not _is_here(host):
            raise Forbidden(
                f"On loopback, without a token of this edgecache, only localhost is answered, not {host[:80]!r}: "
                "ask for localhost, send a token, or set `anonymous_scope`."
            )

    def _nobody(self) -> Caller:
        if self._anonymous is None:
            raise Unauthenticated("No credential: send `Authorization: Bearer <key>`.")
        return Caller(self._anonymous, By.NOTHING)


def holds_token(text: str) -> bool:
    """Whether a token of ours may be in it."""
    return _TOKEN.search(text) is not None


def _is_here(host: str) -> bool:
    """A Host header's value: name or address, maybe with a port."""
    name = urlsplit(f"//{host}").hostname if "[" not in host or "]" in host else None
    if name is None or name == "localhost":
        return name is not None
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False
