"""A WebSocket that goes through this node: frames as they came, both ways, until one end or this node ends it."""

import asyncio
from collections.abc import Callable

from edgecache.core.links import Link
from edgecache.wire.websocket import Code, Ending, Frames, close_frame

CLOSING = 10.0
"""Seconds that both ends have to go once one has, or was told to."""

LEFT = Ending(Code.GOING_AWAY)
"""What an upstream is told, whatever its client did."""


class Way:
    """One direction; `mask` makes what a frame of ours is masked with."""

    def __init__(self, source: Link, sink: Link, frames: Frames, mask: Callable[[], bytes]) -> None:
        self.source = source
        self.sink = sink
        self.frames = frames
        self.told = False
        self._ending: Ending | None = None
        self._mask = mask

    def give(self, content: bytes) -> None:
        passed = self.frames.feed(content)
        if passed:
            self.sink.write(passed)
        self._tell()

    def end(self, ending: Ending) -> None:
        """Tell the sink, as soon as no frame to it is half sent."""
        self._ending = self._ending or ending
        self.frames.stop()
        self._tell()

    def _tell(self) -> None:
        """Where the other end said goodbye before, there is nothing to add."""
        if self._ending is None or self.told or not self.frames.stopped:
            return
        self.told = True
        if not self.frames.gave_close:
            self.sink.write(close_frame(self._ending, self._mask()))

    def __repr__(self) -> str:
        return f"<Way {self.frames!r}{' told' if self.told else ''}>"


class Tunnel:
    """Between a client and an upstream. An end that vanishes lets the other one see just that: there is no half of a
    WebSocket. `limit` is the largest message; `gate` is asked before anything is given on, and says why nothing may be.
    `clock` gives seconds, `random` bytes.
    """

    def __init__(
        self,
        client: Link,
        upstream: Link,
        *,
        limit: int,
        gate: Callable[[], Ending | None],
        clock: Callable[[], float],
        random: Callable[[int], bytes],
    ) -> None:
        self._up = Way(client, upstream, Frames(masked=True, limit=limit), lambda: random(4))
        self._down = Way(upstream, client, Frames(masked=False, limit=limit), bytes)
        self._gate = gate
        self._clock = clock
        self._heard_at = clock()
        self._going_since: float | None = None
        self._ended = False

    async def run(self) -> None:
        """Until both ends have gone."""
        try:
            await asyncio.gather(self._pump(self._up, self._down), self._pump(self._down, self._up))
        finally:
            self.abort()

    def end(self, ending: Ending) -> None:
        """Both are told, the client why."""
        self._end(ending, LEFT)

    def abort(self) -> None:
        self._up.source.abort()
        self._down.source.abort()

    def check(self, now: float, idle: float) -> None:
        """Ends what nothing came of for `idle` seconds, or what may not go on, and then what does not go."""
        if self._going_since is not None:
            if now - self._going_since > CLOSING:
                self.abort()
        elif now - self._heard_at > idle:
            self.end(Ending(Code.GOING_AWAY, f"nothing came for {idle:g} s"))
        else:
            self._ask_gate()

    async def _pump(self, way: Way, back: Way) -> None:
        while content := await way.source.read():
            self._heard_at = self._clock()
            self._ask_gate()
            way.give(content)
            self._look(way, back)
            await way.sink.drain()
            await asyncio.sleep(0)  # there may be more at once: others have their turn
        self._go()
        way.sink.close()

    def _look(self, way: Way, back: Way) -> None:
        """At what the frames that came have changed. Who said goodbye and heard ours is done with."""
        fault = way.frames.fault
        if fault is not None and way is self._up:
            self.end(fault)
        elif fault is not None:
            self._end(Ending(Code.BAD_GATEWAY, f"the upstream: {fault.reason}"), fault)
        if way.frames.closed and back.told:
            way.source.close()
        if way.frames.closed and back.frames.closed:
            self._go()

    def _ask_gate(self) -> None:
        if not self._ended and (ending := self._gate()) is not None:
            self.end(ending)

    def _end(self, to_client: Ending, to_upstream: Ending) -> None:
        self._ended = True
        self._go()
        self._down.end(to_client)
        self._up.end(to_upstream)

    def _go(self) -> None:
        if self._going_since is None:
            self._going_since = self._clock()

    def __repr__(self) -> str:
        return f"<Tunnel {'going' if self._going_since is not None else 'open'} up={self._up!r} down={self._down!r}>"
