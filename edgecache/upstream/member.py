"""One target of the pool: whether it may be asked now, and what asking it came to."""

import asyncio
import math
from collections.abc import Callable
from typing import Final

import msgspec

from edgecache.core.ports import Call
from edgecache.errors import Overloaded, RequestError, Untranslatable
from edgecache.upstream import verdict
from edgecache.upstream.breaker import Breaker, Breaking, Pass
from edgecache.upstream.client import Client
from edgecache.upstream.cooldown import Cooldown
from edgecache.upstream.deadline import Timer, missed
from edgecache.upstream.forms import fitted
from edgecache.upstream.reply import Reply
from edgecache.upstream.slots import Slots
from edgecache.upstream.tally import Lease, Tally, TargetStatistics, Turn
from edgecache.upstream.target import Target
from edgecache.upstream.verdict import Verdict
from edgecache.wire.overload import Sign

AT_ONCE: Final = 16 << 10
"""Bytes of a request that is written in other words on the event loop."""
EVENTS: Final = "text/event-stream"


class Outcome(msgspec.Struct, frozen=True):
    """A `reply`, or an `error`. `again`: another target may be asked. Not `asked`: it was passed over, nothing was
    sent. `stale`: a kept connection was lost before an answer came.
    """

    reply: Reply | None = None
    error: RequestError | None = None
    again: bool = True
    asked: bool = True
    stale: bool = False

    @property
    def good(self) -> bool:
        """An answer that nobody else's would be better than."""
        return self.reply is not None and not self.again and self.reply.status < 500

    @property
    def worth(self) -> int:
        """Any answer is better than none, what came of asking better than a reason not to."""
        if self.reply is not None:
            return 4 if self.good else 3
        return 2 if self.asked else 0 if isinstance(self.error, Untranslatable) else 1

    def drop(self) -> None:
        if self.reply is not None:
            self.reply.drop()


def better(kept: Outcome | None, newest: Outcome | None) -> Outcome | None:
    """The newest of those worth the same; the other one is dropped."""
    if kept is None or newest is None:
        return kept or newest
    chosen, other = (newest, kept) if newest.worth >= kept.worth else (kept, newest)
    other.drop()
    return chosen


class Asked(msgspec.Struct, frozen=True):
    """One request on its way: `began` by the loop's clock; `headed` is told when there is a head that may be it."""

    call: Call
    began: float
    headed: Callable[[], None]


