"""The command line's side of the admin API."""

import http.client
import ssl
from typing import Any, Self
from urllib.parse import quote

import msgspec

from edgecache.settings import Settings, address

SECONDS = 30


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
        """The node these settings describe; its token from EDGECACHE_TOKEN or the data folder."""
        host, port = address(admin or settings.listen.admin)
        return cls(host, port, _token(settings), settings.listen.tls_certificate)

    def purge(self, *, keys: list[str], entry: str, url: str) -> str:
        """The id of the purge: of keys, else of one entry, else of a path, else of everything."""
        if keys:
            answer = self.call("POST", "/service/edgecache/purge", {"surrogate_keys": keys})
            return str(answer[keys[0]])
        if entry:
            return str(self.call("POST", f"/purge/id/{quote(entry)}")["id"])
        if url:
            host = url if "://" in url else "host" + url
            return str(self.call("POST", f"/purge/{quote(host, safe='')}")["id"])
        return str(self.call("POST", "/service/edgecache/purge_all")["id"])

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON that came back. Raises Refused."""
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        content = msgspec.json.encode(body) if body is not None else b""
        connection = self._connection()
        try:
            connection.request(method, path, body=content, headers=headers)
            response = connection.getresponse()
            answer = msgspec.json.decode(response.read())
        except (OSError, http.client.HTTPException, msgspec.DecodeError) as error:
            where = f"{self._host}:{self._port}"
            raise Refused(f"No edgecache answers on {where} ({error}). Is `edgecache serve` running?") from None
        finally:
            connection.close()
        if response.status >= 400:
            raise Refused(_reason(answer))
        return answer

    def _connection(self) -> http.client.HTTPConnection:
        if not self._certificate:
            return http.client.HTTPConnection(self._host, self._port, timeout=SECONDS)
        context = ssl.create_default_context(cafile=self._certificate)
        context.check_hostname = False  # the admin address is an IP, the certificate names the service
        return http.client.HTTPSConnection(self._host, self._port, timeout=SECONDS, context=context)

    def __repr__(self) -> str:
        return f"<AdminClient {self._host}:{self._port}>"


def _token(settings: Settings) -> str:
    import os

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
