"""Several providers as one: which is asked first, and which after a failure."""

import asyncio
import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from edgecache.core.ports import Call
from edgecache.errors import InvalidSettings, NoUpstream
from edgecache.upstream.budget import RetryBudget
from edgecache.upstream.client import Client, Failure
from edgecache.upstream.environment import proxy_for, tls_context
from edgecache.upstream.reply import Reply
from edgecache.upstream.tally import PoolStatistics, TargetStatistics
from edgecache.upstream.target import Target

TURNED_AWAY: Final = frozenset({429, 502, 503, 504, 529})
"""Answers that say "not here, not now": worth another target. 529 is Anthropic's "overloaded"."""


class UpstreamPool:
    """`Upstream` of the ports.

    Targets of a lower `order` come first; within an order the choice is random by weight. One that could not be
    reached is asked last for `cooldown` seconds. Each target is asked at most once per request. `retry_ratio`,
    `retries_per_second` and `retry_burst` are the budget of retries, see `RetryBudget`. `clock` gives seconds.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        *,
        retry_ratio: float = 0.2,
        retries_per_second: float = 1.0,
        retry_burst: float = 10.0,
        cooldown: float = 5.0,
        chance: random.Random | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clients = [Client(target) for target in targets]
        self._budget = RetryBudget(retry_ratio, retries_per_second, retry_burst, clock)
        self._cooldown = cooldown
        self._cools_until: dict[str, float] = {}
        self._chance = chance or random.Random()
        self._clock = clock
        if repeated := _repeated([target.name for target in targets]):
            raise InvalidSettings([f"two upstreams are called {name}" for name in repeated])

    def __repr__(self) -> str:
        names = ", ".join(client.target.name for client in self._clients)
        return f"<UpstreamPool {names or 'empty'}: {sum(client.tally.open for client in self._clients)} open>"

    async def open(self) -> None:
        """Reads proxies and certificates; connects to nothing.

        Raises:
            InvalidSettings: all problems with proxies and CA files.
        """
        problems = []
        for client in self._clients:
            try:
                context = await asyncio.to_thread(tls_context, client.target) if client.target.secure else None
                client.open(context, proxy_for(client.target))
            except InvalidSettings as error:
                problems += error.problems
        if problems:
            await self.close()
            raise InvalidSettings(problems)

    async def close(self) -> None:
        for client in self._clients:
            await client.close()

    async def send(self, call: Call) -> Reply:
        """See the port. An answer that turned us away is kept until a better one is there, so that it is what the
        caller gets if no other target answers."""
        self._budget.deposit()
        best: Reply | Failure | None = None
        newest: Reply | Failure | None = None
        try:
            for client in self._order(call.upstreams):
                if newest is not None and not self._again(call, client, newest):
                    break
                newest = await self._attempt(client, call)
                best = await _better(best, newest)
        except BaseException:  # the caller left, or its body failed: the answer kept for it is not wanted any more
            await _drop(best)
            raise
        return _settled(best, call)

    def targets_for(self, upstreams: tuple[str, ...]) -> Iterator[Target]:
        """Who may be asked by other means than `send`, in turn; all but the first are retries."""
        self._budget.deposit()
        for number, client in enumerate(self._order(upstreams)):
            if number and not self._budget.withdraw():
                return
            yield client.target

    def statistics(self) -> PoolStatistics:
        now = self._clock()
        targets = (
            TargetStatistics(
                name=client.target.name,
                requests=client.tally.requests,
                failures=client.tally.failures,
                retries=client.tally.retries,
                open=client.tally.open,
                cooling=self._cools(client, now),
            )
            for client in self._clients
        )
        return PoolStatistics(targets=tuple(targets), retries_left=int(self._budget.tokens))

    def _order(self, acceptable: tuple[str, ...]) -> list[Client]:
        """Who is asked, in turn. u ** (1 / weight), the largest first, draws by weight without replacement
        (Efraimidis and Spirakis, Weighted random sampling with a reservoir, 2006)."""
        now = self._clock()

        def rank(client: Client) -> tuple[bool, int, float]:
            target = client.target
            return self._cools(client, now), target.order, -(self._chance.random() ** (1 / target.weight))

        return sorted((one for one in self._clients if not acceptable or one.target.name in acceptable), key=rank)

    def _again(self, call: Call, client: Client, newest: Reply | Failure) -> bool:
        """Whether `client` may be asked too. Never what may have been processed, nor a body that can be read once."""
        turned_away = newest.status in TURNED_AWAY if isinstance(newest, Reply) else not newest.reached
        if not (turned_away and isinstance(call.body, bytes) and self._budget.withdraw()):
            return False
        client.tally.retries += 1
        return True

    async def _attempt(self, client: Client, call: Call) -> Reply | Failure:
        outcome = await client.attempt(call)
        if isinstance(outcome, Failure) and not outcome.reached:
            self._cools_until[client.target.name] = self._clock() + self._cooldown
        else:
            self._cools_until.pop(client.target.name, None)
        return outcome

    def _cools(self, client: Client, now: float) -> bool:
        return self._cools_until.get(client.target.name, now) > now


async def _better(kept: Reply | Failure | None, newest: Reply | Failure) -> Reply | Failure:
    """Any answer is better than none, and the newest answer is better than one that turned us away."""
    if isinstance(kept, Reply) and isinstance(newest, Failure):
        return kept
    await _drop(kept)
    return newest


async def _drop(kept: Reply | Failure | None) -> None:
    if isinstance(kept, Reply):
        await kept.close()


def _settled(best: Reply | Failure | None, call: Call) -> Reply:
    if best is None:
        wanted = f" called {' or '.join(call.upstreams)}" if call.upstreams else ""
        raise NoUpstream(f"no upstream{wanted} is configured")
    if isinstance(best, Failure):
        raise best.error
    return best


def _repeated(names: list[str]) -> list[str]:
    return sorted({name for name in names if names.count(name) > 1})
