"""An answer as an HTTP response."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

from aiohttp import HttpVersion11, web
from aiohttp.http import StreamWriter
from multidict import CIMultiDict

from edgecache.core.trace import Trace
from edgecache.errors import EdgecacheError, RequestError
from edgecache.flow.fills import Answer
from edgecache.wire.cache_status import SERVER, cache_status, explain
from edgecache.wire.dialects import of_path
from edgecache.wire.surrogate import TAG_HEADERS

_OURS = frozenset({*TAG_HEADERS, "x-cache", "age", "transfer-encoding", "connection"})

PING = b": ping\n\n"

_log = logging.getLogger("edgecache.http")


def headers_of(answer: Answer, node: str) -> CIMultiDict[str]:
    """What came with the answer, less tags (nobody outside sees them), and how it came about."""
    headers = CIMultiDict([pair for pair in answer.headers if pair[0].lower() not in _OURS])
    for name, value in explain(answer.trace, node).items():
        headers[name] = value
    headers.setdefault("Server", SERVER)
    return headers


def whole(answer: Answer, node: str) -> web.Response:
    headers = headers_of(answer, node)
    headers.popall("Content-Length", None)
    return web.Response(status=answer.status, body=answer.body, headers=headers)


async def streamed(request: web.BaseRequest, answer: Answer, node: str) -> web.StreamResponse:
    """Pieces as they come. An answer that breaks off is broken off here too: the connection closes before the end of
    the body, so that no client takes it for whole.
    """
    assert answer.stream is not None
    response = web.StreamResponse(status=answer.status, headers=headers_of(answer, node))
    told = answer.outcome if _takes_trailers(request) else None
    if told is not None:
        response.headers["Trailer"] = "Cache-Status"
    keeping = KeptAlive(request, response, answer.ping) if answer.ping else contextlib.nullcontext()
    with keeping:
        return await send_pieces(request, response, answer.stream, told)


class KeptAlive:
    """While it is entered, a comment (WHATWG HTML section 9.2.7) goes out whenever nothing else did for `every`
    seconds: proxies and clients give up connections on which nothing comes. Each write is of whole events, so that a
    comment may stand between any two.
    """

    def __init__(self, request: web.BaseRequest, response: web.StreamResponse, every: float) -> None:
        self._request = request
        self._response = response
        self._every = every
        self._sent = 0
        self._timer: asyncio.TimerHandle | None = None
        self._ping: asyncio.Task[None] | None = None

    def __enter__(self) -> None:
        self._wait()

    def _wait(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._every, self._look)

    def _look(self) -> None:
        sent = self._request.writer.output_size
        if self._response.prepared and sent == self._sent and (self._ping is None or self._ping.done()):
            self._ping = asyncio.create_task(self._comment())
        self._sent = sent
        self._wait()

    async def _comment(self) -> None:
        with contextlib.suppress(ConnectionError, RuntimeError):  # the client has gone: whoever sends pieces hears it
            await self._response.write(PING)
            self._sent = self._request.writer.output_size

    def __exit__(self, *_: object) -> None:
        assert self._timer is not None
        self._timer.cancel()
        if self._ping is not None:
            self._ping.cancel()


async def send_pieces(
    request: web.BaseRequest,
    response: web.StreamResponse,
    pieces: AsyncIterator[bytes],
    told: Callable[[], Awaitable[Trace]] | None = None,
) -> web.StreamResponse:
    """See `streamed`; what is `told` at the end goes into a trailer."""
    await response.prepare(request)
    try:
        async for piece in pieces:
            await response.write(piece)
        if told is not None:
            await _end(request, response, cache_status(await told()))
    except EdgecacheError as error:
        _log.warning("an answer broke off: %s", error)
        await _say_broken(request, response, error)
        response.force_close()
        if request.transport is not None:
            request.transport.close()
    return response


async def _say_broken(request: web.BaseRequest, response: web.StreamResponse, error: EdgecacheError) -> None:
    """Who reads a stream of events is told what happened, as its SDK understands it, before the connection closes."""
    dialect = of_path(request.path)
    events = response.headers.get("Content-Type", "").startswith("text/event-stream")
    if events and dialect is not None and isinstance(error, RequestError):
        with contextlib.suppress(ConnectionError):
            await response.write(dialect.broken(error))


def _takes_trailers(request: web.BaseRequest) -> bool:
    """RFC 9110 section 6.5.1; in HTTP/1.1 they go with chunks only (RFC 9112 section 7.1.2)."""
    accepted = [part.partition(";")[0].strip().lower() for part in request.headers.get("TE", "").split(",")]
    return request.version == HttpVersion11 and "trailers" in accepted


async def _end(request: web.BaseRequest, response: web.StreamResponse, status: str) -> None:
    """The last chunk and the trailer section. aiohttp writes none: from here on it is told to add no framing."""
    assert isinstance(request.writer, StreamWriter)
    request.writer.chunked = False
    await response.write_eof(f"0\r\nCache-Status: {status}\r\n\r\n".encode())
