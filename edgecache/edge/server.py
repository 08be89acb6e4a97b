"""The listeners: aiohttp's low-level server, callers that stall, errors of framing in the provider's shape, TLS."""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NoReturn

import msgspec
from aiohttp import web
from aiohttp.http_exceptions import (
    BadStatusLine,
    HttpProcessingError,
    InvalidHeader,
    InvalidURLError,
    LineTooLong,
    PayloadEncodingError,
)
from aiohttp.streams import EMPTY_PAYLOAD
from aiohttp.web_protocol import RequestHandler, _ErrInfo

from edgecache.edge.requests import MAX_HEAD, head_too_large
from edgecache.errors import BadRequest, InvalidSettings, MethodNotAllowed, Misframed, RequestError, RequestTimeout
from edgecache.wire.cache_status import SERVER
from edgecache.wire.dialects import error_body

_LAST = RequestTimeout | MethodNotAllowed | Misframed
"""After these nothing more is read of a connection; after CONNECT the parser takes what follows for no request."""

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

MAX_FIELD = 32_768
"""Bytes of one header line: a `Surrogate-Key` may have 16,384."""

KEEPALIVE = 75.0
"""Seconds that a connection may be open without a request."""

ALLOWED = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, PURGE"
"""All but what `requests.NEVER_PASSED_ON` names."""

SWEEP = 5.0
"""Seconds between two looks at all connections, at most."""

_MALFORMED = {
    LineTooLong: "a line of its head is too long",
    InvalidHeader: "a header field holds what it may not",
    InvalidURLError: "its target cannot be parsed",
    BadStatusLine: "its first line is none of HTTP",
    PayloadEncodingError: "its body is not framed as it should be",
}
"""Our words where aiohttp would repeat what was sent, which may be a credential."""

_log = logging.getLogger("edgecache.http")


class Patience(msgspec.Struct, frozen=True):
    """Seconds that a caller has: for a request's head, and for the next byte of its body or of what is sent to it."""

    head: float = 30
    body_idle: float = 60
    write_idle: float = 60

    @property
    def between_sweeps(self) -> float:
        return max(0.01, min(SWEEP, self.head / 4, self.body_idle / 4, self.write_idle / 4))


class _Protocol(RequestHandler):
    """What cannot be parsed as HTTP is answered as an error of the API, and logged in one line.

    `check` ends what stalls: aiohttp has no timer for a head or a body that has begun, nor for a client that does not
    read.
    """

    __slots__ = ("_came_at", "_head_at", "_head_size", "_taken_at", "_unsent")

    def __init__(self, manager: web.Server, **options: Any) -> None:
        super().__init__(manager, **options)
        self._came_at = 0.0
        self._head_at: float | None = None
        self._head_size = 0
        self._taken_at = 0.0
        self._unsent = 0

    def check(self, transport: asyncio.Transport, now: float, patience: Patience) -> None:
        """`transport` is this connection's, also after aiohttp has closed it, which waits for unsent bytes."""
        unsent = transport.get_write_buffer_size()
        if unsent == 0 or self._unsent == 0 or unsent < self._unsent:
            self._taken_at = now
        self._unsent = unsent
        if now - self._taken_at > patience.write_idle:
            transport.abort()
        elif self._head_at is not None and now - self._head_at > patience.head:
            self._end_head(RequestTimeout(f"The head of the request did not come within {patience.head:g} s."))
        elif now - self._came_at > patience.body_idle and not self._reading_paused and not self._buffer_paused:
            self._end_body(patience.body_idle)

    def _end_head(self, error: RequestError) -> None:
        """Answered like a head that cannot be parsed."""
        self._head_at = None
        if self._waiter is None or self._waiter.done():
            return
        self._messages.append((_ErrInfo(error.status, error, error.message), EMPTY_PAYLOAD))
        self._waiter.set_result(None)

    def _end_body(self, limit: float) -> None:
        """Of the request that is being handled: whoever reads its body gets the error, and it is the last."""
        body = getattr(self._current_request, "content", None)
        if body is None or body.is_eof():
            return
        body.set_exception(RequestTimeout(f"Nothing of the request's body came for {limit:g} s."))
        body.feed_eof()
        self.close()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._came_at = self._loop.time()
        if self._waiter is None or self._waiter.done():
            self._head_at = None
        else:
            self._count_head(len(data))
        if self._messages and isinstance(broken := self._messages[-1][0], _ErrInfo):
            self._break_body(broken)

    def _count_head(self, size: int) -> None:
        """More of a head that has not ended. One that came whole is measured by `requests.target`."""
        if self._head_at is None:
            self._head_at, self._head_size = self._came_at, 0
        self._head_size += size
        if self._head_size > MAX_HEAD:
            self._end_head(head_too_large())

    def _break_body(self, broken: _ErrInfo) -> None:
        """Framing that breaks in mid-body: aiohttp 3.14 would answer it after the request whose body it is, which
        would wait for the rest of its body for ever. Here that request gets the error, and is the last.
        """
        body = self._messages[-2][1] if len(self._messages) > 1 else getattr(self._current_request, "content", None)
        if body is None or body.is_eof():
            return
        self._messages.pop()
        body.set_exception(_malformed(broken.exc))
        body.feed_eof()
        self.close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if request.writer.output_size > 0:
            raise ConnectionError("the response has begun")
        if isinstance(exc, HttpProcessingError):
            error: RequestError = _malformed(exc)
            _log.info("from %s: %s", request.remote, error)
        elif isinstance(exc, RequestError):
            error = exc
        else:
            _log.error("a request failed", exc_info=exc)
            error = RequestError("Internal error; the log of this node says more.")
        response = error_response(error, request.path)
        response.force_close()
        return response


