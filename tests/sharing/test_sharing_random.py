"""Random lives of three nodes: fills, claims, purges, expiry, passes of reapers and news, each as late as it likes.
When all is quiet, every index is what the store is, and no memory holds what the store has not.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence

import msgspec
import pytest
from sharing_nodes import VECTOR, Node, entry, number, until

from edgecache.core.entry import Horizon
from edgecache.core.meaning import Meaning
from edgecache.core.ports import News
from edgecache.core.purges import Effect, Logged, PurgeRecord
from edgecache.core.tags import Tag, keys
from edgecache.testing.shared_store import SharedAudit, SharedFeed, SharedStore

SEEDS = range(90)
STEPS = 160
KEYS = 8
TAGS = "abcd"
FAR = bytes(12) + VECTOR[:4]


class Late(SharedStore):
    """Whatever it is asked takes some turns of the event loop, and so does the reply."""

    def __init__(self, dice: random.Random) -> None:
        super().__init__()
        self.dice = dice

    async def _at(self, name: str) -> None:
        await super()._at(name)
        for _ in range(self.dice.randrange(5)):
            await asyncio.sleep(0)


class LateFeed(SharedFeed):
    """News is heard some turns after it has come."""

    def __init__(self, dice: random.Random) -> None:
        super().__init__()
        self.dice = dice

    async def follow(self) -> AsyncIterator[Sequence[News] | None]:
        while True:
            for _ in range(self.dice.randrange(30)):
                await asyncio.sleep(0)
            yield await self._coming.get()


class World:
    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.store, self.now, self.log = Late(self.dice), 1.0, list[Logged]()
        self.feeds = [LateFeed(self.dice) for _ in range(3)]
        for feed in self.feeds:
            feed.others = [other for other in self.feeds if other is not feed]
        self.nodes = [Node(self.store, feed, SharedAudit(), clock=lambda: self.now) for feed in self.feeds]
        for node in self.nodes:
            node.embedder.turns = lambda: self.dice.randrange(5)
        self.claims: dict[tuple[bytes, str], list[tuple[int, Tag]]] = {}
        self.running: list[asyncio.Task[None]] = []

    # --- what happens ---------------------------------------------------------------------------------------------

    async def fill(self, node: Node) -> None:
        """Keys are found by meaning or exactly only, each by its number."""
        key = self.dice.randrange(KEYS)
        self.now += 0.001
        vector, model = ((VECTOR, "e"), (FAR, "e"), (VECTOR, "another"), (None, ""))[key % 4]
        of = entry(
            key,
            *self.dice.sample(TAGS, 2),
            horizon=Horizon("log", node.ledger.applied),
            stored_at=self.now,
            ttl=self.dice.choice((0.05, 1e9)),
            vector=vector,
            embedder=model,
        )
        await asyncio.sleep(0)
        if node.ledger.killer_of(of) is None:
            await node.admit(of)  # what is purged while it waits for its turn is freed later

    async def claim(self, node: Node) -> None:
        """As admission does it: in the store, then in the log, then it is served with that tag."""
        key, tags = self.dice.randrange(KEYS), keys(self.dice.choice(TAGS))
        old = await self.store.find(entry(key).key)
        if old is None or set(tags) <= set(old.tags):
            return
        new = msgspec.structs.replace(old, tags=(*old.tags, *tags))
        if await self.store.replace(old, new):
            sequence = self.append(PurgeRecord("c", tags, 0.0, Effect.CLAIM, claimed=(old.scope, old.key)))
            self.claims.setdefault((old.key, old.version), []).append((sequence, tags[0]))

    async def look(self, node: Node) -> None:
        """Nothing is served that was dead by what this node knew when it was asked."""
        key, known = self.dice.randrange(KEYS), node.ledger.applied
        of = entry(key)
        held = node.memory.get(of.scope, of.key)
        if held is None:
            mark = node.memory.mark()
            held = await self.store.get(of.scope, of.key)
            if held is not None and node.ledger.killer_of(held) is None:
                node.memory.load(held, mark)
        if held is None or node.ledger.killer_of(held) is not None:
            return
        for claimed, tag in self.claims.get((held.key, held.version), ()):
            purged = max((one.sequence for one in self.log[:known] if self.names(one, tag)), default=0)
            assert purged <= max(claimed, held.horizon.sequence), f"{tag} was claimed at {claimed}, purged at {purged}"

    async def purge(self, node: Node) -> None:
        meaning = Meaning(VECTOR, "e", 0.1) if self.dice.random() < 0.1 else None
        self.append(PurgeRecord("p", () if meaning else keys(self.dice.choice(TAGS)), 0.0, meaning=meaning))

    async def apply(self, node: Node) -> None:
        """The next record of the log takes effect on this node."""
        for logged in self.log[node.ledger.applied :][:1]:
            node.ledger.apply(logged)
            node.sharing.claimed(logged)
            node.reaper.heard(logged)

    async def sweep(self, node: Node) -> None:
        await node.reaper.sweep()

    async def miss(self, node: Node) -> None:
        self.feeds[self.nodes.index(node)].lose()

    # --- all of it ------------------------------------------------------------------------------------------------

    def append(self, record: PurgeRecord) -> int:
        self.log.append(Logged(len(self.log) + 1, record))
        return len(self.log)

    @staticmethod
    def names(logged: Logged, tag: Tag) -> bool:
        record = logged.record
        return record is not None and record.effect is Effect.PURGE and tag in record.tags

    async def live(self) -> None:
        acts = [self.fill] * 12 + [self.claim] * 3 + [self.look] * 14 + [self.purge] * 2 + [self.apply] * 8
        acts += [self.sweep] * 2 + [self.miss]
        for _ in range(STEPS):
            act, node = self.dice.choice(acts), self.dice.choice(self.nodes)
            self.running.append(asyncio.create_task(act(node)))
            for _ in range(self.dice.randrange(3)):
                await asyncio.sleep(0)
        await asyncio.gather(*self.running)

    async def rest(self) -> None:
        """All records are applied everywhere, all reapers have passed, all news was heard."""
        for _ in range(2):
            for node in self.nodes:
                while node.ledger.applied < len(self.log):
                    await self.apply(node)
                await node.reaper.sweep()
            await until(self.is_quiet)

    def is_quiet(self) -> bool:
        return not any(feed.waiting or node.sharing.busy for feed, node in zip(self.feeds, self.nodes, strict=True))


@pytest.mark.parametrize("part", range(3))
async def test_random_lives(part: int) -> None:
    for seed in SEEDS[part::3]:
        world = World(seed)
        for node in world.nodes:
            await node.open()
        try:
            await world.live()
            await world.rest()
            stored = world.store.entries
            for name, node in enumerate(world.nodes):
                where = f"seed {seed}, node {name}"
                assert await node.found() == sorted(number(k) for k, of in stored.items() if of.vector), where
                assert all(of.version == stored[of.key].version for of in node.memory), where
                assert all(node.ledger.killer_of(of) is None for of in stored.values()), where
        finally:
            for node in world.nodes:
                await node.close()
