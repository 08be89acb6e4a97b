"""Answers that owners put here before anyone asks, and how one replaces another on every node.

One record in the log purges what stands under all ids of a call; what is stored then begins after that record. So an
older copy is dead on each node the moment it applies the record, and so is a fill in flight for the same question.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec

from edgecache.core.entry import Entry, Framing, Horizon, Source
from edgecache.core.ledger import Ledger
from edgecache.core.ports import Audit, AuditLine, Embedder, Store
from edgecache.core.tags import Kind, Tag
from edgecache.errors import EmbeddingUnavailable, Forbidden, RequestError, StoreUnavailable
from edgecache.flow.pushed import Bad, Reader, Ready, Rights, items
from edgecache.policy_book import PolicyBook
from edgecache.purge.log import PurgeLog
from edgecache.purge.roll import Nodes, Ordered
from edgecache.wire.chat import CHAT

AT_ONCE = 16
"""Entries of one call that are written at a time."""
NAMED = 8
"""Ids that an audit line names."""
EFFECT = "push"
"""In audit lines."""
PATIENCE = 1.0
"""Seconds that a push waits for the audit log, which is less urgent."""

_log = logging.getLogger("edgecache.push")


class NotStored(RequestError):
    """The push itself is in force, what it was to put in place is not there."""

    status = 503


Keep = Callable[[Entry], Awaitable[str | None]]
"""Stores an entry: why it did not, or None."""


class Result(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of one answer: `item` is what its owner calls it, else its place in the call from 0; `id` names the
    entry, `status` is `ok` or why there is none. `semantic`: it is found in other words too. `code` is an HTTP status.
    """

    item: str | int
    status: str
    id: str | None = None
    semantic: bool = False
    replaced: bool = False
    code: int = 200


class Outcome(msgspec.Struct, frozen=True):
    """Of one call. `ordered` is the record that took back what stood there, None where nothing was pushed; `nodes`
    those that have applied it, where this was waited for.
    """

    results: Sequence[Result]
    ordered: Ordered | None = None
    nodes: Nodes | None = None


class PushStatistics(msgspec.Struct, frozen=True):
    """Answers since the start: stored, refused before anything was done, and those that could not be stored then."""

    stored: int
    refused: int
    failed: int


