"""Routes of mode `http`: requests for documents, and the HTTP form of their answers."""

import time
from collections.abc import AsyncIterator, Mapping

from aiohttp import web
from multidict import CIMultiDict

from edgecache.account.callers import By, Caller
from edgecache.core.demands import NOTHING, Demands
from edgecache.core.policy import Route
from edgecache.core.ports import Call
from edgecache.core.tags import keys
from edgecache.edge.metrics import Metrics
from edgecache.edge.relay import forwarded
from edgecache.edge.requests import KEY_HEADERS, SMALL, continue_if_expected, streamed_body
from edgecache.edge.respond import send_pieces
from edgecache.flow.documents import DocumentFlow
from edgecache.flow.fills import Answer
from edgecache.flow.heads import joined
from edgecache.flow.shelf import Wanted
from edgecache.purge.orders import document_tag, intrinsic
from edgecache.wire.cache_status import SERVER, explain
from edgecache.wire.freshness import demands
from edgecache.wire.surrogate import TAG_HEADERS

_UNSEEN = frozenset({*TAG_HEADERS, "surrogate-control", "x-cache", "edge-source"})
"""What clients are not shown: tags, and what was said to caches like this one."""
_PRECONDITIONS = ("if-match", "if-unmodified-since")
"""For the origin alone to judge (RFC 9111 section 4.3.2)."""


class _AsItCame(web.StreamResponse):
    """What came without a content type goes on without one: aiohttp would name one (RFC 9110 section 8.3)."""

    async def _prepare_headers(self) -> None:
        named = "Content-Type" in self.headers
        await super()._prepare_headers()
        if not named:
            self.headers.popall("Content-Type", None)


class _Whole(_AsItCame, web.Response):
    """With a body that is at hand."""


class Documents:
    """The handler of these routes. Who calls, and whether this caller may use the route, is settled before."""

    def __init__(self, flow: DocumentFlow, metrics: Metrics, *, node: str) -> None:
        self._flow = flow
        self._metrics = metrics
        self._node = node

    async def handle(
        self, request: web.BaseRequest, path: str, query: str, route: Route, caller: Caller
    ) -> web.StreamResponse:
        started = time.perf_counter()
        await continue_if_expected(request)
        wanted = await _wanted(request, path, query, route, caller)
        reads = request.method in ("GET", "HEAD")
        answer = await (self._flow.answer(wanted) if reads else self._flow.change(wanted))
        try:
            headers = headers_of(answer, self._node)
            if answer.stream is None:
                return _Whole(status=answer.status, body=answer.body, headers=_sized(headers))
            response = _AsItCame(status=answer.status, headers=headers)
            return await send_pieces(request, response, answer.stream)
        finally:
            await answer.close()
            self._metrics.tally(answer.trace.route, answer.trace.name).add(time.perf_counter() - started)

    def __repr__(self) -> str:
        return f"<Documents {self._flow!r}>"


async def _wanted(request: web.BaseRequest, path: str, query: str, route: Route, caller: Caller) -> Wanted:
    by_token = caller.by is By.TOKEN
    headers = _end_to_end(request, forwarded(request, by_token))
    named = joined(headers)
    asked = demands(named)
    return Wanted(
        route=route,
        scope=caller.scope,
        headers=named,
        tags=(
            *intrinsic(scope=caller.scope, route=route.name, model="", path=path),
            document_tag(path),
            *keys(route.tags),
        ),
        call=Call(
            method=request.method,
            path=path,
            query=query,
            headers=headers,
            body=await _body(request),
            upstreams=route.upstreams,
            configured_key=by_token,
        ),
        demands=asked if route.request_directives else NOTHING,
        apart=_apart(request, named, asked),
        authorized=any(name in named for name in KEY_HEADERS),
    )


def _end_to_end(request: web.BaseRequest, headers: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """Less what ends here by the request's own word (RFC 9110 section 7.6.1): the origin does not see it, so nothing is
    told apart by it.
    """
    listed = ",".join(request.headers.getall("Connection", ())).split(",")
    ends = {name.strip().lower() for name in listed} - {"host"}
    return tuple(pair for pair in headers if pair[0].lower() not in ends)


async def _body(request: web.BaseRequest) -> bytes | AsyncIterator[bytes]:
    """A small one whole, so that it can be sent again where a kept connection turns out to be closed."""
    small = request.content_length is not None and request.content_length <= SMALL
    return await request.read() if small else await streamed_body(request)


def _apart(request: web.BaseRequest, named: Mapping[str, str], asked: Demands) -> str | None:
    if asked.no_store:
        return "no-store"
    if request.body_exists:
        return "body"
    return "precondition" if any(name in named for name in _PRECONDITIONS) else None


def headers_of(answer: Answer, node: str) -> CIMultiDict[str]:
    """The origin's, less what is not for clients, and how the answer came about."""
    headers = CIMultiDict([pair for pair in answer.headers if pair[0].lower() not in _UNSEEN])
    for name, value in explain(answer.trace, node).items():
        if name == "Cache-Status":
            headers.add(name, value)  # after those of caches nearer to the origin (RFC 9211 section 2)
        else:
            headers[name] = value
    headers.setdefault("Server", SERVER)
    return headers


def _sized(headers: CIMultiDict[str]) -> CIMultiDict[str]:
    """Without a length: the server counts the bytes."""
    headers.popall("Content-Length", None)
    return headers