def _malformed(error: BaseException) -> BadRequest:
    """Nothing of what was sent is in the message: aiohttp puts it on lines of its own, or the words are ours."""
    ours = next((words for kind, words in _MALFORMED.items() if isinstance(error, kind)), None)
    what = ours or getattr(error, "message", "").partition("\n")[0].rstrip(": ")
    return BadRequest(f"The request is not well-formed HTTP: {what or 'it cannot be parsed'}.")


class _Server(web.Server):
    def __call__(self) -> RequestHandler:
        return _Protocol(self, loop=self._loop, **self._kwargs)

    def _make_request(self, message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
        """Without aiohttp's own limit of a body: `requests.body` has ours."""
        return web.BaseRequest(message, payload, protocol, writer, task, self._loop, client_max_size=0)

    def sweep(self, patience: Patience) -> None:
        """Looks at all connections: cheaper than timers for every request."""
        now = self._loop.time()
        for protocol, transport in list(self._connections.items()):
            assert isinstance(protocol, _Protocol)
            protocol.check(transport, now, patience)


def error_response(error: RequestError, path: str = "") -> web.Response:
    """In the words of the dialect that is spoken at `path`, with the error's status."""
    headers = {"Server": SERVER}
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, MethodNotAllowed):
        headers["Allow"] = ALLOWED
    response = web.Response(
        status=error.status, body=error_body(error, path), content_type="application/json", headers=headers
    )
    if isinstance(error, _LAST):
        response.force_close()
    return response


class Listener:
    """One address, one handler. `port` is known after `open`."""

    def __init__(
        self,
        host: str,
        port: int,
        handler: Handler,
        tls: ssl.SSLContext | None,
        *,
        drain: float,
        patience: Patience | None = None,
    ) -> None:
        self._host = host
        self.port = port
        self._handler = handler
        self._tls = tls
        self._drain = drain
        self._patience = patience or Patience()
        self._runner: web.ServerRunner | None = None
        self._next_sweep: asyncio.TimerHandle | None = None

    async def open(self) -> None:
        server = _Server(
            self._handler,
            handler_cancellation=True,
            auto_decompress=False,
            access_log=None,
            keepalive_timeout=KEEPALIVE,
            max_line_size=MAX_FIELD,
            max_field_size=MAX_FIELD,
        )
        self._runner = web.ServerRunner(server, shutdown_timeout=self._drain)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self.port, ssl_context=self._tls, backlog=1024)
        try:
            await site.start()
        except OSError as error:
            await self.close()
            raise InvalidSettings([f"listen: {self._host}:{self.port}: {error.strerror or error}"]) from None
        self.port = self._runner.addresses[0][1]
        self._sweep(server)

    def _sweep(self, server: _Server) -> None:
        server.sweep(self._patience)
        loop = asyncio.get_running_loop()
        self._next_sweep = loop.call_later(self._patience.between_sweeps, self._sweep, server)

    async def close(self) -> None:
        """Stop accepting, then wait for running requests up to the drain time."""
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await runner.cleanup()
        if self._next_sweep is not None:
            self._next_sweep.cancel()

    def __repr__(self) -> str:
        return f"<Listener {self._host}:{self.port}{' tls' if self._tls else ''}>"


def tls_context(certificate: str, key: str) -> ssl.SSLContext | None:
    """None where no certificate is set. Raises InvalidSettings for files that do not fit."""
    if not certificate:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(Path(certificate), Path(key), password=_encrypted)
    except (OSError, ssl.SSLError) as error:
        raise InvalidSettings([f"listen.tls_certificate, listen.tls_key: {error}"]) from None
    return context


def _encrypted() -> NoReturn:
    """In place of OpenSSL's question on the terminal."""
    raise InvalidSettings(["listen.tls_key: the key is encrypted: give one without a pass phrase"])
