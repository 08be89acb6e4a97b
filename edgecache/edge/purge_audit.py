"""Every purge through the protocol: who ordered it is written down before it happens, and its place in the log after. A
line whose sequence stays 0 is of a purge that is not known to have happened.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from edgecache.core.meaning import Meaning
from edgecache.core.ports import Audit, AuditLine
from edgecache.core.purges import Effect
from edgecache.core.tags import Kind, Tag
from edgecache.errors import StoreUnavailable
from edgecache.purge.roll import Nodes, Ordered, Standing

SHOWN = 8
"""Tags of one purge that are written out."""
CUT = 200
"""Characters of each."""
PATIENCE = 1.0
"""Seconds that a purge waits for its protocol, which is less urgent."""

_log = logging.getLogger("edgecache.purge")


class Purges(Protocol):
    """The one way a purge happens: see `PurgeLog`."""

    @property
    def blind(self) -> bool: ...

    async def order(
        self,
        tags: Sequence[Tag],
        *,
        effect: Effect = Effect.PURGE,
        meaning: Meaning | None = None,
        record_id: str | None = None,
    ) -> Ordered: ...

    async def wait_all(self, ordered: Ordered) -> Nodes: ...

    def progress(self, record_id: str) -> Standing | None: ...


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One record to be, and what the protocol says of it besides its tags."""

    id: str
    tags: tuple[Tag, ...]
    effect: Effect
    meaning: Meaning | None = None
    words: str = ""


class Protocolled:
    """What was begun is brought to its end, whoever hangs up."""

    def __init__(
        self, purges: Purges, audit: Audit, *, clock: Callable[[], float], ordered: Callable[[str], None]
    ) -> None:
        """`ordered` is told the id of each order that went out."""
        self._purges = purges
        self._audit = audit
        self._clock = clock
        self._ordered = ordered
        self._running: set[asyncio.Task[Ordered]] = set()

    async def order(self, who: str, order: Order) -> Ordered:
        """Raises StoreUnavailable where it is not known to be in the log."""
        task = asyncio.create_task(self._order(who, order))
        self._running.add(task)
        task.add_done_callback(self._done)
        return await asyncio.shield(task)

    def _done(self, task: asyncio.Task[Ordered]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # whoever asked may have gone

    async def _order(self, who: str, order: Order) -> Ordered:
        line = self._line(who, order)
        await self._write(line)
        ordered = await self._append(who, order)
        self._ordered(order.id)
        line = msgspec.structs.replace(line, sequence=ordered.sequence)
        shown = ["by meaning"] if order.words else line.what  # no text of a question goes into the node's log
        said = "purge %s by %r, sequence %d: %d tags: %s"
        _log.info(said, line.id, who, line.sequence, len(order.tags), ", ".join(shown))
        await self._write(line)
        return ordered

    async def _append(self, who: str, order: Order) -> Ordered:
        try:
            return await self._purges.order(order.tags, effect=order.effect, meaning=order.meaning, record_id=order.id)
        except StoreUnavailable as error:
            _log.warning("purge %s by %r is not known to be in the log: %s", order.id, who, error)
            raise

    def _line(self, who: str, order: Order) -> AuditLine:
        what = [word(tag) for tag in order.tags[:SHOWN]] + ([order.words] if order.words else [])
        return AuditLine(
            id=order.id,
            at=self._clock(),
            who=who,
            what=tuple(what),
            of=len(order.tags) + bool(order.words),
            effect=order.effect,
        )

    async def _write(self, line: AuditLine) -> None:
        """What cannot be written down happens all the same."""
        try:
            async with asyncio.timeout(PATIENCE):
                await self._audit.write(line)
        except (StoreUnavailable, TimeoutError) as error:
            _log.error("NOT IN THE AUDIT LOG: purge %s by %r, sequence %d: %s", line.id, line.who, line.sequence, error)

    def __repr__(self) -> str:
        return f"<Protocolled running={len(self._running)}>"


def word(tag: Tag) -> str:
    """A tag for people. What owners call their keys may hold anything, line breaks too."""
    if tag.kind is Kind.WITHIN:
        scope, kind, value = tag.value.split("\0", 2)
        return printable(f"{kind}:{value[:CUT]} within {scope}")
    return printable(f"{tag.kind}:{tag.value[:CUT]}")


def printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
