"""The nodes as a client sees them: each call of each thread on a connection of its own that stays open."""

import http.client
import ssl
import threading
from typing import Any
from urllib.parse import urlsplit

import msgspec

from edgecache.client import trusting
from edgecache.wire.pushed import PATH

SECONDS = 30.0
"""For one call."""
NEVER_FORWARDED = "only-if-cached, no-transform, max-age=31536000"
"""The answer to this very question, fresh, from cache; else a 504. Nobody is asked, not even to refresh it."""


class Unreachable(Exception):
    """No answer came."""


class Reply(msgspec.Struct, frozen=True):
    status: int
    body: bytes

    def json(self) -> Any:
        """None where it is no JSON."""
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None

    @property
    def is_not_cached(self) -> bool:
        """A node's word for it; a gateway's 504 is another one."""
        told = self.json()
        error = told.get("error") if isinstance(told, dict) else None
        return self.status == 504 and isinstance(error, dict) and error.get("code") == "not_cached"

    @property
    def text(self) -> str | None:
        """What an answer says."""
        try:
            return str(self.json()["choices"][0]["message"]["content"])
        except (LookupError, TypeError):
            return None

    @property
    def reason(self) -> str:
        told = self.json()
        if isinstance(told, dict):
            error = told.get("error")
            return str(told.get("detail") or (error.get("message") if isinstance(error, dict) else None) or told)[:300]
        return repr(self.body[:100])


class Node:
    """One traffic listener. `certificate` is what it shows, empty for one that the system trusts."""

    def __init__(self, url: str, certificate: str = "") -> None:
        """
        Raises:
            ValueError: not the address of a node.
        """
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/"):
            raise ValueError(f"A node is an address such as http://127.0.0.1:8080, not {url!r}.")
        self.name = parts.netloc.rpartition("@")[2]
        self._host, self._port = parts.hostname, parts.port
        self._tls = parts.scheme == "https"
        self._certificate = certificate
        self._mine = threading.local()
        self._all: list[http.client.HTTPConnection] = []

    def __repr__(self) -> str:
        return f"<Node {self.name}>"

    def call(self, path: str, body: Any, token: str, **headers: str) -> Reply:
        """A POST. One that finds a kept connection closed is sent again: all that is sent here may be.

        Raises:
            Unreachable: no answer came.
        """
        content = msgspec.json.encode(body)
        named = {"Content-Type": "application/json", "Authorization": f"Bearer {token}", **headers}
        connection: http.client.HTTPConnection | None = getattr(self._mine, "kept", None)
        if connection is not None:
            try:
                return self._exchange(connection, path, content, named)
            except (OSError, http.client.HTTPException):
                connection.close()
        try:
            return self._exchange(self._connect(), path, content, named)
        except (OSError, http.client.HTTPException) as error:
            self._mine.kept = None
            raise Unreachable(f"{self.name} does not answer ({error or type(error).__name__})") from None

    def read(self, question: str, model: str, token: str) -> Reply:
        """What it has for a question. Raises Unreachable."""
        body = {"model": model, "messages": [{"role": "user", "content": question}]}
        return self.call(PATH, body, token, **{"Cache-Control": NEVER_FORWARDED})

    def close(self) -> None:
        """All connections; call it when no thread uses any more of them."""
        while self._all:
            self._all.pop().close()

    def _exchange(
        self, connection: http.client.HTTPConnection, path: str, content: bytes, headers: dict[str, str]
    ) -> Reply:
        connection.request("POST", path, body=content, headers=headers)
        response = connection.getresponse()
        reply = Reply(response.status, response.read())
        self._mine.kept = connection
        return reply

    def _connect(self) -> http.client.HTTPConnection:
        if self._tls:
            context = trusting(self._certificate) if self._certificate else ssl.create_default_context()
            tls = http.client.HTTPSConnection(self._host, self._port, timeout=SECONDS, context=context)
        connection = tls if self._tls else http.client.HTTPConnection(self._host, self._port, timeout=SECONDS)
        self._all.append(connection)
        return connection
