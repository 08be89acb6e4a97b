"""The short way to an exact hit may repeat itself only while nothing at all has changed."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from edgecache.cache.bounded import Bounded
from edgecache.cache.exact import ExactCache
from edgecache.core.canonical import Identity, Question
from edgecache.core.entry import Entry, Framing, Scope, Source
from edgecache.core.ledger import Ledger
from edgecache.core.policy import Route, Tier
from edgecache.core.purges import Logged, PurgeRecord
from edgecache.core.tags import EVERYTHING, Kind, Tag
from edgecache.decide import Decider
from edgecache.flow.fence import Fence
from edgecache.flow.serve import Presenter
from edgecache.flow.story import Flow
from edgecache.flow.tiers import Asked
from edgecache.testing.free_of_charge import FreeOfCharge
from edgecache.wire.dialect import Request

NOW = 1_000.0
SCOPE = Scope("local")
KEY = b"k" * 16


class Setting:
    """A flow with one entry in memory, and a request that it answers."""

    def __init__(self) -> None:
        nothing: Any = None
        self.ledger = Ledger("log")
        self.exact = ExactCache(1 << 20)
        self.entry = entry(self.ledger)
        self.exact.put(self.entry)
        self.blind = False
        fence = Fence(self.ledger, blind=lambda: self.blind, clock=lambda: NOW)
        presenter = Presenter(fence, Bounded(1 << 20, len))
        self.flow = Flow(
            fence, self.exact, nothing, nothing, None, Decider(), nothing, presenter, FreeOfCharge(), gone=nothing
        )
        question = Question(operation="chat", model="m", fields={}, text="Hi")
        request = Request(dialect="openai.chat", body=b"{}", fields={}, question=question)
        identity = Identity(SCOPE, b"p" * 16, KEY, "Hi")
        route = Route(name="r", tiers=(Tier.UPSTREAM,))
        self.asked = Asked(request=request, identity=identity, scope=SCOPE, route=route, tags=(EVERYTHING,))

    def purge(self, tag: Tag) -> None:
        self.ledger.apply(Logged(self.ledger.applied + 1, PurgeRecord("id", (tag,), NOW)))


def entry(ledger: Ledger, **fields: object) -> Entry:
    known = {
        "key": KEY, "scope": SCOPE, "partition": b"p" * 16, "question": "Hi", "vector": None, "embedder": "",
        "tags": (EVERYTHING, Tag(Kind.KEY, "a")), "horizon": ledger.horizon(), "stored_at": NOW, "ttl": 10.0,
        "source": Source.UPSTREAM, "route": "r", "model": "m", "dialect": "openai.chat", "framing": Framing.JSON,
        "content_type": "application/json", "headers": (), "body": b"{}",
    }  # fmt: skip
    return Entry(**{**known, **fields})  # type: ignore[arg-type]


def nothing(_: Setting) -> None:
    """Nothing happens."""


def test_it_repeats_itself_while_nothing_has_changed() -> None:
    assert changed_by(nothing) is False


@pytest.mark.parametrize(
    "change",
    [
        lambda it: it.purge(Tag(Kind.KEY, "a")),
        lambda it: it.purge(Tag(Kind.KEY, "unrelated")),  # whoever wants to know more takes the long way
        lambda it: it.ledger.reset("another log"),
        lambda it: setattr(it, "blind", True),
        lambda it: it.exact.discard(SCOPE, KEY),
        lambda it: it.exact.put(entry(it.ledger)),
        lambda it: it.exact.put(msgspec.structs.replace(it.entry, tags=(*it.entry.tags, Tag(Kind.KEY, "b")))),
    ],
    ids=["purged", "another purged", "another log", "blind", "evicted", "filled again", "claimed"],
)
def test_it_does_not_when_anything_has(change: Callable[[Setting], None]) -> None:
    assert changed_by(change) is True


def test_it_does_not_when_its_time_is_over() -> None:
    it = Setting()
    seen = it.flow.horizon()
    assert it.flow.same_entry(it.asked, it.entry.tags, seen, NOW + 9.9) is it.entry
    assert it.flow.same_entry(it.asked, it.entry.tags, seen, NOW + 10) is None


def changed_by(change: Callable[[Setting], None]) -> bool:
    it = Setting()
    seen = it.flow.horizon()
    change(it)
    return it.flow.same_entry(it.asked, it.entry.tags, seen, NOW) is None
