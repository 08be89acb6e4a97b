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

AROUND = 300
"""Bytes of an event beside its text, about."""


class Costs:
    """Tells `accounts` of each answer that was asked for, once."""

    def __init__(self, accounts: Spending) -> None:
        self._accounts = accounts

    async def admit(self, ask: Ask) -> None:
        """Raises LimitReached, Overloaded."""
        await self._accounts.admit(ask.scope, ask.route.name)

    def told(self, ask: Ask, head: Head, summary: Summary | None, pieces: int, size: int, *, joined: int = 0) -> None:
        """A whole answer of so many pieces and bytes; `joined` others have it too, and did not ask for it."""
        known = summary is not None and summary.usage.total > 0
        usage = summary.usage if summary is not None and known else estimated(ask, head, pieces, size)
        self._accounts.spent(ask.scope, ask.route.name, head.model, usage)
        for _ in range(joined):
            self._accounts.saved(ask.scope, ask.route.name, head.model, usage)

    def left(self, ask: Ask, head: Head | None, pieces: int, size: int) -> None:
        """An answer of which so much came when it broke off, or nobody waited for it any more."""
        model = head.model if head is not None else ask.request.model
        self._accounts.spent(ask.scope, ask.route.name, model, estimated(ask, head, pieces, size))

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
        self.told(ask, reply.head, summary, pieces, size)

    def __repr__(self) -> str:
        return f"<Costs for {self._accounts!r}>"


def estimated(ask: Ask, head: Head | None, pieces: int, size: int) -> Usage:
    """By the length of the request and of what came: an event of a stream is a token at least, and more where it is
    longer than what is said around a token.
    """
    prompt = len(ask.request.body) // BYTES_A_TOKEN
    if head is None or head.framing is not Framing.SSE:
        return Usage(prompt=prompt, completion=size // BYTES_A_TOKEN)
    return Usage(prompt=prompt, completion=max(pieces, (size - AROUND * pieces) // BYTES_A_TOKEN))
