"""The command line's side of the admin API."""

import http.client
import os
import ssl
from collections.abc import Mapping
from typing import Any, Self

import msgspec

from edgecache.settings import Settings, address

SECONDS = 30
"""How long an answer may take."""
PREVIEW = 90
"""The same, of a preview, which walks through the store for up to a minute."""


class Refused(Exception):
    """What the node said, or that there is none; fit to be shown."""


class AdminClient:
    """Talks to one node's admin listener; over TLS only to the certificate that the settings name."""

    def __init__(self, host: str, port: int, token: str, certificate: str) -> None:
        self._host = host
        self._port = port
        self._token = token
        self._certificate = certificate

    @classmethod
    def of(cls, settings: Settings, admin: str = "") -> Self:
        """The node these settings describe; its token from EDGECACHE_TOKEN or the data folder. Raises Refused."""
        try:
            host, port = address(admin or settings.listen.admin)
        except ValueError as error:
            raise Refused(f"--admin: {error}") from None
        return cls(host, port, _token(settings), settings.listen.tls_certificate)

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        *,
        seconds: float = SECONDS,
    ) -> Any:
        """The JSON that came back. Raises Refused."""
        content = msgspec.json.encode(body) if body is not None else b""
        status, content = self.fetch(method, path, content, headers, seconds=seconds)
        try:
            answer = msgspec.json.decode(content)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Refused(f"What answers on {self._where} is no edgecache ({error}).") from None
        if status >= 400:
            raise Refused(_reason(answer))
        return answer

    def fetch(
        self,
        method: str,
        path: str,
        content: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        seconds: float = SECONDS,
    ) -> tuple[int, bytes]:
        """Status and body. Raises Refused."""
        own = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        connection = self._connection(seconds)
        try:
            connection.request(method, path, body=content, headers={**own, **(headers or {})})
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            raise Refused(f"No edgecache answers on {self._where} ({error}). Is `edgecache serve` running?") from None
        finally:
            connection.close()

    @property
    def _where(self) -> str:
        return f"{self._host}:{self._port}"

    def _connection(self, seconds: float) -> http.client.HTTPConnection:
        if not self._certificate:
            return http.client.HTTPConnection(self._host, self._port, timeout=seconds)
        context = trusting(self._certificate)
        return http.client.HTTPSConnection(self._host, self._port, timeout=seconds, context=context)

    def __repr__(self) -> str:
        return f"<AdminClient {self._where}>"


def trusting(certificate: str) -> ssl.SSLContext:
    """For nodes that show this very certificate, under whatever address."""
    context = ssl.create_default_context(cafile=certificate)
    context.check_hostname = False  # nodes are called by address, the certificate names the service
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # the certificate itself is trusted, not who issued it
    return context


def _token(settings: Settings) -> str:
    if token := os.environ.get("EDGECACHE_TOKEN"):
        return token
    path = settings.folder / "admin-token"
    try:
        return path.read_text().strip()
    except OSError:
        raise Refused(
            f"There is no admin token in {path}: start `edgecache serve` once, or set EDGECACHE_TOKEN."
        ) from None


def _reason(answer: Any) -> str:
    if isinstance(answer, dict):
        if "problems" in answer:
            return "\n".join(answer["problems"])
        if "detail" in answer:
            return f"{answer['msg']}: {answer['detail']}"
        if isinstance(answer.get("error"), dict):
            return str(answer["error"].get("message"))
    return str(answer)
