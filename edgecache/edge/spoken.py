"""Requests in the dialects that are read here: read once, answered from memory in the shortest way there is."""

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

import msgspec
from aiohttp import web

from edgecache.account.callers import Caller
from edgecache.account.tokens import Tokens
from edgecache.core.entry import Entry
from edgecache.core.policy import Mode, Route
from edgecache.core.ports import Call, Spending
from edgecache.core.tags import keys
from edgecache.edge import prepared, respond
from edgecache.edge.metrics import Metrics
from edgecache.edge.readings import LARGEST, Reading, Readings
from edgecache.edge.relay import TAGS, Relay, forwarded
from edgecache.edge.requests import CREDENTIAL_HEADERS, LIKE_FRAMING, BodyBudget, body
from edgecache.edge.rights import Rights
from edgecache.edge.said import claimed, counted, is_plain
from edgecache.flow.asking import COUNTED_HEADERS, settle
from edgecache.flow.story import Flow
from edgecache.flow.tiers import Ask, Asked
from edgecache.policy_book import PolicyBook
from edgecache.wire.dialect import Dialect, Request

COUNTED = frozenset(
    name.encode() for name in (*CREDENTIAL_HEADERS, *COUNTED_HEADERS, *LIKE_FRAMING, TAGS, "content-encoding", "host")
)
"""Headers that, with target and body, settle everything about a request that can be remembered."""
REMEMBERED = 32 << 20
"""Bytes that readings of earlier requests may cost."""
INLINE = 16 << 10
"""Bytes of the largest body that is read on the event loop."""
LARGE = 1 << 20
"""Bytes above which a body is read by one of `LARGE_READERS` threads."""
LARGE_READERS = 2


