"""Any sequence of calls, with reopening in between: the store behaves like a dict, the log like a list."""

import asyncio
import tempfile
from pathlib import Path

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from storage_samples import entry, purge, scanned

from edgecache.core.entry import Entry, Scope
from edgecache.core.tags import Kind, Tag
from edgecache.storage.sqlite import SqliteStorage

numbers = st.integers(0, 5)
scopes = st.sampled_from([Scope("a"), Scope("b")])


class StorageMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.storage = SqliteStorage(Path(self.folder.name) / "edgecache.db")
        self.loop.run_until_complete(self.storage.open())
        self.entries: dict[bytes, Entry] = {}
        self.log: list[int] = []
        self.kept = 0

    def teardown(self) -> None:
        self.loop.run_until_complete(self.storage.close())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()
        self.folder.cleanup()

    @rule(number=numbers, scope=scopes, body=st.sampled_from([b"", b"short", b"long " * 1_000]))
    def put(self, number: int, scope: Scope, body: bytes) -> None:
        stored = entry(number, scope=scope, body=body)
        self.loop.run_until_complete(self.storage.store.put(stored))
        self.entries[stored.key] = stored

    @rule(number=numbers, scope=scopes)
    def get(self, number: int, scope: Scope) -> None:
        key = entry(number).key
        expected = self.entries.get(key)
        found = self.loop.run_until_complete(self.storage.store.get(scope, key))
        assert found == (expected if expected and expected.scope == scope else None)

    @rule(doomed=st.lists(st.tuples(scopes, numbers), max_size=4))
    def delete(self, doomed: list[tuple[Scope, int]]) -> None:
        known = [self.entries.get(entry(number).key, entry(number)) for _, number in doomed]
        named = [msgspec.structs.replace(one, scope=scope) for one, (scope, _) in zip(known, doomed, strict=True)]
        there = {one.key for one in named if one == self.entries.get(one.key)}
        assert {one.key for one in self.loop.run_until_complete(self.storage.store.delete(named))} == there
        for key in there:
            del self.entries[key]

    @rule(number=numbers, more=st.sampled_from(["a", "b"]), stale=st.booleans())
    def replace(self, number: int, more: str, stale: bool) -> None:
        """With a tag more, where what is there is as it was read, or has another tag by then."""
        there = self.entries.get(entry(number).key)
        old = there or entry(number)
        old = msgspec.structs.replace(old, tags=old.tags[1:]) if stale else old
        new = msgspec.structs.replace(old, tags=(Tag(Kind.KEY, f"{more} {len(old.tags)}"), *old.tags))
        done = self.loop.run_until_complete(self.storage.store.replace(old, new))
        assert done == (there is not None and set(old.tags) == set(there.tags))
        if done:
            self.entries[new.key] = new

    @rule(chosen=st.lists(numbers, max_size=4), through=st.integers(0, 20))
    def compared(self, chosen: list[int], through: int) -> None:
        named = [self.entries.get(entry(number).key, entry(number)) for number in chosen]
        self.loop.run_until_complete(self.storage.store.compared(named, through))
        for one in named:
            if one.key in self.entries:
                newer = max(self.entries[one.key].compared_to, through)
                self.entries[one.key] = msgspec.structs.replace(one, compared_to=newer)

    @rule(count=st.integers(1, 5))
    def append(self, count: int) -> None:
        async def together() -> list[int]:
            return await asyncio.gather(*(self.storage.log.append(purge(number)) for number in range(count)))

        sequences = sorted(self.loop.run_until_complete(together()))
        assert sequences == list(range(len(self.log) + 1, len(self.log) + count + 1))
        self.log += sequences

    @rule(through=st.integers(0, 12))
    def trim(self, through: int) -> None:
        self.loop.run_until_complete(self.storage.log.trim(through))
        self.kept = max(self.kept, min(through, len(self.log) - 1))

    @rule()
    def reopen(self) -> None:
        self.loop.run_until_complete(self.storage.close())
        self.loop.run_until_complete(self.storage.open())

    @invariant()
    def agrees(self) -> None:
        found = self.loop.run_until_complete(scanned(self.storage.store))
        assert found == {key: msgspec.structs.replace(one, body=b"") for key, one in self.entries.items()}
        assert self.loop.run_until_complete(self.storage.store.count()) == len(self.entries)
        logged = self.loop.run_until_complete(self.storage.log.read(0))
        assert [one.sequence for one in logged] == self.log[self.kept :]


TestStorageMachine = StorageMachine.TestCase
TestStorageMachine.settings = settings(max_examples=15, stateful_step_count=20, deadline=None)
