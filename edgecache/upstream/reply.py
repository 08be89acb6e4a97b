"""An upstream's answer: its head, and its body as it arrives."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Final

import aiohttp

from edgecache.errors import EdgecacheError
from edgecache.upstream import failures, headers
from edgecache.upstream.deadline import Deadline, Timer, missed
from edgecache.upstream.tally import Lease
from edgecache.upstream.target import Target
from edgecache.wire.overload import Opening, Sign

OPENING_S: Final = 2.0
"""Seconds for which the opening of a stream is held back at most: its caller has not even a head until then."""


class Reply:
    """`UpstreamReply` of the ports. The end of the body gives the connection back; `close` before it drops it."""

    def __init__(
        self, target: Target, response: aiohttp.ClientResponse, deadline: Deadline, lease: Lease, dialect: str = ""
    ) -> None:
        self.dialect = dialect
        self._target = target
        self._response = response
        self._deadline = deadline
        self._lease = lease
        self._closed = False
        self._headers = headers.incoming(response.raw_headers)
        self._held: deque[bytes] = deque()
        self._broken: EdgecacheError | None = None
        self._lost = _closing(response)
        if self._lost is not None:
            self._lost.add_done_callback(self._break)
        self._ending = asyncio.get_running_loop().call_at(deadline.ends_at, self._expire)

    def __repr__(self) -> str:
        return f"<Reply of {self.upstream}: {self.status}, {'closed' if self._closed else 'open'}>"

    @property
    def upstream(self) -> str:
        return self._target.name

    @property
    def status(self) -> int:
        return self._response.status

    @property
    def headers(self) -> headers.Headers:
        return self._headers

    async def opening(self) -> Sign:
        """How its stream begins. What was read for that is kept, and `chunks` gives it first, an error at its place.
        Bounded in bytes and in time: what takes longer is content.
        """
        opening = Opening()
        until = asyncio.get_running_loop().time() + OPENING_S
        sign = Sign.OPENING
        while sign is Sign.OPENING:
            try:
                async with asyncio.timeout_at(until):
                    chunk = await self._next()
            except TimeoutError:
                return Sign.CONTENT
            except EdgecacheError as error:
                self._broken = error
                return Sign.CONTENT
            self._held.append(chunk)
            sign = opening.feed(chunk) if chunk else opening.end()
        return sign

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body's bytes as sent, in the pieces in which they arrive. Ends closed, however it ends."""
        try:
            while chunk := await self._again():
                yield chunk
        finally:
            await self.close()

    async def close(self) -> None:
        self.drop()

    def drop(self) -> None:
        """`close`, which waits for nothing."""
        if not self._closed:
            self._closed = True
            self._ending.cancel()
            self._held.clear()
            if self._lost is not None:
                self._lost.remove_done_callback(self._break)
            self._response.close()
            self._lease.end()

    def _expire(self) -> None:
        """The whole time has passed. A caller that reads slowly, or not at all, holds nothing of the provider's any
        more, and hears of it when it takes the next piece.
        """
        self._broken = missed(self._target, Timer.TOTAL)
        self.drop()

    async def _again(self) -> bytes:
        """What was held, then what comes."""
        if self._held:
            return self._held.popleft()
        if self._broken is not None:
            raise self._broken
        return await self._next()

    async def _next(self) -> bytes:
        """The next piece; b"" at the end. Errors are raised outside of the handlers: nothing is chained to them."""
        error: EdgecacheError
        try:
            async with self._deadline.chunk():
                return await self._response.content.readany()
        except TimeoutError:
            error = self._deadline.error()
        except (aiohttp.ClientError, OSError) as caught:
            error = failures.in_body(caught, self._target)
        self._lease.broke()
        raise error

    def _break(self, _: "asyncio.Future[None]") -> None:
        """The connection is gone. aiohttp 3.14 closes it on broken chunked framing without a word to the reader of the
        body, who would wait for ever."""
        content = self._response.content
        if not content.is_eof() and content.exception() is None:
            content.set_exception(aiohttp.ClientPayloadError("the connection was lost"))


def _closing(response: aiohttp.ClientResponse) -> "asyncio.Future[None] | None":
    """Done when the connection is lost; None where the answer has ended already."""
    connection = response.connection
    closed = connection.protocol.closed if connection is not None and connection.protocol is not None else None
    if closed is not None:
        closed.remove_done_callback(_seen)  # a kept connection has it from the answer before
        closed.add_done_callback(_seen)
    return closed


def _seen(closed: "asyncio.Future[None]") -> None:
    """Look at the error, so that asyncio does not report it as missed."""
    closed.exception()
