"""The story of a document's request (RFC 9111): at hand -> validated or fetched -> kept with its tags.

Whether an entry may be served is asked after the last await, when its bytes are chosen, as for answers.
"""

from edgecache.core.entry import Entry, Source
from edgecache.core.freshness import Use, use
from edgecache.core.trace import Trace
from edgecache.errors import NotCached
from edgecache.flow.changes import Changes
from edgecache.flow.document_answers import failed, hit
from edgecache.flow.document_fills import DocumentFills
from edgecache.flow.fence import Fence
from edgecache.flow.fills import Answer
from edgecache.flow.heads import joined
from edgecache.flow.shelf import Place, Shelf, Wanted
from edgecache.wire.invalidation import changed_paths


class DocumentFlow:
    """One per node."""

    def __init__(self, shelf: Shelf, fills: DocumentFills, fence: Fence, changes: Changes) -> None:
        self._shelf = shelf
        self.fills = fills
        self._fence = fence
        self._changes = changes

    async def answer(self, wanted: Wanted) -> Answer:
        """To GET or HEAD. Raises RequestError for what nobody can answer."""
        if wanted.apart is not None:
            return await self._alone(wanted, wanted.apart)
        place = await self._shelf.find(wanted)
        if not self._fence.may_serve(wanted.route):
            return await self._alone(wanted, "blind")
        return self._at_hand(wanted, place) or await self._ask(wanted, place)

    def _at_hand(self, wanted: Wanted, place: Place) -> Answer | None:
        entry = place.entry
        found = self._use(wanted, entry)
        if entry is None or found not in (Use.FRESH, Use.STALE, Use.REVALIDATE):
            return None
        if found is Use.REVALIDATE:
            self.fills.refresh(wanted, place)
        detail = "revalidating" if found is Use.REVALIDATE else ""
        return hit(entry, wanted, fresh_for=self._fence.fresh_for(entry), now=self._fence.clock(), detail=detail)

    async def _alone(self, wanted: Wanted, why: str) -> Answer:
        _check_asking(wanted)
        return await self.fills.alone(wanted, why)

    async def _ask(self, wanted: Wanted, place: Place) -> Answer:
        _check_asking(wanted)
        if wanted.call.method == "HEAD":
            return await self.fills.alone(wanted, "head")
        if "range" in wanted.headers and place.entry is None:
            return await self.fills.alone(wanted, "range")
        fwd = "miss" if place.entry is None else "stale" if self._fence.fresh_for(place.entry) <= 0 else "request"
        return await self.fills.share(wanted, place, fwd, lambda status: self._instead(wanted, place, status))

    def _instead(self, wanted: Wanted, place: Place, status: int) -> Answer | None:
        """What is stale, where asking failed and that is allowed."""
        entry = place.entry
        if entry is None or self._use(wanted, entry) is Use.NONE:
            return None
        return failed(entry, wanted, fresh_for=self._fence.fresh_for(entry), now=self._fence.clock(), status=status)

    def _use(self, wanted: Wanted, entry: Entry | None) -> Use:
        fence = self._fence
        if entry is None or not fence.is_alive(entry) or not fence.may_serve(wanted.route):
            return Use.NONE
        if not set(wanted.tags).issubset(entry.tags):  # kept under another rule: purging this one's tags would spare it
            return Use.NONE
        softened = fence.ledger.softened(entry.tags, entry.horizon)
        return use(entry, wanted.demands, softened, fence.clock())

    # --- other methods --------------------------------------------------------------------------------------------

    async def change(self, wanted: Wanted) -> Answer:
        """Passed on; what it may have changed is purged, as the rule says, before its answer goes back (RFC 9111
        section 4.4).
        """
        reply = await self.fills.pass_on(wanted)
        try:
            call, hosts = wanted.call, {wanted.headers.get("host", "").lower(), *self._changes.hosts}
            paths = changed_paths(call.method, call.path, hosts, reply.status, joined(reply.headers))
            detail = await self._invalidate(wanted, paths)
        except BaseException:
            await reply.close()
            raise
        route = wanted.route.name
        trace = Trace(route=route, source=Source.UPSTREAM, fwd="method", fwd_status=reply.status, detail=detail)
        chunks = reply.chunks()
        return Answer(status=reply.status, headers=reply.headers, stream=chunks, trace=trace, close=reply.close)

    async def _invalidate(self, wanted: Wanted, paths: tuple[str, ...]) -> str:
        """The change has happened: where the log cannot be written, the answer says that old responses may follow."""
        tags = self._changes.tags(wanted.scope, paths)
        if not tags:
            return ""
        return "invalidated" if await self._changes.invalidate(tags) else "not invalidated"

    def __repr__(self) -> str:
        return f"<DocumentFlow {self.fills!r} {self._fence!r}>"


def _check_asking(wanted: Wanted) -> None:
    """RFC 9111 section 5.2.1.7, whatever else is demanded."""
    if wanted.demands.only_if_cached:
        raise NotCached("Nothing that may be served is cached, and the request asks for nothing else.")
