"""A kept connection that the provider closes just then: what may be sent again (RFC 9110 section 9.2.2)."""

import asyncio

import pytest
from asking import Clock, call, opened, read, stream, target

from edgecache.core.ports import Call
from edgecache.errors import UpstreamUnreachable
from edgecache.testing.raw_upstream import RawUpstream
from edgecache.upstream import RetryBudget

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
KEYED = [("Idempotency-Key", "7")]


class Closing(RawUpstream):
    """Answers the first request of each connection and closes it at the next one without a word. With `silent` it
    closes every connection at its first request.
    """

    def __init__(self) -> None:
        super().__init__()
        self.silent = False
        self.accepted = 0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        try:
            if not self.silent:
                await self._read(reader)
                writer.write(OK)
            await self._read(reader)
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.requests.append(head.split(b"\r\n")[0] + b" " + await reader.readexactly(2 if b"POST" in head else 0))


def get() -> Call:
    return call(b"", method="GET")


@pytest.mark.parametrize(
    "asked", [get(), call(b"", method="DELETE"), call(headers=KEYED)], ids=["GET", "DELETE", "key"]
)
async def test_what_is_safe_to_repeat_is_sent_once_more_over_a_new_connection(asked: Call) -> None:
    async with Closing() as upstream, opened(target(upstream.url)) as pool:
        await read(await pool.send(asked))
        assert await read(await pool.send(asked)) == b"ok"
        assert (len(upstream.requests), upstream.accepted) == (3, 2)
        statistics = pool.statistics()
        assert (statistics.targets[0].requests, statistics.targets[0].retries, statistics.retries_left) == (3, 1, 9)


async def test_another_kept_connection_is_not_taken_for_a_new_one() -> None:
    async with Closing() as upstream, opened(target(upstream.url)) as pool:
        replies = [await pool.send(get()) for _ in range(2)]
        for reply in replies:
            await read(reply)
        assert upstream.accepted == 2
        assert await read(await pool.send(get())) == b"ok"
        assert (len(upstream.requests), upstream.accepted) == (4, 3)


@pytest.mark.parametrize("body", [b"{}", None], ids=["bytes", "stream"])
async def test_a_completion_may_have_been_made_so_a_post_is_not_repeated(body: bytes | None) -> None:
    async with Closing() as upstream, opened(target(upstream.url)) as pool:
        await read(await pool.send(call()))
        sent = call(stream(b"{}"), headers=[("Content-Length", "2"), *KEYED]) if body is None else call(body)
        with pytest.raises(UpstreamUnreachable, match="closed before an answer came"):
            await pool.send(sent)
        assert len(upstream.requests) == 2


async def test_over_a_new_connection_nothing_is_repeated() -> None:
    """aiohttp would, for GET; then an outage would see each twice."""
    async with Closing() as upstream, opened(target(upstream.url)) as pool:
        upstream.silent = True
        with pytest.raises(UpstreamUnreachable):
            await pool.send(get())
        assert (len(upstream.requests), upstream.accepted) == (1, 1)


async def test_it_is_repeated_once_only() -> None:
    async with Closing() as upstream, opened(target(upstream.url)) as pool:
        await read(await pool.send(get()))
        upstream.silent = True
        with pytest.raises(UpstreamUnreachable):
            await pool.send(get())
        assert (len(upstream.requests), upstream.accepted) == (3, 2)


async def test_the_budget_pays_for_it() -> None:
    budget = RetryBudget(Clock(), burst=0.5)
    async with Closing() as upstream, opened(target(upstream.url), budget=budget) as pool:
        await read(await pool.send(get()))
        with pytest.raises(UpstreamUnreachable):
            await pool.send(get())
        assert len(upstream.requests) == 2
