"""The mapping bounded by bytes, and the exact cache made of it."""

from collections import OrderedDict

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from edgecache.cache.bounded import Bounded
from edgecache.cache.changes import Changes
from edgecache.cache.exact import ExactCache
from edgecache.core.entry import Entry, Framing, Horizon, Scope, Source

KEYS = st.integers(0, 9)


class Machine(RuleBasedStateMachine):
    """Against an ordered dict that forgets its oldest item until the rest fits."""

    @initialize(budget=st.integers(0, 60))
    def begin(self, budget: int) -> None:
        self.budget = budget
        self.model: OrderedDict[int, bytes] = OrderedDict()
        self.evicted = 0
        self.bounded: Bounded[int, bytes] = Bounded(budget, len)

    @rule(key=KEYS, value=st.binary(min_size=1, max_size=40))
    def put(self, key: int, value: bytes) -> None:
        self.bounded.put(key, value)
        self.model.pop(key, None)
        if len(value) <= self.budget:
            self.model[key] = value
        while sum(map(len, self.model.values())) > self.budget:
            self.model.popitem(last=False)
            self.evicted += 1

    @rule(key=KEYS)
    def get(self, key: int) -> None:
        assert self.bounded.get(key) == self.model.get(key)
        if key in self.model:
            self.model.move_to_end(key)

    @rule(key=KEYS)
    def discard(self, key: int) -> None:
        self.bounded.discard(key)
        self.model.pop(key, None)

    @rule()
    def clear(self) -> None:
        self.bounded.clear()
        self.model.clear()

    @invariant()
    def agrees_and_is_never_over_budget(self) -> None:
        assert list(self.bounded) == list(self.model.items())
        found = self.bounded.statistics()
        assert found.bytes == sum(map(len, self.model.values())) <= found.budget == self.budget
        assert (found.items, found.evicted) == (len(self.bounded), self.evicted) == (len(self.model), self.evicted)


Machine.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None, derandomize=True)
TestBounded = Machine.TestCase


def test_a_value_over_the_whole_budget_is_not_kept_and_the_old_one_is_gone() -> None:
    bounded: Bounded[str, bytes] = Bounded(10, len)
    bounded.put("a", b"old")
    bounded.put("b", b"other")
    bounded.put("a", b"x" * 11)
    assert list(bounded) == [("b", b"other")]
    assert bounded.statistics().evicted == 0


def test_it_may_change_while_it_is_looked_through() -> None:
    bounded: Bounded[int, bytes] = Bounded(100, len)
    for number in range(5):
        bounded.put(number, b"x")
    for key, _ in bounded:
        bounded.discard(key)
        bounded.put(key + 10, b"y")
    assert sorted(key for key, _ in bounded) == [10, 11, 12, 13, 14]


def test_it_says_what_it_is() -> None:
    bounded: Bounded[str, bytes] = Bounded(10, len)
    bounded.put("a", b"xyz")
    assert repr(bounded) == "<Bounded 1 items, 3 of 10 bytes, evicted=0>"


def entry(key: bytes, scope: str = "team", body: bytes = b"{}") -> Entry:
    return Entry(
        key=key,
        scope=Scope(scope),
        partition=bytes(16),
        question="?",
        vector=None,
        embedder="",
        tags=(),
        horizon=Horizon("log", 0),
        stored_at=0.0,
        ttl=1.0,
        source=Source.UPSTREAM,
        route="r",
        model="m",
        dialect="openai",
        framing=Framing.JSON,
        content_type="application/json",
        headers=(),
        body=body,
    )


def test_scopes_are_apart_even_under_one_key() -> None:
    cache = ExactCache(1 << 20)
    mine, theirs = entry(b"k" * 16, "mine"), entry(b"k" * 16, "theirs")
    cache.put(mine)
    assert cache.get(Scope("theirs"), mine.key) is None
    cache.put(theirs)
    cache.discard(Scope("mine"), mine.key)
    assert cache.get(Scope("theirs"), mine.key) is theirs
    assert list(cache) == [theirs]


