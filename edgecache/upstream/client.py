"""One target, its connections, and one attempt to get an answer from it."""

import asyncio
import io
import ssl
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Final

import aiohttp
import msgspec
from yarl import URL

from edgecache.core.ports import Call
from edgecache.errors import BadRequest, MethodNotAllowed, RequestError, UpstreamBroken
from edgecache.upstream import failures, headers
from edgecache.upstream.connections import Connector
from edgecache.upstream.deadline import Deadline
from edgecache.upstream.environment import Proxy
from edgecache.upstream.reply import Reply
from edgecache.upstream.tally import Lease
from edgecache.upstream.target import NOT_IN_A_URL, Target

HEAD_LIMIT: Final = 65_536
"""Bytes of one header field, or of the status line, that a provider may send."""

LARGE_BODY: Final = 2**20
"""Above this, aiohttp wants a file, which it writes piece by piece."""

NEVER_SENT: Final = ("TRACE", "CONNECT")
"""A provider may answer TRACE with our key, and CONNECT with a tunnel (RFC 9110 sections 9.3.8 and 9.3.6)."""

NOT_ADDED: Final = ("Accept", "Accept-Encoding", "User-Agent", "Content-Type")


class Failure(msgspec.Struct, frozen=True):
    """An attempt without an answer. `reached` is false where the provider cannot have seen anything of the request.
    `stale`: the connection was kept from a request before, and lost before an answer came.
    """

    error: RequestError
    reached: bool
    stale: bool = False


