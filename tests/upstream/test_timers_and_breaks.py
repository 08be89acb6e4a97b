"""Each timer, each way a connection fails, each way a body ends early."""

import asyncio
import socket

import pytest
from asking import ENOUGH, SOON, call, opened, read, stream, target, timers

from edgecache.errors import UpstreamBroken, UpstreamTimeout, UpstreamUnreachable
from edgecache.testing.raw_upstream import RawUpstream
from edgecache.testing.scripted_upstream import Answer, ScriptedUpstream, Step

HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


async def test_connect_timer_covers_the_tls_handshake() -> None:
    async with RawUpstream(asyncio.Event()) as upstream:
        url = upstream.url.replace("http:", "https:")
        async with opened(target(url, timers=timers(connect=SOON))) as pool:
            with pytest.raises(UpstreamTimeout, match=r"^upstream one: no connection within 0.02 s \(connect\)\. Ask"):
                await pool.send(call())


async def test_connect_timer_covers_the_wait_for_a_free_connection() -> None:
    async with ScriptedUpstream() as upstream:
        upstream.enqueue(Answer(before_head=asyncio.Event()))
        limited = target(upstream.url, connections=1, timers=timers(connect=ENOUGH))
        async with opened(limited) as pool:
            first = asyncio.ensure_future(pool.send(call()))
            await upstream.wait_requests(1)
            with pytest.raises(UpstreamTimeout, match=r"\(connect\)"):
                await pool.send(call())
            first.cancel()
            await upstream.wait_connections(0)


async def test_first_byte_timer() -> None:
    async with ScriptedUpstream() as upstream, opened(target(upstream.url, timers=timers(first_byte=SOON))) as pool:
        upstream.enqueue(Answer(before_head=asyncio.Event()))
        with pytest.raises(UpstreamTimeout, match=r"^upstream one: no answer within 0.02 s \(first_byte\)\. Ask again"):
            await pool.send(call())
        await upstream.wait_connections(0)


async def test_first_byte_timer_starts_when_a_streamed_body_has_ended() -> None:
    slow = asyncio.Event()

    async def body() -> object:
        yield b"a"
        await slow.wait()
        yield b"b"

    async with ScriptedUpstream() as upstream, opened(target(upstream.url, timers=timers(first_byte=ENOUGH))) as pool:
        upstream.enqueue(Answer(), Answer(before_head=asyncio.Event()))
        sending = asyncio.ensure_future(pool.send(call(body())))  # type: ignore[arg-type]
        await upstream.wait_connections(1)
        await asyncio.wait([sending], timeout=1.2 * ENOUGH)
        assert not sending.done()
        slow.set()
        await read(await sending)
        with pytest.raises(UpstreamTimeout, match=r"\(first_byte\)"):
            await pool.send(call(stream(b"a")))


async def test_between_chunks_timer_and_a_slow_reader_does_not_count() -> None:
    async with ScriptedUpstream() as upstream, opened(target(upstream.url, timers=timers(between_chunks=SOON))) as pool:
        upstream.enqueue(Answer(chunks=[b"a", asyncio.Event()]))
        reply = await pool.send(call())
        await asyncio.wait([asyncio.ensure_future(asyncio.Event().wait())], timeout=3 * SOON)
        chunks = reply.chunks()
        assert await anext(chunks) == b"a"
        with pytest.raises(UpstreamTimeout, match=r"^upstream one: no next part .* within 0.02 s \(between_chunks\)"):
            await anext(chunks)
        await upstream.wait_connections(0)


async def test_total_timer_before_and_in_the_body() -> None:
    async with ScriptedUpstream() as upstream, opened(target(upstream.url, timers=timers(total=SOON))) as pool:
        upstream.enqueue(Answer(before_head=asyncio.Event()))
        with pytest.raises(UpstreamTimeout, match=r"the answer did not end within 0.02 s \(total\)"):
            await pool.send(call())
    async with ScriptedUpstream() as upstream, opened(target(upstream.url, timers=timers(total=ENOUGH))) as pool:
        upstream.enqueue(Answer(chunks=[b"a", asyncio.Event()]))
        with pytest.raises(UpstreamTimeout, match=r"\(total\)"):
            await read(await pool.send(call()))
        await upstream.wait_connections(0)


async def test_a_refused_connection_says_who_and_why() -> None:
    port = closed_port()
    async with opened(target(f"http://127.0.0.1:{port}")) as pool:
        with pytest.raises(
            UpstreamUnreachable, match=rf"^upstream one: cannot connect to 127.0.0.1:{port}: .*"
        ) as caught:
            await pool.send(call())
        assert caught.value.__context__ is None and caught.value.__cause__ is None
        assert pool.statistics().targets[0].failures == 1


async def test_a_name_that_does_not_resolve() -> None:
    async with opened(target("http://no-such-host.invalid")) as pool:
        with pytest.raises(UpstreamUnreachable, match=r"its name no-such-host.invalid does not resolve"):
            await pool.send(call())


