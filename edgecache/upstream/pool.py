"""Several providers as one: which is asked first, and which after a failure."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence

from edgecache.core.ports import Call
from edgecache.errors import InvalidSettings, NoUpstream
from edgecache.upstream.breaker import Breaking
from edgecache.upstream.budget import RetryBudget
from edgecache.upstream.environment import proxy_for, tls_context
from edgecache.upstream.forms import distance
from edgecache.upstream.health import watch
from edgecache.upstream.member import Member
from edgecache.upstream.reply import Reply
from edgecache.upstream.sending import Sending
from edgecache.upstream.tally import PoolStatistics
from edgecache.upstream.target import Target
from edgecache.upstream.trust import trusted


class UpstreamPool:
    """`Upstream` of the ports.

    Targets that speak the call's own dialect come first, then those of a lower `order`; within an order those with a
    free slot, at random by weight. One that cools or is not well is asked last, one whose breaker is open not at all.
    Each is asked at most once per request. `clock` gives monotonic seconds, `now` Unix time; `sleep` is what health
    checks wait with.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        *,
        budget: RetryBudget | None = None,
        breaking: Breaking | None = None,
        chance: random.Random | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if repeated := _repeated([target.name for target in targets]):
            raise InvalidSettings([f"two upstreams are called {name}: give each its own name" for name in repeated])
        self._members = {target.name: Member(target, breaking or Breaking(), clock, now) for target in targets}
        self._budget = budget or RetryBudget(clock)
        self._chance = chance or random.Random()
        self._sleep = sleep
        self._sent = 0
        self._watching: list[asyncio.Task[None]] = []

    def __repr__(self) -> str:
        open_ = sum(member.tally.open for member in self._members.values())
        return f"<UpstreamPool {', '.join(self._members) or 'empty'}: {open_} open>"

    async def open(self) -> None:
        """Reads proxies and certificates; connects to nothing but for health checks.

        Raises:
            InvalidSettings: all problems with proxies and CA files.
        """
        problems = []
        for member in self._members.values():
            try:
                context = await asyncio.to_thread(tls_context, member.target) if member.target.secure else None
                member.client.open(context, proxy_for(member.target))
            except InvalidSettings as error:
                problems += error.problems
        if problems:
            await self.close()
            raise InvalidSettings(problems)
        watched = [member for member in self._members.values() if member.target.health]
        self._watching = [asyncio.create_task(watch(member, self._sleep)) for member in watched]

    async def close(self) -> None:
        watching, self._watching = self._watching, []
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)
        for member in self._members.values():
            await member.client.close()

    async def send(self, call: Call) -> Reply:
        """See the port.

        Raises:
            Overloaded: all that might have been asked are full, or left alone after failures; carries `retry_after`.
            Untranslatable: none of them can be asked this.
        """
        targets = self._acceptable(call.upstreams)
        if not targets:
            wanted = f" called {' or '.join(call.upstreams)}" if call.upstreams else ""
            advice = "Add it as an [[upstream]] to the settings, or name another in the rule."
            raise NoUpstream(f"no upstream{wanted} is configured. {advice}")
        self._sent += 1
        self._budget.deposit()
        ordered = self._in_order(trusted(call, targets))
        ordered.sort(key=lambda member: distance(call, member.target))  # stable: within each kind the order stays
        return await Sending(call, ordered, self._budget).run()

    def candidates(self, upstreams: tuple[str, ...]) -> list[Target]:
        """Who would be asked now, in turn: of these names, or of all for ()."""
        return [member.target for member in self._in_order(self._acceptable(upstreams))]

    def statistics(self) -> PoolStatistics:
        targets = tuple(member.statistics() for member in self._members.values())
        return PoolStatistics(targets=targets, sent=self._sent, retries_left=int(self._budget.tokens))

    def _acceptable(self, upstreams: tuple[str, ...]) -> list[Target]:
        """In the order of the settings."""
        targets = (member.target for member in self._members.values())
        return [target for target in targets if not upstreams or target.name in upstreams]

    def _in_order(self, targets: Sequence[Target]) -> list[Member]:
        """u ** (1 / weight), the largest first, draws by weight without replacement (Efraimidis and Spirakis, Weighted
        random sampling with a reservoir, 2006).
        """

        def rank(member: Member) -> tuple[bool, int, bool, float]:
            drawn = self._chance.random() ** (1 / member.target.weight)
            return member.last, member.target.order, member.slots.full, -drawn

        return sorted((self._members[target.name] for target in targets), key=rank)


def _repeated(names: list[str]) -> list[str]:
    return sorted({name for name in names if names.count(name) > 1})
