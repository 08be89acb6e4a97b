"""aiohttp's errors in our words. The only place where they are told apart.

A message names the upstream and the reason, never a header, a key or a proxy's credentials: those may stand in the
errors of aiohttp, so that none of them is chained to ours. It ends with what to do next.
"""

import ssl
from typing import Final

import aiohttp

from edgecache.errors import UpstreamBroken, UpstreamUnreachable
from edgecache.upstream.target import Target

AGAIN: Final = "Ask again."
ITS_URL: Final = "Ask again; if it stays so, check this upstream's url."
ITS_CERTIFICATE: Final = "Check this upstream's url, or name its authority as ca_file."
THE_PROXY: Final = "Check HTTP_PROXY, HTTPS_PROXY and NO_PROXY of this node."


def before_head(error: Exception, target: Target) -> UpstreamUnreachable:
    """An attempt that brought no head."""
    return UpstreamUnreachable(f"upstream {target.name}: {_reason(error)}. {_next(error)}")


def in_body(error: Exception, target: Target) -> UpstreamBroken:
    """A body that stopped before its end."""
    reason = "the answer was cut before its end"
    if isinstance(error, aiohttp.ClientPayloadError):
        reason = "the answer's framing is broken or it was cut before its end"
    return UpstreamBroken(f"upstream {target.name}: {reason}. {AGAIN}")


def _reason(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"its certificate is not trusted: {_certificate_reason(error.certificate_error)}"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"its name {error.host} does not resolve"
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return f"cannot connect to the proxy {error.host}:{error.port}: {_os_reason(error.os_error)}"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"cannot connect to {error.host}:{error.port}: {_os_reason(error.os_error)}"
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"the proxy refused to connect: status {error.status}"
    if isinstance(error, aiohttp.ClientResponseError):
        return "what it sent is not an HTTP response"
    return "the connection was closed before an answer came"


def _next(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return ITS_CERTIFICATE
    if isinstance(error, aiohttp.ClientProxyConnectionError | aiohttp.ClientHttpProxyError):
        return THE_PROXY
    no_http = isinstance(error, aiohttp.ClientResponseError)
    return ITS_URL if no_http or isinstance(error, aiohttp.ClientConnectorError) else AGAIN


def _certificate_reason(error: Exception) -> str:
    return error.verify_message if isinstance(error, ssl.SSLCertVerificationError) else type(error).__name__


def _os_reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason}"
    return error.strerror or type(error).__name__
