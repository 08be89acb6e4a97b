"""WebSockets of the providers: the handshake, then a link of bytes. Connections of their own, apart from the pool's."""

import asyncio
import ssl
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import aiohttp
import msgspec
from yarl import URL

from edgecache.core.links import Handshake
from edgecache.core.ports import Call
from edgecache.errors import (
    BadRequest,
    EdgecacheError,
    InvalidSettings,
    NoUpstream,
    UpstreamBroken,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from edgecache.upstream import failures, headers
from edgecache.upstream.client import HEAD_LIMIT, NOT_ADDED
from edgecache.upstream.environment import Proxy, proxy_for, tls_context
from edgecache.upstream.link import Link
from edgecache.upstream.target import NOT_IN_A_URL, Target
from edgecache.upstream.trust import trusted
from edgecache.wire import websocket

REFUSAL_LIMIT: Final = 1 << 20
"""Bytes of the body with which a provider may refuse."""

MOST_ASKED: Final = 2
"""Upstreams for one WebSocket, so that an outage of one does not multiply what the others get."""

UPGRADE: Final = (("Connection", "Upgrade"), ("Upgrade", "websocket"))

Candidates = Callable[[tuple[str, ...]], Iterable[Target]]
"""Who may be asked, in turn: of these names, or of all for ()."""


class UpstreamWebSockets:
    """`Upgrades` of the ports. `targets` are all there are."""

    def __init__(self, targets: Sequence[Target], candidates: Candidates) -> None:
        self._targets = tuple(targets)
        self._candidates = candidates
        self._session: aiohttp.ClientSession | None = None
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._proxies: dict[str, Proxy | None] = {}

    def __repr__(self) -> str:
        return f"<UpstreamWebSockets of {', '.join(target.name for target in self._targets) or 'nobody'}>"

    async def open(self) -> None:
        """Reads proxies and certificates; connects to nothing. Raises InvalidSettings."""
        problems = []
        for target in self._targets:
            try:
                if target.secure:
                    self._contexts[target.name] = await asyncio.to_thread(tls_context, target)
                self._proxies[target.name] = proxy_for(target)
            except InvalidSettings as error:
                problems += error.problems
        if problems:
            raise InvalidSettings(problems)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=NOT_ADDED,
            max_line_size=HEAD_LIMIT,
            max_field_size=HEAD_LIMIT,
        )
        self._session._retry_connection = False  # see client.py: it would dial once more by itself

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def connect(self, call: Call) -> Handshake:
        """See the port. A handshake changes nothing, so that another is asked whatever became of it."""
        failure: EdgecacheError = NoUpstream("no upstream for this WebSocket is configured: add it, or name another")
        for target in self._may_be_asked(call)[:MOST_ASKED]:
            try:
                return await self._shake(target, call)
            except (UpstreamUnreachable, UpstreamTimeout) as error:
                failure = error
        raise failure

    def _may_be_asked(self, call: Call) -> list[Target]:
        """In turn. A key in a subprotocol is one in a header to `trusted`."""
        protocols = tuple(pair for pair in call.headers if pair[0].lower() == "sec-websocket-protocol")
        shown = tuple((value, "") for _, value in protocols)
        named = [target for target in self._targets if not call.upstreams or target.name in call.upstreams]
        allowed = trusted(msgspec.structs.replace(call, headers=call.headers + shown), named)
        return [target for target in self._candidates(call.upstreams) if target in allowed]

    async def _shake(self, target: Target, call: Call) -> Handshake:
        error: EdgecacheError
        try:
            async with asyncio.timeout(target.timers.connect + target.timers.first_byte):
                response = await self._request(target, call)
                if response.status == 101:
                    return _taken(response, target, call)
                return await _refused(response, target)
        except TimeoutError:
            error = UpstreamTimeout(f"upstream {target.name}: it did not answer a WebSocket handshake in time")
        except (aiohttp.ClientError, OSError) as caught:
            error = failures.before_head(caught, target)
        raise error

    async def _request(self, target: Target, call: Call) -> aiohttp.ClientResponse:
        if self._session is None:
            raise RuntimeError("open it first")
        proxy = self._proxies[target.name]
        fields = [*headers.outgoing(call.headers, target, configured_key=call.configured_key), *UPGRADE]
        return await self._session.request(
            "GET",
            _url(target, call),
            headers=fields,
            ssl=self._contexts.get(target.name, True),
            proxy=proxy.url if proxy else None,
            proxy_headers=proxy.headers if proxy else None,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=None, connect=target.timers.connect),
        )


def _url(target: Target, call: Call) -> URL:
    """Nothing is encoded or decoded: the provider gets the request target that came."""
    if NOT_IN_A_URL.search(call.path) or NOT_IN_A_URL.search(call.query):
        raise BadRequest("the URL holds control characters, blanks or bytes that are not UTF-8")
    base = URL(target.base_url, encoded=True)
    return URL.build(
        scheme=base.scheme,
        authority=base.raw_authority,
        path=target.path_for(call.path),
        query_string=call.query,
        encoded=True,
    )


def _taken(response: aiohttp.ClientResponse, target: Target, call: Call) -> Handshake:
    """Only what proves to have read this very handshake is taken for a WebSocket (RFC 6455 section 4.1)."""
    key = next((value for name, value in call.headers if name.lower() == "sec-websocket-key"), "")
    accepted = response.headers.getall("Sec-WebSocket-Accept", [])
    protocol = response.connection.protocol if response.connection is not None else None
    switched = response.headers.get("Upgrade", "").lower() == "websocket"
    if protocol is None or not switched or accepted != [websocket.accept(key)]:
        response.close()
        raise UpstreamBroken(f"upstream {target.name}: its answer to a WebSocket handshake is none")
    link = Link(protocol, response.close)
    protocol.set_parser(link, None)
    return Handshake(status=101, headers=headers.incoming(response.raw_headers), link=link)


async def _refused(response: aiohttp.ClientResponse, target: Target) -> Handshake:
    try:
        content = b""
        async for piece in response.content.iter_any():
            content += piece
            if len(content) > REFUSAL_LIMIT:
                raise UpstreamBroken(f"upstream {target.name}: it refuses a WebSocket with over {REFUSAL_LIMIT} bytes")
        return Handshake(status=response.status, headers=headers.incoming(response.raw_headers), body=content)
    finally:
        response.close()
