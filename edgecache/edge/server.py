"""The listeners: aiohttp's low-level server, errors of framing in the provider's shape, TLS."""

import logging
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestHandler, _ErrInfo

from edgecache.errors import BadRequest, InvalidSettings, RequestError
from edgecache.wire.cache_status import SERVER
from edgecache.wire.openai_errors import error_body

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

MAX_FIELD = 32_768
"""Bytes of one header line: a `Surrogate-Key` may have 16,384."""

_log = logging.getLogger("edgecache.http")


class _Protocol(RequestHandler):
    """What cannot be parsed as HTTP is answered as an error of the API, and logged in one line."""

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._messages and isinstance(broken := self._messages[-1][0], _ErrInfo):
            self._break_body(broken)

    def _break_body(self, broken: _ErrInfo) -> None:
        """Framing that breaks in mid-body: aiohttp 3.14 would answer it after the request whose body it is, which
        would wait for the rest of its body for ever. Here that request gets the error, and is the last.
        """
        body = self._messages[-2][1] if len(self._messages) > 1 else getattr(self._current_request, "content", None)
        if body is None or body.is_eof():
            return
        self._messages.pop()
        body.set_exception(_malformed(broken.message))
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
            error: RequestError = _malformed(exc.message)
            _log.info("from %s: %s", request.remote, error)
        elif isinstance(exc, RequestError):
            error = exc
        else:
            _log.error("a request failed", exc_info=exc)
            error = RequestError("Internal error; the log of this node says more.")
        response = error_response(error)
        response.force_close()
        return response


def _malformed(message: str | None) -> BadRequest:
    """aiohttp puts what was sent on lines of its own."""
    what = (message or "").partition("\n")[0].rstrip(": ")
    return BadRequest(f"The request is not well-formed HTTP: {what or 'it cannot be parsed'}.")


class _Server(web.Server):
    def __call__(self) -> RequestHandler:
        return _Protocol(self, loop=self._loop, **self._kwargs)

    def _make_request(self, message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
        """Without aiohttp's own limit of a body: `requests.body` has ours."""
        return web.BaseRequest(message, payload, protocol, writer, task, self._loop, client_max_size=0)


def error_response(error: RequestError) -> web.Response:
    """`{"error": {...}}` with the error's status."""
    headers = {"Server": SERVER}
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    return web.Response(status=error.status, body=error_body(error), content_type="application/json", headers=headers)


class Listener:
    """One address, one handler. `port` is known after `open`."""

    def __init__(self, host: str, port: int, handler: Handler, tls: ssl.SSLContext | None, *, drain: float) -> None:
        self._host = host
        self.port = port
        self._handler = handler
        self._tls = tls
        self._drain = drain
        self._runner: web.ServerRunner | None = None

    async def open(self) -> None:
        server = _Server(
            self._handler,
            handler_cancellation=True,
            auto_decompress=False,
            access_log=None,
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

    async def close(self) -> None:
        """Stop accepting, then wait for running requests up to the drain time."""
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await runner.cleanup()

    def __repr__(self) -> str:
        return f"<Listener {self._host}:{self.port}{' tls' if self._tls else ''}>"


def tls_context(certificate: str, key: str) -> ssl.SSLContext | None:
    """None where no certificate is set. Raises InvalidSettings for files that do not fit."""
    if not certificate:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(Path(certificate), Path(key))
    except (OSError, ssl.SSLError) as error:
        raise InvalidSettings([f"listen.tls_certificate, listen.tls_key: {error}"]) from None
    return context
