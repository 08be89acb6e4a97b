"""A tunnel between two ends that a test plays: back-pressure, goodbyes within a frame, ends that do not go."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from websockets.frames import Close, Frame, Opcode

from edgecache.edge.tunnel import CLOSING, Tunnel
from edgecache.testing.node import Clock
from edgecache.wire.websocket import Code, Ending, close_frame

MASK = b"\x01\x02\x03\x04"
ENDING = Ending(Code.GOING_AWAY, "enough")


class End:
    """A `Link` whose peer is the test: `say` is what it sends, `heard` what it got."""

    def __init__(self) -> None:
        self.heard = b""
        self.reads = 0
        self.gone = False
        self._said: asyncio.Queue[bytes] = asyncio.Queue()
        self.takes = asyncio.Event()
        self.takes.set()

    def say(self, content: bytes) -> None:
        self._said.put_nowait(content)

    async def read(self) -> bytes:
        content = await self._said.get()
        self.reads += 1
        return content

    def write(self, content: bytes) -> None:
        self.heard += content

    async def drain(self) -> None:
        await self.takes.wait()

    def close(self) -> None:
        if not self.gone:
            self.gone = True
            self.takes.set()
            self._said.put_nowait(b"")

    abort = close


class Played:
    def __init__(self) -> None:
        self.client, self.upstream, self.clock = End(), End(), Clock(0.0)
        self.refusal: Ending | None = None
        self.tunnel = Tunnel(
            self.client,
            self.upstream,
            limit=1_000_000,
            gate=lambda: self.refusal,
            clock=self.clock,
            random=lambda count: MASK[:count],
        )


async def settle() -> None:
    """Until everything that can go on has: all that is waited for here is within this loop."""
    for _ in range(20):
        await asyncio.sleep(0)


@asynccontextmanager
async def playing() -> AsyncGenerator[Played, None]:
    played = Played()
    task = asyncio.create_task(played.tunnel.run())
    await settle()
    yield played
    played.tunnel.abort()
    await task


def from_client(payload: bytes, opcode: Opcode = Opcode.BINARY) -> bytes:
    return bytes(Frame(opcode, payload).serialize(mask=True))


def from_upstream(payload: bytes, opcode: Opcode = Opcode.BINARY) -> bytes:
    return bytes(Frame(opcode, payload).serialize(mask=False))


async def test_nothing_is_read_that_the_other_end_does_not_take() -> None:
    """Both ways, and neither holds the other."""
    async with playing() as played:
        for source, sink, frame in (
            (played.client, played.upstream, from_client(b"x" * 100)),
            (played.upstream, played.client, from_upstream(b"x" * 100)),
        ):
            sink.takes.clear()
            source.say(frame)
            source.say(frame)
            await settle()
            assert (sink.heard, source.reads) == (frame, 1)
            sink.say(back := from_upstream(b"y") if sink is played.upstream else from_client(b"y"))
            await settle()
            assert source.heard.endswith(back)
            sink.takes.set()
            await settle()
            assert (sink.heard.count(frame), source.reads) == (2, 2)
            source.reads = sink.reads = 0
            source.heard = sink.heard = b""


@pytest.mark.parametrize("towards", ["client", "upstream"])
@pytest.mark.parametrize("sent", [0, 1, 2, 9, 10, 50, 107])
async def test_a_goodbye_waits_for_the_end_of_a_frame(towards: str, sent: int) -> None:
    """Of a header nothing was sent before it was whole: then the frame never began."""
    async with playing() as played:
        source, sink = played.upstream, played.client
        frame, goodbye = from_upstream(b"x" * 200), close_frame(ENDING)
        if towards == "upstream":
            source, sink = sink, source
            frame, goodbye = from_client(b"x" * 200), close_frame(Ending(Code.GOING_AWAY), MASK)
        source.say(frame[:sent])
        if sent:
            await settle()
        began = bool(sink.heard)
        played.tunnel.end(ENDING)
        assert sink.heard == (frame[:sent] if began else goodbye)
        source.say(frame[sent:] + frame)
        await settle()
        assert sink.heard == (frame if began else b"") + goodbye


async def test_both_are_told_and_waited_for() -> None:
    async with playing() as played:
        played.tunnel.end(ENDING)
        assert played.client.heard == close_frame(ENDING)
        assert played.upstream.heard == close_frame(Ending(Code.GOING_AWAY), MASK)
        played.client.say(from_client(b"too late") + from_client(Close(1001, "").serialize(), Opcode.CLOSE))
        await settle()
        assert played.client.gone
        assert b"too late" not in played.upstream.heard


async def test_who_said_goodbye_gets_none() -> None:
    async with playing() as played:
        goodbye = from_client(Close(1000, "bye").serialize(), Opcode.CLOSE)
        played.client.say(goodbye)
        await settle()
        played.tunnel.end(ENDING)
        assert played.upstream.heard == goodbye
        assert played.client.heard == close_frame(ENDING)


@pytest.mark.parametrize("begun_by", ["us", "both"])
async def test_who_does_not_go_is_cut_off(begun_by: str) -> None:
    async with playing() as played:
        if begun_by == "us":
            played.tunnel.end(ENDING)
        else:
            played.client.say(from_client(b"", Opcode.CLOSE))
            played.upstream.say(from_upstream(b"", Opcode.CLOSE))
            await settle()
        played.tunnel.check(CLOSING, idle=1e9)
        assert not played.client.gone
        assert not played.upstream.gone
        played.tunnel.check(CLOSING + 0.1, idle=1e9)
        assert played.client.gone
        assert played.upstream.gone


@pytest.mark.parametrize("heard_from", ["client", "upstream"])
async def test_idle_is_when_nothing_comes_from_either(heard_from: str) -> None:
    async with playing() as played:
        played.clock.now = 60.0
        end = played.client if heard_from == "client" else played.upstream
        end.say(from_client(b"", Opcode.PING) if heard_from == "client" else from_upstream(b"", Opcode.PING))
        await settle()
        played.tunnel.check(120.0, idle=60)
        assert not played.client.heard.endswith(b"60 s")
        played.tunnel.check(120.1, idle=60)
        assert played.client.heard.endswith(b"nothing came for 60 s")


@pytest.mark.parametrize("seen_by", ["a frame", "a look"])
async def test_who_may_no_more_sends_no_more(seen_by: str) -> None:
    async with playing() as played:
        played.refusal = Ending(Code.POLICY_VIOLATION, "revoked")
        if seen_by == "a frame":
            played.client.say(from_client(b"after"))
            await settle()
        else:
            played.tunnel.check(0.0, idle=60)
        assert played.client.heard == close_frame(played.refusal)
        assert played.upstream.heard == close_frame(Ending(Code.GOING_AWAY), MASK)
