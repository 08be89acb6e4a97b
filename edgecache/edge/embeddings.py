"""Requests for embeddings, and the HTTP form of their answers."""

import asyncio
import time
from collections.abc import Callable

from aiohttp import web

from edgecache.account.callers import By, Caller
from edgecache.core.policy import Mode, Route
from edgecache.core.ports import Call
from edgecache.edge import respond
from edgecache.edge.metrics import Metrics
from edgecache.edge.relay import Relay, forwarded
from edgecache.edge.requests import BodyBudget, body
from edgecache.edge.said import claimed, counted, is_plain
from edgecache.flow.embedding_asks import Wants, settle
from edgecache.flow.embeddings import EmbeddingFlow
from edgecache.policy_book import PolicyBook
from edgecache.wire.embeddings import Batch, read_embeddings

INLINE = 2 << 10
"""Bytes of the largest body that is read on the event loop: each of its inputs gets an identity."""

Identify = Callable[[web.BaseRequest], Caller]
CheckKey = Callable[[Caller, Route, str], None]


class Embeddings:
    """The handler of paths that end in `SUFFIX` and that a rule names. `identify` says who calls, `check_key` raises
    where this caller may not use a route; `relay` passes on what no rule is for.
    """

    def __init__(
        self,
        flow: EmbeddingFlow,
        book: PolicyBook,
        relay: Relay,
        metrics: Metrics,
        *,
        identify: Identify,
        check_key: CheckKey,
        secret: bytes,
        node: str,
        body_limit: int,
        bodies: BodyBudget,
    ) -> None:
        self._flow = flow
        self._book = book
        self._relay = relay
        self._metrics = metrics
        self._identify = identify
        self._check_key = check_key
        self._secret = secret
        self._node = node
        self._body_limit = body_limit
        self._bodies = bodies

    async def handle(self, request: web.BaseRequest, path: str, query: str) -> web.StreamResponse:
        """Raises RequestError."""
        started = time.perf_counter()
        self._identify(request)  # before the body is read, which may take long
        raw = await body(request, self._body_limit, self._bodies)
        caller = self._identify(request)  # and after: a token may have been revoked meanwhile
        wants = await self._wants(request, path, query, raw, caller)
        if wants is None:
            return await self._relay.pass_through(request, path, query, raw)
        answer = await self._flow.answer(wants)
        try:
            if answer.stream is None:
                return respond.whole(answer, self._node)
            return await respond.streamed(request, answer, self._node)
        finally:
            await answer.close()
            self._metrics.tally(answer.trace.route, answer.trace.name).add(time.perf_counter() - started)

    async def _wants(
        self, request: web.BaseRequest, path: str, query: str, raw: bytes, caller: Caller
    ) -> Wants | None:  # fmt: skip
        """None where no rule matches, or the body is compressed: then it is passed through as it came."""
        if not is_plain(request, caller):
            return None
        inline = len(raw) <= INLINE
        batch = read_embeddings(raw, path) if inline else await asyncio.to_thread(read_embeddings, raw, path)
        route = self._book.policy.choose(path, batch.request.model, caller.scope)
        if route is None or route.mode is Mode.HTTP:
            return None
        self._check_key(caller, route, path)
        call = _call(request, path, query, raw, route, by_token=caller.by is By.TOKEN)
        if inline:
            return self._settled(request, batch, caller, route, call)
        return await asyncio.to_thread(self._settled, request, batch, caller, route, call)

    def _settled(self, request: web.BaseRequest, batch: Batch, caller: Caller, route: Route, call: Call) -> Wants:
        asked, identities = settle(
            batch,
            caller.scope,
            route,
            path=call.path,
            query=call.query,
            headers=counted(request),
            claimed=claimed(request, route),
            secret=self._secret,
        )
        return Wants(asked=asked, batch=batch, identities=identities, call=call)

    def __repr__(self) -> str:
        return f"<Embeddings {self._flow!r}>"


def _call(request: web.BaseRequest, path: str, query: str, raw: bytes, route: Route, *, by_token: bool) -> Call:
    return Call(
        method="POST",
        path=path,
        query=query,
        headers=forwarded(request, by_token),
        body=raw,
        upstreams=route.upstreams,
        configured_key=by_token,
    )
