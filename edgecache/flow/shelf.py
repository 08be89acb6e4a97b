"""Where documents stand: looked up and kept under a key of their URL, or of what their variants vary by.

Both keys are made as an answer's is. Under the key of a URL stands the response itself, or, where its responses vary, a
sign post with the names of the request header fields that do: a response is then under the key of URL and values.
"""

from collections.abc import Awaitable, Callable, Mapping

import msgspec

from edgecache.cache.exact import ExactCache
from edgecache.core.canonical import Identity, Question, identify
from edgecache.core.demands import NOTHING, Demands
from edgecache.core.documents import Document, Names
from edgecache.core.entry import Entry, Framing, Horizon, Scope, Source
from edgecache.core.policy import Route
from edgecache.core.ports import Call, Store
from edgecache.core.reuse import KEPT_STALE, is_untold, nominate
from edgecache.core.tags import Kind, Tag
from edgecache.flow.fence import Fence
from edgecache.flow.held import Held

DIALECT = "http"

Keep = Callable[[Entry], Awaitable[str | None]]
"""Stores an entry unless a purge overtook it; why not."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """One request for a document. `headers` by lower-case name; `tags` are those of every answer to it; `apart` says
    why nothing stored may answer it, and its own answer nobody else. `authorized`: it came with a key.
    """

    route: Route
    scope: Scope
    headers: Mapping[str, str]
    tags: tuple[Tag, ...]
    call: Call
    demands: Demands = NOTHING
    apart: str | None = None
    authorized: bool = False


class Place(msgspec.Struct, frozen=True):
    """Where the response to a request stands among those that differ by `names`; `entry` is what was found there."""

    identity: Identity
    names: Names
    entry: Entry | None = None


class Shelf:
    """`secret` keys the digests."""

    def __init__(self, exact: ExactCache, store: Store, fence: Fence, keep: Keep, *, secret: bytes) -> None:
        self._held = Held(exact, store, fence)
        self._fence = fence
        self._keep = keep
        self._secret = secret

    async def find(self, wanted: Wanted) -> Place:
        """What was found may have been purged since: to be asked of the fence."""
        place = self.place(wanted, ())
        entry = await self._held.find(wanted.scope, place.identity.key)
        if entry is not None and entry.document is not None and entry.document.names:
            place = self.place(wanted, entry.document.names)
            entry = await self._held.find(wanted.scope, place.identity.key)
        fits = entry is not None and entry.document is not None and not entry.document.names
        return msgspec.structs.replace(place, entry=entry) if fits else place

    def place(self, wanted: Wanted, names: Names) -> Place:
        """Its key is of all that the origin is told for certain, and of what responses vary by. A cookie beside a key
        tells callers apart, as one alone does.
        """
        call, told = wanted.call, wanted.route.told
        varying = tuple(name for name in names if not is_untold(name, told))
        fields = {"vary": nominate(varying, wanted.headers), "told": nominate(("cookie", *told), wanted.headers)}
        question = Question(operation=DIALECT, model="", fields=fields, text="")
        identity = identify(
            question, wanted.scope, {}, call.query, path=call.path, rules=call.upstreams, secret=self._secret
        )
        return Place(identity, names)

    async def put(self, wanted: Wanted, place: Place, entry: Entry) -> str | None:
        """Why it was not stored; None when it was."""
        why = await self._keep(entry)
        if why is None and place.names:
            return await self._point(wanted, place.names, entry)
        return why

    async def _point(self, wanted: Wanted, names: Names, entry: Entry) -> str | None:
        """A sign post that stands for longer than what it points at."""
        place = self.place(wanted, ())
        there = await self._held.find(wanted.scope, place.identity.key)
        known = there is not None and there.document is not None and there.document.names == names
        if known and there is not None and there.kept_until >= entry.kept_until:
            return None
        now = self._fence.clock()
        ttl = max(0.0, entry.kept_until - now) + KEPT_STALE
        tags = (*wanted.tags, Tag(Kind.ID, place.identity.key.hex()))
        return await self._keep(
            new_entry(
                wanted,
                place,
                tags=tags,
                horizon=entry.horizon,
                stored_at=now,
                ttl=ttl,
                document=Document(names=names),
            )
        )

    def __repr__(self) -> str:
        return f"<Shelf {self._held!r} {self._fence!r}>"


def new_entry(
    wanted: Wanted,
    place: Place,
    *,
    tags: tuple[Tag, ...],
    horizon: Horizon,
    stored_at: float,
    ttl: float,
    document: Document,
) -> Entry:
    """Under the place's key, with nothing in it yet."""
    call = wanted.call
    return Entry(
        key=place.identity.key,
        scope=wanted.scope,
        partition=place.identity.partition,
        question=f"{call.path}?{call.query}" if call.query else call.path,
        vector=None,
        embedder="",
        tags=tags,
        horizon=horizon,
        stored_at=stored_at,
        ttl=ttl,
        source=Source.UPSTREAM,
        route=wanted.route.name,
        model="",
        dialect=DIALECT,
        framing=Framing.JSON,
        content_type="",
        headers=(),
        body=b"",
        document=document,
    )