class Push:
    """One per node. `clock` is Unix time in seconds, `new_id` makes 32 hexadecimal digits; `ordered` is told the id of
    each record from here.
    """

    def __init__(
        self,
        book: PolicyBook,
        ledger: Ledger,
        log: PurgeLog,
        keep: Keep,
        store: Store,
        embedder: Embedder | None,
        audit: Audit,
        *,
        secret: bytes,
        clock: Callable[[], float],
        new_id: Callable[[], str],
        ordered: Callable[[str], None] = lambda record_id: None,
    ) -> None:
        self._book = book
        self._ledger = ledger
        self._log = log
        self._keep = keep
        self._store = store
        self._embedder = embedder
        self._audit = audit
        self._secret = secret
        self._clock = clock
        self._new_id = new_id
        self._ordered = ordered
        self._running: set[asyncio.Task[Any]] = set()
        self._stored = self._refused = self._failed = 0

    async def push(self, content: bytes, rights: Rights, *, wait: bool) -> Outcome:
        """Put in place what a call's body brings, each answer by itself: what is wrong with one hinders no other.
        With `wait` it returns when no node serves any more what stood there before.

        Raises:
            BadRequest: the body as a whole cannot be read.
            StoreUnavailable: the log did not take it; nothing was stored.
        """
        reader = Reader(self._book.policy, rights, secret=self._secret, now=self._clock(), new_id=self._new_id)
        found = await asyncio.to_thread(lambda: reader.read(items(content)))
        checked = [await self._check(item, rights) for item in found]
        bad = [item for item in checked if isinstance(item, Bad)]
        ready = [item for item in checked if isinstance(item, Ready)]
        self._refused += len(bad)
        if not ready:
            return Outcome([_refusal(item) for item in bad])
        vectors = await asyncio.gather(*map(self._vector, ready))
        task = asyncio.create_task(self._carry_out(ready, vectors, rights, wait))
        self._running.add(task)
        task.add_done_callback(self._done)
        # shielded: who hangs up leaves no answer taken back and no other put in its place
        results, ordered, nodes = await asyncio.shield(task)
        told = {item.at: _refusal(item) for item in bad}
        told |= {item.at: result for item, result in zip(ready, results, strict=True)}
        return Outcome([told[at] for at in sorted(told)], ordered, nodes)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # whoever asked may have gone

    async def _check(self, item: Ready | Bad, rights: Rights) -> Ready | Bad:
        """A token that may touch some keys only replaces no answer without any of them."""
        if isinstance(item, Bad) or not rights.limited:
            return item
        standing = await self._store.head(item.identity.key)
        if standing is None or self._ledger.killer_of(standing) is not None:
            return item
        if any(tag.kind is Kind.KEY and rights.may_tag(tag.value) for tag in standing.tags):
            return item
        return Bad(item.at, item.name, Forbidden(f"The token {rights.who!r} may not replace the answer {item.id}."))

    async def _vector(self, item: Ready) -> bytes | None:
        if not item.near or self._embedder is None:
            return None
        try:
            return await self._embedder.embed(item.identity.text)
        except EmbeddingUnavailable as error:
            _log.warning("an answer is pushed without a vector: %s", error)
            return None

    # --- carry out ------------------------------------------------------------------------------------------------

    async def _carry_out(
        self, ready: Sequence[Ready], vectors: Sequence[bytes | None], rights: Rights, wait: bool
    ) -> tuple[list[Result], Ordered, Nodes | None]:
        """Where one question stands twice, the last answer stays."""
        ordered = await self._order(ready, rights)
        entries = {item.id: self._entry(item, vector, ordered) for item, vector in zip(ready, vectors, strict=True)}
        problems = dict(zip(entries, await self._keep_all(list(entries.values())), strict=True))
        nodes = await self._settle(ordered, entries, problems) if wait else None
        last = {item.id: item for item in ready}
        results = [_result(item, entries[item.id], problems[item.id], last[item.id] is not item) for item in ready]
        failed = sum(problem is not None for problem in problems.values())
        self._stored, self._failed = self._stored + len(entries) - failed, self._failed + failed
        return results, ordered, nodes

    async def _order(self, ready: Sequence[Ready], rights: Rights) -> Ordered:
        """Who pushes is written down before it happens, and its place in the log after."""
        tags = tuple(dict.fromkeys(Tag(Kind.ID, item.id) for item in ready))
        what = tuple(f"{tag.kind}:{tag.value}" for tag in tags[:NAMED])
        line = AuditLine(id=self._new_id(), at=self._clock(), who=rights.who, what=what, of=len(tags), effect=EFFECT)
        _log.info("push %s by %r: %d answers", line.id, line.who, line.of)
        await self._write_down(line)
        ordered = await self._log.order(tags, record_id=line.id)
        await self._write_down(msgspec.structs.replace(line, sequence=ordered.sequence))
        self._ordered(line.id)
        return ordered

    async def _write_down(self, line: AuditLine) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                await self._audit.write(line)
        except (StoreUnavailable, TimeoutError) as error:
            _log.error("NOT IN THE AUDIT LOG: push %s by %r, sequence %d: %s", line.id, line.who, line.sequence, error)

    async def _settle(
        self, ordered: Ordered, entries: Mapping[str, Entry], problems: dict[str, str | None]
    ) -> Nodes | None:
        """Wait until no node serves what stood there. None, and all of it a problem, where the log was lost."""
        try:
            nodes = await self._log.wait_all(ordered)
        except StoreUnavailable as error:
            problems.update(dict.fromkeys(problems, str(error)))
            return None
        problems.update(await self._mend([entries[name] for name, problem in problems.items() if problem is None]))
        return nodes

    async def _keep_all(self, entries: Sequence[Entry]) -> list[str | None]:
        turns = asyncio.Semaphore(AT_ONCE)

        async def keep(entry: Entry) -> str | None:
            async with turns:
                return await self._keep(entry)

        return await asyncio.gather(*map(keep, entries))

    async def _mend(self, entries: Sequence[Entry]) -> dict[str, str | None]:
        """Put back what a fill wrote over that ended on a node before it had heard of this push. All have by now, so
        that it cannot happen again.
        """
        lost = [entry for entry in entries if await self._is_lost(entry)]
        return dict(zip((entry.id for entry in lost), await self._keep_all(lost), strict=True))

    async def _is_lost(self, entry: Entry) -> bool:
        try:
            standing = await self._store.head(entry.key)
        except StoreUnavailable:
            return False  # it was stored, and nothing says that it is not there any more
        return standing is None or self._ledger.killer_of(standing) is not None

    def _entry(self, item: Ready, vector: bytes | None, ordered: Ordered) -> Entry:
        route = item.asked.route
        return Entry(
            key=item.identity.key,
            scope=item.identity.scope,
            partition=item.identity.partition,
            question=item.identity.text,
            vector=vector,
            embedder=self._embedder.identity if vector is not None and self._embedder is not None else "",
            tags=item.tags,
            horizon=Horizon(ordered.log, ordered.sequence),
            stored_at=self._clock(),
            ttl=item.ttl,
            source=Source.PUSHED,
            route=route.name,
            model=item.asked.request.model,
            dialect=CHAT.name,
            framing=Framing.JSON,
            content_type="application/json",
            headers=(),
            body=item.body,
            stale_while_revalidate=float(route.stale_while_revalidate),
            stale_if_error=float(route.stale_if_error),
            grace=float(max(route.stale_while_revalidate, route.stale_if_error)),
        )

    def statistics(self) -> PushStatistics:
        return PushStatistics(self._stored, self._refused, self._failed)

    def __repr__(self) -> str:
        return f"<Push stored={self._stored} refused={self._refused} failed={self._failed}>"


def _refusal(bad: Bad) -> Result:
    return Result(_item(bad), bad.error.message, code=bad.error.status)


def _result(item: Ready, entry: Entry, problem: str | None, replaced: bool) -> Result:
    if problem is not None:
        told = f"not stored ({problem}), and what stood there is gone: push it again"
        return Result(_item(item), told, item.id, code=NotStored.status)
    return Result(_item(item), "ok", item.id, entry.vector is not None, replaced)


def _item(item: Ready | Bad) -> str | int:
    return item.at if item.name is None else item.name
