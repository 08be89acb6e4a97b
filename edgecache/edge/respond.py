"""An answer as an HTTP response."""

import logging
from collections.abc import AsyncIterator

from aiohttp import web
from multidict import CIMultiDict

from edgecache.errors import EdgecacheError
from edgecache.flow.fills import Answer
from edgecache.wire.cache_status import SERVER, explain
from edgecache.wire.surrogate import TAG_HEADERS

_OURS = frozenset({*TAG_HEADERS, "x-cache", "age", "transfer-encoding", "connection"})

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
    return await send_pieces(request, response, answer.stream)


async def send_pieces(
    request: web.BaseRequest, response: web.StreamResponse, pieces: AsyncIterator[bytes]
) -> web.StreamResponse:
    """See `streamed`."""
    await response.prepare(request)
    try:
        async for piece in pieces:
            await response.write(piece)
    except EdgecacheError as error:
        _log.warning("an answer broke off: %s", error)
        response.force_close()
        if request.transport is not None:
            request.transport.close()
    return response