class Spoken:
    """The handler of paths of a dialect that a rule names; `relay` passes on what no rule is for."""

    def __init__(
        self,
        flow: Flow,
        book: PolicyBook,
        tokens: Tokens,
        rights: Rights,
        relay: Relay,
        metrics: Metrics,
        accounts: Spending,
        *,
        secret: bytes,
        node: str,
        body_limit: int,
        bodies: BodyBudget,
        clock: Callable[[], float],
    ) -> None:
        self._flow = flow
        self._book = book
        self._tokens = tokens
        self._rights = rights
        self._relay = relay
        self._metrics = metrics
        self._accounts = accounts
        self._secret = secret
        self._node = node
        self._body_limit = body_limit
        self._bodies = bodies
        self._readers = ThreadPoolExecutor(LARGE_READERS, "large-bodies")
        self._clock = clock
        self._readings = Readings(REMEMBERED, COUNTED)

    def knows(self, request: web.BaseRequest) -> bool:
        """Whether it may be one that was read before."""
        return request.method == "POST" and self._readings.knows(request.raw_path)

    async def short_way(self, request: web.BaseRequest, started: float) -> web.StreamResponse | None:
        """A request that was read before, if it is an exact hit from memory. What it reads is kept by the request."""
        length = request.content_length
        if length is None or length > LARGEST or "Expect" in request.headers:
            return None
        key = self._readings.key(await request.read(), request.raw_path, request.raw_headers)
        reading = self._readings.find(key, (self._book.generation, self._tokens.generation))
        return None if reading is None else self._again(request, reading, started)

    async def handle(
        self, request: web.BaseRequest, dialect: Dialect, path: str, query: str, started: float
    ) -> web.StreamResponse:
        self._rights.identify(request)  # before the body is read, which may take long
        raw = await body(request, self._body_limit, self._bodies)
        under = (self._book.generation, self._tokens.generation)
        caller = self._rights.identify(request)  # and after: a token may have been revoked meanwhile
        key = self._readings.key(raw, request.raw_path, request.raw_headers)
        reading = self._readings.find(key, under)
        if reading is None:
            asked = await self._asked(request, dialect, path, query, raw, caller)
            if asked is None:
                return await self._relay.pass_through(request, path, query, raw)
            reading = self._readings.put(key, asked, under)
        return self._again(request, reading, started) or await self._answer(request, path, query, reading, started)

    def _again(self, request: web.BaseRequest, reading: Reading, started: float) -> web.StreamResponse | None:
        """An exact hit from memory, if it is one. Its head is made anew every second, or when anything changed."""
        asked = reading.asked
        if (asked.route.pace and asked.request.stream) or self._accounts.counts_hits(asked.scope, asked.route.name):
            return None
        now = self._clock()
        entry = None
        if reading.second == int(now):
            entry = self._flow.same_entry(reading.asked, reading.tags, reading.seen, now)
        if entry is None:
            entry = self._flow.exact_entry(reading.asked)
            if entry is None or not self._remember(reading, entry, now):
                return None
        body = entry.body if reading.plain else self._flow.presenter.presented(entry, asked)
        if body is None or reading.saver is None:
            return None
        reading.saver.add()
        reading.tally.add(time.perf_counter() - started)
        if reading.head is not None and len(body) <= prepared.LARGEST and prepared.takes_prepared(request):
            return prepared.Prepared(reading.head + body)
        return respond.whole(self._flow.presenter.answer(entry, reading.asked, body), self._node)

    def _remember(self, reading: Reading, entry: Entry, now: float) -> bool:
        """False where this entry cannot be told in the request's dialect."""
        body = self._flow.presenter.presented(entry, reading.asked)
        if body is None:
            return False
        answer = self._flow.presenter.answer(entry, reading.asked, body)
        reading.tags, reading.seen, reading.second = entry.tags, self._flow.horizon(), int(now)
        headers = respond.headers_of(answer, self._node)
        headers.popall("Content-Length", None)
        reading.head = prepared.head(headers, len(answer.body), now)
        reading.tally = self._metrics.tally(answer.trace.route, answer.trace.name)
        reading.plain = body is entry.body
        asked = reading.asked
        reading.saver = self._accounts.saver(asked.scope, asked.route.name, entry.model, entry.usage)
        return True

    async def _answer(
        self, request: web.BaseRequest, path: str, query: str, reading: Reading, started: float
    ) -> web.StreamResponse:
        asked = reading.asked
        answer = await self._flow.answer(self._with_call(asked, request, path, query))
        if answer.trace.hit or answer.trace.served_stale:
            self._accounts.saved(asked.scope, asked.route.name, answer.trace.model, answer.usage)
        try:
            if answer.stream is None:
                return respond.whole(answer, self._node)
            return await respond.streamed(request, answer, self._node)
        finally:
            await answer.close()
            self._metrics.tally(answer.trace.route, answer.trace.name).add(time.perf_counter() - started)

    async def _asked(
        self, request: web.BaseRequest, dialect: Dialect, path: str, query: str, raw: bytes, caller: Caller
    ) -> Asked | None:
        """None where no rule matches, or the body is compressed: then it is passed through as it came."""
        if not is_plain(request, caller):
            return None
        read = dialect.read(raw, path) if len(raw) <= INLINE else await self._read_aside(dialect, raw, path)
        route = self._book.policy.choose(path, read.model, caller.scope)
        if route is None or route.mode is Mode.HTTP:
            return None
        self._rights.check_key(caller, route, path)
        said, tags = counted(request), claimed(request, route)

        def settled() -> Asked:
            return self._settled(path, query, read, caller, route, said, tags)

        return settled() if len(raw) <= INLINE else await asyncio.to_thread(settled)

    async def _read_aside(self, dialect: Dialect, raw: bytes, path: str) -> Request:
        """In a thread; the largest in few of their own, so that none of the others waits for them."""
        readers = self._readers if len(raw) > LARGE else None
        return await asyncio.get_running_loop().run_in_executor(readers, dialect.read, raw, path)

    def _settled(
        self,
        path: str,
        query: str,
        read: Request,
        caller: Caller,
        route: Route,
        said: Mapping[str, str],
        named: tuple[str, ...],
    ) -> Asked:
        asked = settle(read, caller.scope, route, path=path, query=query, headers=said, secret=self._secret)
        if asked.identity is None or not named:
            return asked
        return msgspec.structs.replace(asked, tags=tuple(dict.fromkeys((*asked.tags, *keys(named)))))

    def _with_call(self, asked: Asked, request: web.BaseRequest, path: str, query: str) -> Ask:
        by_token = self._rights.by_token(request)
        call = Call(
            method="POST",
            path=path,
            query=query,
            headers=forwarded(request, by_token),
            body=asked.request.body,
            upstreams=asked.route.upstreams,
            configured_key=by_token,
        )
        return Ask(
            request=asked.request,
            identity=asked.identity,
            scope=asked.scope,
            route=asked.route,
            tags=asked.tags,
            filler=asked.filler,
            demands=asked.demands,
            sources=asked.sources,
            why=asked.why,
            ignored=asked.ignored,
            call=call,
        )

    def __repr__(self) -> str:
        return f"<Spoken {self._readings!r}>"
