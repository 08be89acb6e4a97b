"""WebSockets, passed through to an upstream (OpenAI's Realtime and Responses): who may open one, and how many."""

import asyncio
import time
from collections.abc import Callable

import msgspec
from aiohttp import web
from multidict import CIMultiDict

from edgecache.account.callers import By, Caller, Callers
from edgecache.core.links import Handshake, Link, Upgrades
from edgecache.core.ports import Call
from edgecache.edge.handshake import check_handshake, check_origin, shown_key, to_upstream
from edgecache.edge.metrics import Metrics
from edgecache.edge.relay import Relay
from edgecache.edge.requests import cookies
from edgecache.edge.tunnel import Tunnel
from edgecache.errors import NotFound, Overloaded, RequestError
from edgecache.upstream.link import Link as ClientLink
from edgecache.wire.websocket import Code, Ending

SWEEP = 1.0
"""Seconds between two looks at all that are open, at most."""

STOPPING = Ending(Code.GOING_AWAY, "this edgecache stops")

Under = Callable[[], tuple[int, int]]
"""What names the policy and the set of tokens in force."""


class SocketLimits(msgspec.Struct, frozen=True):
    """`most` may be open at a time; `message` is the largest message in bytes. One on which nothing comes for `idle`
    seconds is closed. When the node stops, both ends have `drain` seconds to go.
    """

    most: int = 1_024
    message: int = 64 << 20
    idle: float = 600.0
    drain: float = 30.0


class SocketStatistics(msgspec.Struct, frozen=True):
    """`open` now, with those whose upstream has not answered yet; `opened` since the start, `refused` by upstreams."""

    open: int
    opened: int
    refused: int


class Right(msgspec.Struct, frozen=True):
    """Who opens one, and to which upstreams it may go."""

    caller: Caller
    upstreams: tuple[str, ...]


class Gate:
    """Who opens one, judged now, and again whenever what `under` names has changed. Raises what `judge` raises."""

    def __init__(self, judge: Callable[[], Right], under: Under) -> None:
        self._judge = judge
        self._under = under
        self._seen = under()
        self.right = judge()

    def __call__(self) -> Ending | None:
        """Why it may not stay open."""
        if self._seen == self._under():
            return None
        self._seen = self._under()
        try:
            same = self._judge() == self.right
        except RequestError as error:
            return Ending(Code.POLICY_VIOLATION, error.message)
        return None if same else Ending(Code.POLICY_VIOLATION, "the rules for this path have changed")

    def __repr__(self) -> str:
        return f"<Gate {self.right}>"


