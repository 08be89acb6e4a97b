"""A real node in front of a scripted provider of embeddings; no test may block its event loop."""

from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from blockbuster import BlockBuster, blockbuster_ctx
from embedding_provider import RULE, embed

from edgecache.edge.embeddings import Embeddings
from edgecache.edge.requests import target
from edgecache.edge.server import error_response
from edgecache.errors import RequestError
from edgecache.flow.embeddings import EmbeddingFlow
from edgecache.testing.node import Clock, Node, running_node
from edgecache.testing.scripted_upstream import ScriptedUpstream
from edgecache.wire.embeddings import SUFFIX
from edgecache.wiring import Wiring


@pytest.fixture(autouse=True)
def blockbuster() -> Iterator[BlockBuster]:
    """Fails a test in which the event loop was blocked."""
    with blockbuster_ctx("edgecache") as found:
        yield found


@pytest.fixture(autouse=True)
def wired(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the proxy itself knows of embeddings."""
    made = Wiring._proxy

    def proxy(self: Wiring, *given: Any) -> Any:
        proxy = made(self, *given)
        parts, settings = self._parts, self._settings
        assert parts.upstream is not None
        flow = EmbeddingFlow(
            parts.exact, parts.storage.store, parts.fence, self.fills.admission, parts.upstream, parts.accounts
        )  # fmt: skip
        handler = Embeddings(
            flow,
            parts.book,
            proxy._relay,
            parts.metrics,
            identify=proxy._identify,
            check_key=proxy._check_key,
            secret=self._secret,
            node=settings.node_name,
            body_limit=settings.limits.body,
            bodies=self._bodies,
        )
        handle = proxy.handle

        async def first(request: web.BaseRequest) -> web.StreamResponse:
            path, query = target(request)
            if request.method != "POST" or not path.endswith(SUFFIX) or not parts.book.policy.names_path(path):
                return await handle(request)
            try:
                return await handler.handle(request, path, query)
            except RequestError as error:
                return error_response(error, path)

        proxy.handle = first
        return proxy

    monkeypatch.setattr(Wiring, "_proxy", proxy)


@pytest.fixture
async def upstream() -> AsyncGenerator[ScriptedUpstream, None]:
    async with ScriptedUpstream(script=embed) as upstream:
        yield upstream


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def node(tmp_path: Path, upstream: ScriptedUpstream, clock: Clock) -> AsyncGenerator[Node, None]:
    async with running_node(tmp_path, upstream=upstream, policy=RULE, clock=clock) as node:
        yield node