@pytest.mark.parametrize(
    "steps, reason",
    [
        ([b"SSH-2.0-OpenSSH_9.9\r\n\r\n"], "not an HTTP response"),
        ([b"\x15\x03\x01\x00\x02\x02\x16\r\n\r\n"], "not an HTTP response"),
        ([HEAD + b"Content-Length: -1\r\n\r\n"], "not an HTTP response"),
        ([HEAD + b"X: " + b"a" * 70_000 + b"\r\n\r\n"], "not an HTTP response"),
        ([], "closed before an answer came"),
        ([HEAD], "closed before an answer came"),
        ([Step.CUT], "closed before an answer came"),
    ],
)
async def test_what_is_no_answer_is_unreachable(steps: list[bytes | Step], reason: str) -> None:
    async with RawUpstream(*steps) as upstream, opened(target(upstream.url)) as pool:
        with pytest.raises(UpstreamUnreachable, match=reason) as caught:
            await pool.send(call())
        assert not isinstance(caught.value, UpstreamBroken)
        assert len(upstream.requests) == 1
        await upstream.wait_connections(0)


@pytest.mark.parametrize(
    "steps",
    [
        [HEAD + b"Content-Length: 10\r\n\r\nfive!"],
        [CHUNKED + b"5\r\nfive!\r\n"],
        [CHUNKED + b"5\r\nfive!"],
        [CHUNKED + b"5\r\nfive!\r\n", Step.CUT],
    ],
    ids=["short-length", "no-last-chunk", "no-chunk-end", "reset"],
)
async def test_a_body_cut_before_its_end_is_broken(steps: list[bytes | Step]) -> None:
    async with RawUpstream(*steps) as upstream, opened(target(upstream.url)) as pool:
        got = []
        reply = await pool.send(call())
        with pytest.raises(UpstreamBroken, match="upstream one: the answer") as caught:
            async for chunk in reply.chunks():
                got.append(chunk)
        assert b"".join(got) in (b"", b"five!")
        assert caught.value.__context__ is None
        assert pool.statistics().targets[0].failures == 1
        await upstream.wait_connections(0)


async def test_broken_chunked_framing_breaks_where_it_begins() -> None:
    begun = asyncio.Event()
    steps = [CHUNKED + b"5\r\nfive!\r\n", begun, b"zz\r\nmore"]
    async with RawUpstream(*steps) as upstream, opened(target(upstream.url)) as pool:
        chunks = (await pool.send(call())).chunks()
        assert await anext(chunks) == b"five!"
        begun.set()
        with pytest.raises(UpstreamBroken, match="framing"):
            await anext(chunks)


async def test_a_stream_cut_between_events_gives_what_came_then_breaks() -> None:
    async with ScriptedUpstream() as upstream, opened(target(upstream.url)) as pool:
        upstream.enqueue(Answer(chunks=[b"data: 1\n\n", Step.CUT]))
        chunks = (await pool.send(call())).chunks()
        assert await anext(chunks) == b"data: 1\n\n"
        with pytest.raises(UpstreamBroken):
            await anext(chunks)


async def test_a_body_without_length_ends_with_the_connection() -> None:
    async with RawUpstream(HEAD + b"\r\nall of it") as upstream, opened(target(upstream.url)) as pool:
        assert await read(await pool.send(call())) == b"all of it"


@pytest.mark.parametrize("head", [b"Content-Length: 3000000\r\n", b""], ids=["length", "no-length"])
async def test_a_slow_reader_gets_all_of_a_body_whose_sender_has_left(head: bytes) -> None:
    async with RawUpstream(HEAD + head + b"\r\n" + b"x" * 3_000_000) as upstream, opened(target(upstream.url)) as pool:
        count = 0
        async for chunk in (await pool.send(call())).chunks():
            count += len(chunk)
            for _ in range(50):
                await asyncio.sleep(0)  # turns in which more arrives than is read
        assert count == 3_000_000


@pytest.mark.parametrize("kind", [LookupError, TimeoutError, ConnectionResetError])
async def test_an_error_of_the_callers_own_body_stays_the_callers(kind: type[Exception]) -> None:
    async def body() -> object:
        yield b"a"
        raise kind("the caller's")

    async with ScriptedUpstream() as upstream, opened(target(upstream.url)) as pool:
        with pytest.raises(kind, match="the caller's"):
            await pool.send(call(body()))  # type: ignore[arg-type]
        await upstream.wait_connections(0)


async def test_an_answer_that_comes_before_the_body_was_sent_is_given() -> None:
    never = asyncio.Event()

    async def body() -> object:
        yield b"a"
        await never.wait()

    refusal = b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"
    early = _Early(refusal)
    async with early, opened(target(early.url)) as pool:
        reply = await pool.send(call(body()))  # type: ignore[arg-type]
        assert (reply.status, await read(reply)) == (413, b"no")
        await early.wait_connections(0)


class _Early(RawUpstream):
    """Answers as soon as there is a head."""

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        await reader.readuntil(b"\r\n\r\n")
        await self._play(reader, writer)
        await reader.read()
        writer.close()
        self.connections -= 1
        self._note()


async def test_total_ends_an_answer_of_which_data_always_waits() -> None:
    """A caller that reads slowly must not hold its place for ever."""
    async with ScriptedUpstream() as upstream, opened(target(upstream.url, timers=timers(total=ENOUGH))) as pool:
        upstream.enqueue(Answer(chunks=[b"x" * 65_536] * 64))
        reply = await pool.send(call())
        chunks = reply.chunks()
        await anext(chunks)
        await asyncio.sleep(2 * ENOUGH)  # the total time of the request passes; what came meanwhile waits
        assert pool.statistics().targets[0].open == 0, "its place is free"
        with pytest.raises(UpstreamTimeout, match=r"\(total\)"):
            await anext(chunks)
        await reply.close()