class WebSockets:
    """`random` gives bytes."""

    def __init__(
        self,
        upgrades: Upgrades | None,
        relay: Relay,
        callers: Callers,
        metrics: Metrics,
        *,
        under: Under,
        limits: SocketLimits,
        node: str,
        random: Callable[[int], bytes],
    ) -> None:
        self._upgrades = upgrades
        self._relay = relay
        self._callers = callers
        self._metrics = metrics
        self._under = under
        self._limits = limits
        self._node = node
        self._random = random
        self._tunnels: dict[asyncio.Task[None], Tunnel] = {}
        self._open = self._opened = self._refused = 0
        self._closing = False
        self._next_sweep: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<WebSockets {self._open} open>"

    def statistics(self) -> SocketStatistics:
        return SocketStatistics(self._open, self._opened, self._refused)

    async def handle(self, request: web.BaseRequest, path: str, query: str) -> web.StreamResponse:
        """A handshake; returns when the WebSocket has ended. Raises RequestError for what goes to no upstream."""
        check_handshake(request)
        if self._upgrades is None:
            raise NotFound(f"No upstream is configured for a WebSocket at {path[:80]}.")
        gate = Gate(lambda: self._right(request, path), self._under)
        await self._relay.pay(gate.right.caller, path, upgrade=True)
        call = _call(request, path, query, gate.right)
        self._check_room()
        self._open += 1
        try:
            return await self._pass(self._upgrades, request, call, gate)
        finally:
            self._open -= 1

    async def close(self) -> None:
        """Tells all that are open to go. Safe twice."""
        self._closing = True
        for tunnel in self._tunnels.values():
            tunnel.end(STOPPING)
        if self._tunnels:
            await asyncio.wait(list(self._tunnels), timeout=self._limits.drain)
        for tunnel in self._tunnels.values():
            tunnel.abort()
        await asyncio.gather(*self._tunnels, return_exceptions=True)
        if self._next_sweep is not None:
            self._next_sweep.cancel()

    # --- who may --------------------------------------------------------------------------------------------------

    def _right(self, request: web.BaseRequest, path: str) -> Right:
        headers = request.headers
        key = shown_key(headers)
        if key is None:
            check_origin(headers)
        caller = self._callers.identify(key, headers.get("Host", ""), cookies(headers))
        return Right(caller, self._relay.admit(caller, path, upgrade=True))

    def _check_room(self) -> None:
        if self._closing:
            raise Overloaded("This node stops: open it again.", retry_after=1)
        if self._open >= self._limits.most:
            raise Overloaded("Too many WebSockets are open: try again.", retry_after=1)

    # --- what goes on ---------------------------------------------------------------------------------------------

    async def _pass(self, upgrades: Upgrades, request: web.BaseRequest, call: Call, gate: Gate) -> web.StreamResponse:
        started = time.perf_counter()
        handshake = await upgrades.connect(call)
        self._metrics.tally("none", "websocket").add(time.perf_counter() - started)
        if handshake.link is None:
            self._refused += 1
            return web.Response(status=handshake.status, body=handshake.body, headers=self._headers(handshake))
        try:
            response, client = await self._switched(request, handshake)
        except BaseException:
            handshake.link.abort()
            raise
        await self._through(client, handshake.link, gate)
        return response

    async def _switched(self, request: web.BaseRequest, handshake: Handshake) -> tuple[web.StreamResponse, Link]:
        """This connection is no HTTP any more; when the handler returns, it is closed."""
        if self._closing:
            raise Overloaded("This node stops: open it again.", retry_after=1)
        response = web.StreamResponse(status=101, headers=self._headers(handshake))
        response.headers.update({"Connection": "Upgrade", "Upgrade": "websocket"})
        response.force_close()
        await response.prepare(request)
        client = ClientLink(request.protocol)
        request.protocol.set_parser(client)  # type: ignore[arg-type]
        return response, client

    async def _through(self, client: Link, upstream: Link, gate: Gate) -> None:
        """A task of its own: what a client sent before it left still goes on when its handler is cancelled."""
        clock = asyncio.get_running_loop().time
        limit = self._limits.message
        tunnel = Tunnel(client, upstream, limit=limit, gate=gate, clock=clock, random=self._random)
        task = asyncio.create_task(tunnel.run())
        self._tunnels[task] = tunnel
        task.add_done_callback(self._tunnels.pop)
        self._opened += 1
        if self._next_sweep is None:
            self._sweep()
        await asyncio.shield(task)

    def _sweep(self) -> None:
        """Looks at all that are open, and again as long as there are any."""
        loop = asyncio.get_running_loop()
        for tunnel in self._tunnels.values():
            tunnel.check(loop.time(), self._limits.idle)
        between = max(0.01, min(SWEEP, self._limits.idle / 4))
        self._next_sweep = loop.call_later(between, self._sweep) if self._tunnels else None

    def _headers(self, handshake: Handshake) -> CIMultiDict[str]:
        headers = CIMultiDict(handshake.headers)
        headers.popall("Content-Length", None)
        headers["X-Served-By"] = self._node
        headers["Cache-Status"] = "edgecache; fwd=bypass"
        return headers


def _call(request: web.BaseRequest, path: str, query: str, right: Right) -> Call:
    by_token = right.caller.by is By.TOKEN
    return Call(
        method="GET",
        path=path,
        query=query,
        headers=to_upstream(request, by_token),
        body=b"",
        upstreams=right.upstreams,
        configured_key=by_token,
    )