class Member:
    """`clock` gives monotonic seconds, `now` Unix time."""

    def __init__(
        self, target: Target, breaking: Breaking, clock: Callable[[], float], now: Callable[[], float]
    ) -> None:
        self.target = target
        self.client = Client(target)
        self.tally = Tally()
        self.breaker = Breaker(breaking, clock)
        self.slots = Slots(target.concurrency)
        self.cooldown = Cooldown(target.cooldown, clock)
        self.healthy = True
        self._now = now

    def __repr__(self) -> str:
        return f"<Member {self.target.name}: {self.tally.open} open, {self.breaker.state}>"

    def statistics(self) -> TargetStatistics:
        return TargetStatistics(
            name=self.target.name,
            requests=self.tally.requests,
            failures=self.tally.failures,
            retries=self.tally.retries,
            hedges=self.tally.hedges,
            open=self.tally.open,
            waiting=self.slots.waiting,
            state=self.breaker.state,
            cooling_for=self.cooldown.left,
            healthy=self.healthy,
        )

    @property
    def last(self) -> bool:
        """Whether it is asked after the others."""
        return not self.healthy or self.cooldown.left > 0

    async def ask(self, asked: Asked, turn: Turn, *, fresh: bool = False) -> Outcome:
        """
        Raises:
            BadRequest, MethodNotAllowed: nobody can be asked this.
            whatever a streamed request body raises
        """
        try:
            call = await self._fitted(asked.call)
        except Untranslatable as error:
            return Outcome(error=error, asked=False)
        if (left := self._left(asked)) > 0 and self.breaker.wait == 0:
            if not await self.slots.take(min(self.target.wait, left)):
                return Outcome(error=self._full(), asked=False)
            if self._left(asked) > 0 and (leave := self.breaker.admit()) is not None:
                return await self._attempt(msgspec.structs.replace(asked, call=call), leave, turn, fresh)
            self.slots.give_back()
        return Outcome(error=self._resting() if self._left(asked) > 0 else self._late(), asked=False)

    async def _fitted(self, call: Call) -> Call:
        """Writing a long request in other words takes milliseconds, which are spent in a worker thread."""
        long = isinstance(call.body, bytes) and len(call.body) > AT_ONCE
        return await asyncio.to_thread(fitted, call, self.target) if long else fitted(call, self.target)

    async def _attempt(self, asked: Asked, leave: Pass, turn: Turn, fresh: bool) -> Outcome:
        self.tally.begin(turn)
        lease = Lease(self._release, self._broke)
        outcome: Outcome | None = None
        ok: bool | None = None
        try:
            came = await self.client.attempt(asked.call, asked.began, lease, fresh=fresh)
            if isinstance(came, Reply):
                outcome, ok = await self._of_reply(came, asked)
            else:
                told = self._learn(verdict.of_failure(reached=came.reached), reached=came.reached)
                self.tally.failures += 1
                outcome, ok = Outcome(error=came.error, again=told.again, stale=came.stale), told.ok
        finally:
            self.breaker.settle(leave, ok=ok)
            if outcome is None or outcome.reply is None:
                lease.end()
        return outcome

    async def _of_reply(self, reply: Reply, asked: Asked) -> tuple[Outcome, bool]:
        own_key = asked.call.configured_key and self.target.api_key is not None
        wait = verdict.retry_after(reply.headers, self._now())
        told = verdict.of_status(reply.status, wait, own_key=own_key, ours=asked.call.dialect != "")
        if not told.again:
            asked.headed()
            if asked.call.dialect and _is_readable_stream(reply):
                told = verdict.of_opening(await _opening(reply), own_key=own_key)
        told = self._learn(told, reached=True)
        return Outcome(reply=reply, again=told.again), told.ok

    def _learn(self, told: Verdict, *, reached: bool) -> Verdict:
        if reached:
            self.cooldown.answered()
        else:
            self.cooldown.unreachable()
        if told.cools:
            self.cooldown.told(told.seconds)
        return told

    def _release(self) -> None:
        self.tally.open -= 1
        self.slots.give_back()

    def _broke(self) -> None:
        self.tally.failures += 1
        self.breaker.broke()

    def _left(self, asked: Asked) -> float:
        """Seconds of the request's time."""
        return asked.began + self.target.timers.total - asyncio.get_running_loop().time()

    def _late(self) -> RequestError:
        return missed(self.target, Timer.TOTAL)

    def _full(self) -> Overloaded:
        under_way = f"{self.target.concurrency} requests are under way and no place came free"
        advice = "Ask again in a second, or raise concurrency of this upstream."
        return Overloaded(
            f"upstream {self.target.name}: {under_way} within {self.target.wait:g} s. {advice}", retry_after=1
        )

    def _resting(self) -> Overloaded:
        seconds = max(1, math.ceil(self.breaker.wait))
        failed = "most of what it was asked failed, so it is left alone for now"
        return Overloaded(f"upstream {self.target.name}: {failed}. Ask again in {seconds} s.", retry_after=seconds)


def _is_readable_stream(reply: Reply) -> bool:
    """A stream of events whose bytes are no other coding's."""
    named = {name.lower(): value.strip().lower() for name, value in reply.headers}
    plain = named.get("content-encoding", "identity") == "identity"
    return reply.status == 200 and plain and named.get("content-type", "").partition(";")[0].strip() == EVENTS


async def _opening(reply: Reply) -> Sign:
    """The caller may leave meanwhile: then nobody else would close it."""
    try:
        return await reply.opening()
    except BaseException:
        reply.drop()
        raise