class Client:
    """`open` makes the pool of connections, `close` drops it with all that is under way."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._kept: aiohttp.ClientSession | None = None
        self._fresh: aiohttp.ClientSession | None = None
        self._proxy: Proxy | None = None

    def __repr__(self) -> str:
        return f"<Client of {self.target.name}: {'open' if self._kept else 'closed'}>"

    def open(self, context: ssl.SSLContext | None, proxy: Proxy | None) -> None:
        """`context` is for https targets."""
        bound = self.target.connections
        limit = max(bound, self.target.concurrency) if bound else 0
        trust = context or True
        self._proxy = proxy
        self._kept = _session(
            Connector(limit=limit, keepalive_timeout=self.target.keepalive, ssl=trust)
        )  # fmt: skip
        self._fresh = _session(aiohttp.TCPConnector(limit=limit, force_close=True, ssl=trust))

    async def close(self) -> None:
        sessions, self._kept, self._fresh = (self._kept, self._fresh), None, None
        for session in sessions:
            if session is not None:
                await session.close()

    async def attempt(self, call: Call, began: float, lease: Lease, *, fresh: bool = False) -> Reply | Failure:
        """Ask once, over a kept connection where there is one and it need not be a `fresh` one. A reply ends the lease.

        Raises:
            BadRequest, MethodNotAllowed: the request cannot be sent at all.
            whatever a streamed request body raises
        """
        if call.method.upper() in NEVER_SENT:
            raise MethodNotAllowed(f"{call.method} is not passed on: use another method.")
        session = self._fresh if fresh else self._kept
        if session is None:
            raise RuntimeError(f"upstream {self.target.name}: open it first")
        return await self._exchange(session, call, began, lease)

    async def _exchange(
        self, session: aiohttp.ClientSession, call: Call, began: float, lease: Lease
    ) -> Reply | Failure:
        deadline = Deadline(self.target, began, streams=not isinstance(call.body, bytes))
        upload = _Upload(call.body, deadline)
        url, fields = self._url(call), self._fields(call)
        try:
            async with deadline.head():
                response = await self._request(session, call.method, url, fields, upload, deadline)
        except (aiohttp.ClientError, OSError) as caught:
            if upload.error is not None:
                raise upload.error from None
            return self._failure(caught, deadline)
        finally:
            deadline.settle()
        if response.status < 200:
            response.close()
            return Failure(_no_answer(self.target, response.status), True)
        coding = headers.unknown_coding(response.headers.getall("Transfer-Encoding", ()))
        if coding is not None:
            response.close()
            return Failure(_strange(self.target, coding), True)
        return Reply(self.target, response, deadline, lease, call.dialect)

    def _failure(self, caught: Exception, deadline: Deadline) -> Failure:
        if isinstance(caught, TimeoutError):
            return Failure(deadline.error(), deadline.reached)
        lost = isinstance(caught, aiohttp.ClientOSError | aiohttp.ServerDisconnectedError)
        return Failure(failures.before_head(caught, self.target), deadline.reached, lost and deadline.reused)

    async def _request(
        self,
        session: aiohttp.ClientSession,
        method: str,
        url: URL,
        fields: list[tuple[str, str]],
        upload: "_Upload",
        deadline: Deadline,
    ) -> aiohttp.ClientResponse:
        return await session.request(
            method,
            url,
            headers=fields,
            data=upload.payload(),
            proxy=self._proxy.url if self._proxy else None,
            proxy_headers=self._proxy.headers if self._proxy else None,
            allow_redirects=False,
            trace_request_ctx=deadline,
        )

    async def probe(self, path: str, seconds: float) -> int | None:
        """The status with which a GET is answered within so many seconds, asked with the target's own key; None where
        there is no answer.
        """
        path, _, query = path.partition("?")
        call = Call(method="GET", path=path, query=query, headers=(), body=b"", configured_key=True)
        began = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(seconds):
                came = await self.attempt(call, began, Lease.nothing())
                if isinstance(came, Failure):
                    return None
                try:
                    async for _ in came.chunks():
                        pass
                finally:
                    await came.close()
        except (RequestError, TimeoutError):
            return None
        return came.status

    def _url(self, call: Call) -> URL:
        """Nothing is encoded or decoded: the provider gets the request target that came."""
        if NOT_IN_A_URL.search(call.path) or NOT_IN_A_URL.search(call.query):
            raise BadRequest("the URL holds control characters, blanks or bytes that are not UTF-8")
        if not call.path.startswith("/"):  # CONNECT, and OPTIONS *, ask for something else than a resource
            raise BadRequest("only paths that begin with / are passed on")
        base = URL(self.target.base_url, encoded=True)
        path = self.target.path_for(call.path)
        return URL.build(
            scheme=base.scheme, authority=base.raw_authority, path=path, query_string=call.query, encoded=True
        )

    def _fields(self, call: Call) -> list[tuple[str, str]]:
        fields = headers.outgoing(call.headers, self.target, configured_key=call.configured_key)
        length = None if isinstance(call.body, bytes) else headers.declared_length(call.headers)
        if length is not None:
            fields.append(("Content-Length", length))
        if self._proxy and not self.target.secure:
            fields += self._proxy.headers  # no tunnel: the proxy reads the request itself
        return fields


class _Upload:
    """A request's body on its way. Tells the deadline when a streamed one has ended, and keeps the caller's error."""

    def __init__(self, body: bytes | AsyncIterator[bytes], deadline: Deadline) -> None:
        self.error: Exception | None = None
        self._body = body
        self._deadline = deadline

    def payload(self) -> bytes | io.BytesIO | AsyncIterator[bytes] | None:
        """What aiohttp takes: it adds the length of bytes, and sends an iterator chunked if no length is given."""
        if not isinstance(self._body, bytes):
            return self._stream(self._body)
        if len(self._body) > LARGE_BODY:
            return io.BytesIO(self._body)
        return self._body or None

    async def _stream(self, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        try:
            async for chunk in body:
                yield chunk
        except Exception as error:
            self.error = error
            raise
        self._deadline.uploaded()


def _session(connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
    """aiohttp's own timers, cookies, decoding and environment are off."""
    session = aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None),
        auto_decompress=False,
        skip_auto_headers=NOT_ADDED,
        trace_configs=[_tracing()],
        max_line_size=HEAD_LIMIT,
        max_field_size=HEAD_LIMIT,
    )
    # It would send GET, PUT and others once more by itself, uncounted; there is no public switch, and a test that
    # counts what arrives.
    session._retry_connection = False
    return session


def _strange(target: Target, coding: str) -> UpstreamBroken:
    return UpstreamBroken(f"upstream {target.name}: transfer coding {coding[:40]!r} is not read here. {failures.AGAIN}")


def _no_answer(target: Target, status: int) -> UpstreamBroken:
    """A 101 that was not asked for would make a tunnel of the caller's connection for all that stands between."""
    return UpstreamBroken(f"upstream {target.name}: status {status} ends no request. {failures.AGAIN}")


def _tracing() -> aiohttp.TraceConfig:
    """Tells a request's deadline when there is a connection, new or kept."""
    tracing = aiohttp.TraceConfig()
    tracing.on_connection_create_end.append(_connected)
    tracing.on_connection_reuseconn.append(_reused)
    return tracing


async def _connected(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: object) -> None:
    deadline: Deadline = context.trace_request_ctx
    deadline.connected(reused=False)


async def _reused(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: object) -> None:
    deadline: Deadline = context.trace_request_ctx
    deadline.connected(reused=True)
