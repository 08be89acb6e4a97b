"""What the machine's environment says about reaching a provider: proxies and trusted authorities.

Read once, when the pool opens. aiohttp's own `trust_env` is not used: it asks the environment in a thread for every
request, and it would send credentials from a `.netrc` in place of the caller's.
"""

import base64
import ssl
from typing import Final
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import msgspec

from edgecache.errors import InvalidSettings
from edgecache.upstream.target import Target

PROXY_SCHEMES: Final = ("http", "https")


class Proxy(msgspec.Struct, frozen=True):
    """A proxy without its credentials, and the header that carries them."""

    url: str
    headers: tuple[tuple[str, str], ...] = ()

    def __repr__(self) -> str:
        return f"<Proxy {self.url}{' with credentials' if self.headers else ''}>"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [("url", self.url)]


def proxy_for(target: Target) -> Proxy | None:
    """The proxy that HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY name for a target.

    Raises:
        InvalidSettings: it is not an HTTP proxy.
    """
    url = urlsplit(target.base_url)
    port = url.port or (443 if url.scheme == "https" else 80)
    if proxy_bypass(f"{url.hostname}:{port}"):
        return None
    proxies = getproxies()
    named = proxies.get(url.scheme) or proxies.get("all")
    return _parse(named, target) if named else None


def _parse(named: str, target: Target) -> Proxy:
    url = urlsplit(named if "://" in named else f"http://{named}")
    if url.scheme not in PROXY_SCHEMES or not url.hostname:
        raise InvalidSettings([f"upstream {target.name}: the environment's proxy is not an http:// or https:// URL"])
    bare = f"{url.scheme}://{url.netloc.rpartition('@')[2]}"
    if url.username is None:
        return Proxy(bare)
    pair = f"{unquote(url.username)}:{unquote(url.password or '')}"
    return Proxy(bare, (("Proxy-Authorization", "Basic " + base64.b64encode(pair.encode()).decode()),))


def tls_context(target: Target) -> ssl.SSLContext:
    """Trusts the system's authorities, or SSL_CERT_FILE in their place (OpenSSL reads it), and the target's `ca_file`.

    Slow (it reads all certificates): call it in a thread.

    Raises:
        InvalidSettings: `ca_file` cannot be used.
    """
    context = ssl.create_default_context()
    context.set_alpn_protocols(("http/1.1",))
    if target.ca_file:
        try:
            context.load_verify_locations(cafile=target.ca_file)
        except OSError as error:  # ssl.SSLError is one: the file is there but holds no certificate
            raise InvalidSettings([f"upstream {target.name}: ca_file {target.ca_file}: {error}"]) from error
    return context
