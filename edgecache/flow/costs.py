"""What an answer cost that nobody told the cost of: its client left before the end, or it said nothing."""

from collections.abc import AsyncIterator

from edgecache.core.entry import Framing
from edgecache.core.ports import Spending
from edgecache.core.reply import Usage
from edgecache.flow.admit import read
from edgecache.flow.heads import Head
from edgecache.flow.tiers import Ask, TierReply
from edgecache.wire.dialect import Summary

BYTES_A_TOKEN = 4
"""Of a request and of an answer, about: what OpenAI's documentation gives for English."""


class Costs:
    """Tells `accounts` of each answer that was asked for, once."""

    def __init__(self, accounts: Spending) -> None:
        self._accounts = accounts

    async def admit(self, ask: Ask) -> None:
        """Raises LimitReached, Overloaded."""
        await self._accounts.admit(ask.scope, ask.route.name)

    def told(self, ask: Ask, head: Head, summary: Summary | None, *, joined: int = 0) -> None:
        """A whole answer; `joined` others have it too, and did not ask for it."""
        usage = summary.usage if summary is not None else None
        self._accounts.spent(ask.scope, ask.route.name, head.model, usage)
        for _ in range(joined):
            self._accounts.saved(ask.scope, ask.route.name, head.model, usage)

    def left(self, ask: Ask, head: Head | None, pieces: int, size: int) -> None:
        """An answer of which so many pieces came, when nobody waited for it any more. Providers send about a token in
        each event of a stream.
        """
        streams = head is not None and head.framing is Framing.SSE
        usage = estimated(ask, pieces if streams else size // BYTES_A_TOKEN)
        self._accounts.spent(ask.scope, ask.route.name, head.model if head is not None else ask.request.model, usage)

    async def counted(self, ask: Ask, reply: TierReply) -> AsyncIterator[bytes]:
        """What comes for one caller; at its end, or when the caller has left, it is counted."""
        kept = bytearray()
        pieces = size = 0
        whole = False
        try:
            async for piece in reply.pieces:
                pieces, size = pieces + 1, size + len(piece)
                if size <= ask.route.max_answer:
                    kept += piece
                yield piece
            whole = True
        finally:
            if not whole:
                self.left(ask, reply.head, pieces, size)
        summary = await read(ask.request.dialect, reply.head, bytes(kept) if size == len(kept) else None)
        if summary is None or not summary.usage.total:
            self.left(ask, reply.head, pieces, size)
        else:
            self.told(ask, reply.head, summary)

    def __repr__(self) -> str:
        return f"<Costs for {self._accounts!r}>"


def estimated(ask: Ask, completion: int) -> Usage:
    """Tokens, by the length of the request."""
    return Usage(prompt=len(ask.request.body) // BYTES_A_TOKEN, completion=completion)
