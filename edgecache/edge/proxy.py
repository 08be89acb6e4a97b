"""The traffic listener: which requests are ours to answer, and who answers them."""

import time

from aiohttp import web

from edgecache.core.policy import Mode
from edgecache.edge.calls import Api
from edgecache.edge.documents import Documents
from edgecache.edge.embeddings import Embeddings
from edgecache.edge.handshake import is_handshake
from edgecache.edge.metrics import Metrics
from edgecache.edge.relay import Relay
from edgecache.edge.requests import target
from edgecache.edge.rights import Rights
from edgecache.edge.server import error_response
from edgecache.edge.spoken import Spoken
from edgecache.edge.websockets import WebSockets
from edgecache.errors import RequestError
from edgecache.policy_book import PolicyBook
from edgecache.wire import embeddings
from edgecache.wire.dialects import is_beside, of_path

MODELS_PATH = "/v1/models"


class Proxy:
    """`embeddings` and `documents` are None where there is no upstream to have them from."""

    def __init__(
        self,
        book: PolicyBook,
        rights: Rights,
        calls: Api,
        sockets: WebSockets,
        spoken: Spoken,
        embeddings: Embeddings | None,
        documents: Documents | None,
        relay: Relay,
        metrics: Metrics,
    ) -> None:
        self._book = book
        self._rights = rights
        self._calls = calls
        self.sockets = sockets
        self._spoken = spoken
        self._embeddings = embeddings
        self._documents = documents
        self._relay = relay
        self._metrics = metrics

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Every request of the traffic listener."""
        started = time.perf_counter()
        if self._spoken.knows(request):
            response = await self._spoken.short_way(request, started)
            if response is not None:
                return response
        try:
            path, query = target(request)
            return await self._handle(request, path, query, started)
        except RequestError as error:
            self._metrics.tally("none", "error").add(0)
            return error_response(error, request.path)

    async def _handle(self, request: web.BaseRequest, path: str, query: str, started: float) -> web.StreamResponse:
        if self._calls.owns(request.method, path):
            return await self._calls.handle(request)
        if is_handshake(request):
            return await self.sockets.handle(request, path, query)
        if request.method == "POST" and self._book.policy.names_path(path):
            dialect = of_path(path)
            if dialect is not None:
                return await self._spoken.handle(request, dialect, path, query, started)
            if self._embeddings is not None and path.endswith(embeddings.SUFFIX) and not is_beside(path):
                return await self._embeddings.handle(request, path, query)
        if request.method == "GET" and path == MODELS_PATH:
            return await self._relay.models(request, path, query)
        document = await self._document(request, path, query)
        return document or await self._relay.pass_through(request, path, query)

    async def _document(self, request: web.BaseRequest, path: str, query: str) -> web.StreamResponse | None:
        """None where no rule of mode `http` is for this path and caller."""
        if self._documents is None or not self._book.policy.names_path(path):
            return None
        caller = self._rights.identify(request)
        route = self._book.policy.choose(path, "", caller.scope)
        if route is None or route.mode is not Mode.HTTP:
            return None
        self._rights.check_key(caller, route, path)
        return await self._documents.handle(request, path, query, route, caller)

    def __repr__(self) -> str:
        return f"<Proxy {self._spoken!r}>"