def test_forgetting_an_entry_spares_the_one_that_replaced_it() -> None:
    cache = ExactCache(1 << 20)
    old = entry(b"k" * 16)
    new = msgspec.structs.replace(old, stored_at=old.stored_at + 1)
    cache.put(old)
    cache.put(new)
    cache.forget(old)
    assert cache.get(old.scope, old.key) is new
    cache.forget(new)
    assert cache.get(old.scope, old.key) is None


def test_what_an_entry_costs_is_what_it_says() -> None:
    cache = ExactCache(10_000)
    cache.put(entry(b"a" * 16, body=b"x" * 5_000))
    assert cache.statistics().bytes == entry(b"a" * 16, body=b"x" * 5_000).size()
    cache.put(entry(b"b" * 16, body=b"x" * 5_000))
    assert [found.key for found in cache] == [b"b" * 16]
    cache.put(entry(b"c" * 16, body=b"x" * 20_000))
    assert [found.key for found in cache] == [b"b" * 16]
    assert repr(cache).startswith("<ExactCache <Bounded 1 items")


def test_what_was_read_from_the_store_is_kept_unless_something_came_meanwhile() -> None:
    cache = ExactCache(1 << 20)
    old = entry(b"k" * 16)
    new, other = msgspec.structs.replace(old, stored_at=old.stored_at + 1), entry(b"o" * 16)
    mark = cache.mark()
    cache.load(old, mark)
    assert cache.get(old.scope, old.key) is old
    cache.load(new, cache.mark())
    assert cache.get(old.scope, old.key) is old, "what is here is not replaced by what was read"

    for change in (cache.discard, cache.note, lambda *_: cache.put(new), lambda *_: cache.clear()):
        cache.discard(old.scope, old.key)
        mark = cache.mark()
        change(old.scope, old.key)
        cache.forget(new)
        cache.load(old, mark)
        assert cache.get(old.scope, old.key) is None, change
        cache.load(old, cache.mark())
        assert cache.get(old.scope, old.key) is old
    mark = cache.mark()
    cache.discard(old.scope, old.key)
    cache.load(other, mark)
    assert cache.get(other.scope, other.key) is other, "another key is no matter"


def test_an_entry_moves_on_in_its_place() -> None:
    cache = ExactCache(4 * entry(b"1" * 16).size())
    held = [entry(bytes([number]) * 16) for number in range(4)]
    for each in held:
        cache.put(each)
    before = cache.statistics()
    cache.advance(held[0], 7)
    cache.advance(held[0], 3)
    cache.advance(msgspec.structs.replace(held[1], stored_at=9e9), 7)
    cache.advance(entry(b"?" * 16), 7)
    assert cache.statistics() == before
    assert [each.compared_to for each in cache] == [7, 0, 0, 0]
    assert next(iter(cache)).tags is held[0].tags
    cache.put(entry(b"x" * 16))
    assert cache.peek(held[0].scope, held[0].key) is None, "moving on is no use of it"


def test_peeking_is_no_use_of_an_entry() -> None:
    cache = ExactCache(2 * entry(b"1" * 16).size())
    first, second = entry(b"1" * 16), entry(b"2" * 16)
    cache.put(first)
    cache.put(second)
    assert cache.peek(first.scope, first.key) is first
    cache.put(entry(b"3" * 16))
    assert cache.peek(first.scope, first.key) is None


def test_changes_that_are_no_longer_remembered_may_have_been() -> None:
    changes: Changes[str] = Changes(most=2)
    start = changes.mark()
    assert not changes.since("a", start)
    changes.note("a")
    assert changes.since("a", start)
    assert not changes.since("b", start)
    assert not changes.since("a", changes.mark())
    for name in ("b", "c"):
        changes.note(name)
    assert changes.since("never changed", start)
    assert not changes.since("never changed", changes.mark())
    mark = changes.mark()
    changes.note("b")
    changes.note("d")
    assert (changes.since("b", mark), changes.since("c", mark)) == (True, False)
    changes.note_all()
    assert changes.since("b", changes.mark() - 1)
    assert not changes.since("b", changes.mark())
