"""One request on its way through the targets: one after another, or a second beside the first."""

import asyncio
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Final

from edgecache.core.ports import Call
from edgecache.upstream.budget import RetryBudget
from edgecache.upstream.hedge import race
from edgecache.upstream.member import Asked, Member, Outcome, better
from edgecache.upstream.reply import Reply
from edgecache.upstream.tally import Turn

IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
"""RFC 9110 section 9.2.2; TRACE goes to nobody."""


class Sending:
    """`members` in the order in which they are to be asked, at least one; each is asked once at most."""

    def __init__(self, call: Call, members: Sequence[Member], budget: RetryBudget) -> None:
        self._call = call
        self._rest = deque(members)
        self._budget = budget
        self._headed = False
        self._asked = Asked(call, asyncio.get_running_loop().time(), self._head)

    def __repr__(self) -> str:
        return f"<Sending {self._call.method} {self._call.path}: {len(self._rest)} not asked yet>"

    async def run(self) -> Reply:
        """Raises what the last one came to where nobody answered."""
        outcome = await self._outcome()
        assert outcome is not None
        if outcome.reply is None:
            assert outcome.error is not None
            raise outcome.error
        return outcome.reply

    async def _outcome(self) -> Outcome | None:
        if self._call.hedge is None or not self._repeats or len(self._rest) < 2:
            return await self._in_turn(Turn.FIRST)
        first, second = partial(self._in_turn, Turn.FIRST), partial(self._in_turn, Turn.HEDGE)
        return await race(first, second, self._call.hedge, lambda: not self._headed)

    @property
    def _repeats(self) -> bool:
        """A body of bytes can be sent again."""
        return isinstance(self._call.body, bytes)

    async def _in_turn(self, turn: Turn) -> Outcome | None:
        """Ask until one takes it, or nobody may be asked any more. An answer that turned us away is kept until a better
        one is there, so that it is what the caller gets if no other target answers. None: nobody could be.
        """
        kept: Outcome | None = None
        try:
            while self._rest and (turn is Turn.FIRST or self._budget.withdraw()):
                newest = await self._ask(self._rest.popleft(), turn)
                if turn is not Turn.FIRST and not newest.asked:
                    self._budget.restore()
                kept = better(kept, newest)
                if not newest.again or (newest.asked and not self._repeats):
                    break
                turn = Turn.RETRY if newest.asked else turn
        except BaseException:  # the caller left, or its body failed: the answer kept for it is not wanted any more
            if kept is not None:
                kept.drop()
            raise
        return kept

    async def _ask(self, member: Member, turn: Turn) -> Outcome:
        """Once more over a new connection where a kept one was lost, if that can do no harm."""
        outcome = await member.ask(self._asked, turn)
        if outcome.stale and self._is_safe_to_repeat() and self._budget.withdraw():
            return await member.ask(self._asked, Turn.RETRY, fresh=True)
        return outcome

    def _is_safe_to_repeat(self) -> bool:
        """The provider may have read it before it closed the connection. Its method says that this does no harm, or
        its sender does, by an Idempotency-Key.
        """
        named = any(name.lower() == "idempotency-key" for name, _ in self._call.headers)
        return self._repeats and (self._call.method.upper() in IDEMPOTENT or named)

    def _head(self) -> None:
        self._headed = True
