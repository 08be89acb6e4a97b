"""What is not answered here: passed through to an upstream as it came, never as an open relay."""

import time
from collections.abc import Callable

from aiohttp import web

from edgecache.account.callers import By, Caller
from edgecache.core.policy import Tier
from edgecache.core.ports import Call, Spending, Upstream
from edgecache.edge.metrics import Metrics
from edgecache.edge.requests import CREDENTIAL_HEADERS, continue_if_expected, is_relative, streamed_body
from edgecache.errors import Forbidden, NotFound, RequestError, Unauthenticated
from edgecache.policy_book import PolicyBook
from edgecache.wire import embeddings
from edgecache.wire.dialects import is_beside, of_path
from edgecache.wire.openai_models import models_added, models_body

TAGS = "surrogate-key"
OURS = "x-edgecache-"
"""Begins the names of headers that say how a request is cached."""
SPOKEN_IN_SOCKETS = "/responses"
"""End of the path of a dialect that is spoken over a WebSocket too, where nobody reads it."""

Identify = Callable[[web.BaseRequest], Caller]


class Relay:
    """`identify` says who calls, `keyed` whether any upstream has a key of its own, `names` are the local model's."""

    def __init__(
        self,
        upstream: Upstream | None,
        book: PolicyBook,
        identify: Identify,
        metrics: Metrics,
        accounts: Spending,
        *,
        keyed: bool,
        names: tuple[str, ...],
        node: str,
    ) -> None:
        self._upstream = upstream
        self._book = book
        self._identify = identify
        self._metrics = metrics
        self._accounts = accounts
        self._keyed = keyed
        self._names = names
        self._node = node

    async def pass_through(
        self, request: web.BaseRequest, path: str, query: str, raw: bytes | None = None
    ) -> web.StreamResponse:
        """`raw` is the body where it has been read."""
        if self._upstream is None:
            here = "POST /v1/chat/completions, /v1/responses, /v1/messages, /v1/completions, and GET /v1/models"
            raise NotFound(f"No upstream is configured for {request.method} {path[:80]}. Served here: {here}.")
        started = time.perf_counter()
        caller = self._identify(request)
        upstreams = self.admit(caller, path)
        await self.pay(caller, path)
        if raw is None:
            await continue_if_expected(request)
        call = Call(
            method=request.method,
            path=path,
            query=query,
            headers=forwarded(request, caller.by is By.TOKEN),
            body=raw if raw is not None else await streamed_body(request),
            upstreams=upstreams,
            configured_key=caller.by is By.TOKEN,
        )
        response = await self._relay(request, call)
        self._metrics.tally("none", "passed").add(time.perf_counter() - started)
        return response

    def admit(self, caller: Caller, path: str, *, upgrade: bool = False) -> tuple[str, ...]:
        """Whose upstreams this caller may reach there, () for any, where nothing of what is asked is read, or, with
        `upgrade`, for a WebSocket. Raises RequestError for none.
        """
        route = self._book.policy.choose(path, "", caller.scope)
        read = of_path(path) is not None or path.endswith(embeddings.SUFFIX) or is_beside(path)
        unread = not read or (upgrade and path.endswith(SPOKEN_IN_SOCKETS))
        by_rule = route is not None and Tier.UPSTREAM in route.tiers and unread
        self._check_relay(caller, path, listed=by_rule)
        return route.upstreams if route is not None else ()

    async def pay(self, caller: Caller, path: str, *, upgrade: bool = False) -> None:
        """By the limits of requests, where our key is used. What is said over a WebSocket nobody counts, so that none
        is opened where tokens or money are limited. Raises LimitReached, Overloaded, Forbidden.
        """
        route = self._book.policy.choose(path, "", caller.scope)
        if route is None or caller.by is not By.TOKEN:
            return
        if upgrade and self._accounts.bounds_usage(caller.scope, route.name):
            raise Forbidden(
                "What is said over a WebSocket is not counted: none is opened where tokens or money are limited."
            )
        await self._accounts.arrive(caller.scope, route.name)
        await self._accounts.admit(caller.scope, route.name)

    def _check_relay(self, caller: Caller, path: str, *, listed: bool) -> None:
        """What no rule sends upstream goes there only with the caller's own credential; nor may a path be written so
        that a rule seems to name it. What is spoken here is read before it may use our key: other methods and
        compressed bodies of its paths would pass the rule by.
        """
        if caller.by is By.TOKEN and (is_relative(path) or not listed):
            raise unlisted(path)
        if caller.by is By.NOTHING and self._keyed:
            raise Unauthenticated("Send a token made with `edgecache token create`, or your own provider key.")

    async def _relay(self, request: web.BaseRequest, call: Call) -> web.StreamResponse:
        assert self._upstream is not None
        reply = await self._upstream.send(call)
        try:
            response = web.StreamResponse(status=reply.status, headers=None)
            for name, value in reply.headers:
                response.headers.add(name, value)
            response.headers["X-Served-By"] = self._node
            response.headers["Cache-Status"] = "edgecache; fwd=bypass"
            await response.prepare(request)
            try:
                async for chunk in reply.chunks():
                    await response.write(chunk)
            except RequestError:
                response.force_close()
                if request.transport is not None:
                    request.transport.close()
            return response
        finally:
            await reply.close()

    async def models(self, request: web.BaseRequest, path: str, query: str) -> web.StreamResponse:
        """Ours, after the upstream's where there is one."""
        if self._upstream is None:
            self._identify(request)
            return web.Response(body=models_body(self._names, 0), content_type="application/json")
        caller = self._identify(request)
        self._check_relay(caller, path, listed=True)
        by_token = caller.by is By.TOKEN
        headers = tuple(pair for pair in forwarded(request, by_token) if pair[0].lower() != "accept-encoding")
        call = Call(method="GET", path=path, query=query, headers=headers, body=b"", configured_key=by_token)
        reply = await self._upstream.send(call)
        try:
            content = b"".join([chunk async for chunk in reply.chunks()])
        finally:
            await reply.close()
        if reply.status == 200:
            content = models_added(content, self._names, 0)
        response = web.Response(status=reply.status, body=content)
        for name, value in reply.headers:
            if name.lower() != "content-length":
                response.headers.add(name, value)
        return response

    def __repr__(self) -> str:
        return f"<Relay to {self._upstream!r}>"


def unlisted(path: str) -> Forbidden:
    return Forbidden(f"No rule of the policy names {path[:80]}: send your own provider key, or add a rule.")


def forwarded(request: web.BaseRequest, by_token: bool) -> tuple[tuple[str, str], ...]:
    """What goes upstream: all but what is meant for us. A token of ours never leaves."""
    ours = {TAGS, "fastly-key", *(CREDENTIAL_HEADERS if by_token else ())}

    def leaves(name: str) -> bool:
        return name not in ours and not name.startswith(OURS)

    return tuple((name, value) for name, value in request.headers.items() if leaves(name.lower()))
