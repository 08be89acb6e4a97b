"""The promise of purging over random schedules: flow, fills, ledger and reaper are real, everything they wait for is
released in a seeded order. Each fence taken away must be noticed.
"""

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence

import msgspec
import pytest

from edgecache.cache.bounded import Bounded
from edgecache.cache.exact import ExactCache
from edgecache.core.canonical import identify
from edgecache.core.entry import Entry, Framing, Scope, Source
from edgecache.core.freshness import Lifetime, Use
from edgecache.core.ledger import Ledger
from edgecache.core.meaning import Meaning
from edgecache.core.policy import Mode, Route
from edgecache.core.ports import Call, Neighbour, News
from edgecache.core.purges import Effect, Logged, PurgeRecord
from edgecache.core.tags import EVERYTHING, Tag, keys
from edgecache.decide import Decider
from edgecache.flow.admit import Admission
from edgecache.flow.fence import Fence
from edgecache.flow.fills import Fills
from edgecache.flow.heads import Head
from edgecache.flow.serve import Presenter
from edgecache.flow.story import Flow
from edgecache.flow.tiers import Ask, TierReply
from edgecache.purge.orders import intrinsic
from edgecache.purge.reaper import Reaper
from edgecache.testing.free_of_charge import FreeOfCharge
from edgecache.testing.history import History, Stale
from edgecache.wire.chat.request import read_chat

SEEDS = 400
SCOPE, PATH = Scope("team"), "/v1/chat/completions"
ROUTE = Route(name="r", mode=Mode.SEMANTIC, threshold=0.9, tags=("rule",))
QUESTIONS = ("How do I reset my password?", "How can I reset my password?")
HEAD_KEY = "document"


def nothing(*_: object) -> None:
    """Nobody is told."""


class Steps:
    """Everything that waits, waits here; the test lets one go at a time."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.waiting: list[asyncio.Future[None]] = []

    async def step(self) -> None:
        future = asyncio.get_running_loop().create_future()
        self.waiting.append(future)
        await future

    def release(self) -> None:
        future = self.waiting.pop(self.random.randrange(len(self.waiting)))
        if not future.done():
            future.set_result(None)


class FakeStore:
    def __init__(self, steps: Steps) -> None:
        self.steps, self.entries = steps, {}

    async def get(self, scope: Scope, key: bytes) -> Entry | None:
        await self.steps.step()
        found = self.entries.get((scope, key))
        await self.steps.step()
        return found

    async def put(self, entry: Entry) -> None:
        await self.steps.step()
        self.entries[entry.scope, entry.key] = entry
        await self.steps.step()

    async def head(self, key: bytes) -> Entry | None:
        return await self.get(SCOPE, key)

    async def replace(self, old: Entry, new: Entry) -> bool:
        await self.steps.step()
        held = self.entries.get((old.scope, old.key))
        same = held is not None and (held.version, len(held.tags)) == (old.version, len(old.tags))
        if same:
            self.entries[old.scope, old.key] = new
        await self.steps.step()
        return same

    async def compared(self, entries: Sequence[Entry], through: int) -> None:
        await self.steps.step()
        for entry in entries:
            held = self.entries.get((entry.scope, entry.key))
            if held is not None and held.version == entry.version:
                self.entries[entry.scope, entry.key] = msgspec.structs.replace(held, compared_to=through)

    async def delete(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        await self.steps.step()
        there = [entry for entry in entries if self._version(entry) == entry.version]
        for entry in there:
            del self.entries[entry.scope, entry.key]
        return there

    def _version(self, entry: Entry) -> str | None:
        held = self.entries.get((entry.scope, entry.key))
        return held.version if held is not None else None

    async def scan(self) -> AsyncIterator[Sequence[Entry]]:
        found = list(self.entries.values())
        await self.steps.step()
        yield found


class FakeIndex:
    def __init__(self, steps: Steps) -> None:
        self.steps, self.keys, self.changes = steps, set(), []

    async def add(self, scope: Scope, partition: bytes, key: bytes, vector: bytes) -> None:
        self.keys.add(key)
        self.changes.append(key)

    def discard(self, scope: Scope, partition: bytes, key: bytes) -> None:
        self.keys.discard(key)
        self.changes.append(key)

    def mark(self) -> int:
        return len(self.changes)

    def changed(self, scope: Scope, partition: bytes, key: bytes, mark: int) -> bool:
        return key in self.changes[mark:]

    def holds(self, scope: Scope, partition: bytes) -> bool:
        return bool(self.keys)

    async def search(self, scope: Scope, partition: bytes, vector: bytes, k: int) -> Sequence[Neighbour]:
        found = [Neighbour(key, 0.99) for key in sorted(self.keys)]
        await self.steps.step()
        return found


class FakeEmbedder:
    identity, dimensions = "fake", 1

    def __init__(self, steps: Steps) -> None:
        self.steps = steps

    async def embed(self, text: str) -> bytes:
        await self.steps.step()
        return b"\0\0\x80\x3f"


class FakeAudit:
    async def hit(self, counts: dict[str, int]) -> None:
        """Nobody reads them."""


class FakeFeed:
    def tell(self, news: Sequence[News]) -> None:
        """There is no other node."""


class FakeTiers:
    """Numbered answers; the head brings a key that nobody knew before."""

    def __init__(self, steps: Steps, history: History) -> None:
        self.steps, self.history, self.versions = steps, history, 0

    async def ask(self, ask: Ask, *, to_store: bool) -> TierReply:
        self.versions += 1
        version = self.versions
        self.history.fill_started(version)
        for _ in range(4):  # a head is long in coming: joiners and purges come meanwhile
            await self.steps.step()
        headers = (("Content-Type", "application/json"),)
        head = Head(
            status=200,
            headers=headers,
            framing=Framing.JSON,
            source=Source.UPSTREAM,
            model="m",
            keys=(HEAD_KEY,),
            lifetime=Lifetime(100.0),
        )
        return TierReply(head, self.pieces(version), self.close)

    async def pieces(self, version: int) -> AsyncIterator[bytes]:
        message = {"role": "assistant", "content": str(version)}
        body = json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}).encode()
        await self.steps.step()
        yield body[:20]
        await self.steps.step()
        yield body[20:]

    async def close(self) -> None:
        await self.steps.step()


class World:
    """One node made of fakes and the real story of a request."""

    def __init__(self, seed: int) -> None:
        self.steps = Steps(seed)
        self.random = self.steps.random
        self.history = History()
        self.ledger = Ledger("log")
        steps, exact = self.steps, ExactCache(1 << 20)
        store, index, embedder = FakeStore(steps), FakeIndex(steps), FakeEmbedder(steps)
        self.reaper = Reaper(store, index, exact, self.ledger, FakeFeed(), FakeAudit(), embedder, clock=lambda: 0.0)
        admission = Admission(
            self.ledger, exact, store, index, embedder, claims=self.claim, stored=nothing, clock=lambda: 0.0
        )
        self.fills = Fills(FakeTiers(steps, self.history), self.ledger, admission, FreeOfCharge(), clock=lambda: 0.0)
        fence = Fence(self.ledger, blind=lambda: False, clock=lambda: 0.0)
        presenter = Presenter(fence, Bounded(1 << 20, len))
        self.flow = Flow(
            fence, exact, store, index, embedder, Decider(), self.fills, presenter, FreeOfCharge(), gone=nothing
        )
        self.outcomes: Counter[str] = Counter()
        self.sweeping = False

    async def claim(self, entry: Entry, tags: Sequence[Tag]) -> None:
        await self.steps.step()

    async def request(self) -> None:
        ask = make_ask(self.random.choice(QUESTIONS))
        begun = self.history.request_begun()
        answer = await self.flow.answer(ask)
        body = answer.body or b"".join([piece async for piece in answer.stream or ()])
        await answer.close()
        version = int(json.loads(body)["choices"][0]["message"]["content"])
        self.history.answer_served(begun, version, (*ask.tags, *keys([HEAD_KEY])))
        self.outcomes[answer.trace.name] += 1

    async def purge(self) -> None:
        tags = self.random.choice(
            [keys(["rule"]), keys([HEAD_KEY]), keys([HEAD_KEY]), keys(["unrelated"]), (EVERYTHING,)]
        )
        effect = self.random.choice([Effect.PURGE, Effect.PURGE, Effect.SOFT])
        meaning = Meaning(b"\0\0\x80\x3f", "fake", 0.1) if tags == (EVERYTHING,) else None
        number = self.history.purge_ordered(tags)
        await self.steps.step()
        record = PurgeRecord("id", () if meaning else tags, 0.0, effect, meaning)
        self.ledger.apply(Logged(self.ledger.applied + 1, record))
        await self.steps.step()
        self.history.purge_acknowledged(number)

    async def sweep(self) -> None:
        if not self.sweeping:  # one pass at a time, as in its own task
            self.sweeping = True
            await self.reaper.sweep()
            self.sweeping = False

    async def run(self) -> None:
        tasks: list[asyncio.Task[None]] = []
        for _ in range(60):
            if self.random.random() < 0.25:
                act = self.random.choices([self.request, self.purge, self.sweep], [6, 3, 1])[0]
                tasks.append(asyncio.create_task(act()))
            elif self.steps.waiting:
                self.steps.release()
            await self.settle()
        while not all(task.done() for task in tasks) or self.steps.waiting:
            if self.steps.waiting:
                self.steps.release()
            await self.settle()
        await asyncio.gather(*tasks)

    async def settle(self) -> None:
        for _ in range(6):
            await asyncio.sleep(0)


def make_ask(question: str) -> Ask:
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": question}]}).encode()
    chat = read_chat(body)
    tags = (*intrinsic(scope=SCOPE, route="r", model="m", path=PATH), *keys(["rule"]))
    return Ask(
        request=chat,
        identity=identify(chat.question, SCOPE, {}, "", path=PATH, rules=(), secret=b"s"),
        scope=SCOPE,
        route=ROUTE,
        tags=tags,
        call=Call(method="POST", path=PATH, query="", headers=(), body=body),
    )


async def play(seeds: int) -> tuple[list[tuple[int, Stale]], Counter[str]]:
    stale, outcomes = [], Counter[str]()
    for seed in range(seeds):
        world = World(seed)
        await world.run()
        stale += [(seed, found) for found in world.history.stale()]
        outcomes.update(world.outcomes)
        outcomes.update(world.history.counts())
    return stale, outcomes


async def test_no_schedule_serves_what_was_purged_before_the_request_began() -> None:
    stale, outcomes = await play(SEEDS)
    print(outcomes)
    assert [f"seed {seed}: {found}" for seed, found in stale] == []
    assert min(outcomes[kind] for kind in ("exact", "semantic", "collapsed", "miss", "purges")) > 20, outcomes


def without_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries are looked at when they are stored, and not when they are served."""
    monkeypatch.setattr(Fence, "use", lambda *_: Use.FRESH)


def without_the_store_fence(monkeypatch: pytest.MonkeyPatch) -> None:
    """The horizon is read when the answer has come, as if it had been filled then."""
    make = Admission._entry

    def late(
        self: Admission, ask: Ask, head: Head, framing: Framing, body: bytes, tags: tuple[Tag, ...], *rest: object
    ):  # type: ignore[no-untyped-def]
        return make(self, ask, head, framing, body, tags, self._ledger.horizon(), *rest[1:])  # type: ignore[arg-type]

    monkeypatch.setattr(Admission, "_entry", late)


def without_the_join_fence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks the same boards what is flying."""
    board = Fills._board

    def boards(self: Fills, ask: Ask, vector: object):  # type: ignore[no-untyped-def]
        assert ask.identity is not None
        flight = self.flights.find(ask.identity.scope, ask.identity.key + ask.route.name.encode())
        if flight is None:
            return board(self, ask, vector)
        return flight, self.flights.join(flight), True

    monkeypatch.setattr(Fills, "_board", boards)
    monkeypatch.setattr(Fills, "_may_stay", lambda *_: True)


def without_the_second_look_at_joiners(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tags that come with the head are not looked at."""
    monkeypatch.setattr(Fills, "_may_stay", lambda *_: True)


@pytest.mark.parametrize(
    "broken",
    [without_reads, without_the_store_fence, without_the_join_fence, without_the_second_look_at_joiners],
    ids=lambda broken: broken.__name__,
)
async def test_a_fence_taken_away_is_noticed(broken, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    broken(monkeypatch)
    stale, _ = await play(SEEDS // 2)
    print(f"{len({seed for seed, _ in stale})} of {SEEDS // 2} seeds serve something stale")
    assert stale


A, B = keys(["a", "b"])


def history(*events: str) -> History:
    """`fill`, `order`, `ack`, `ask`, `serve`: one version, one purge of A, one request for what carries A and B."""
    made, request, purge = History(), 0, 0
    for event in events:
        match event:
            case "fill":
                made.fill_started(1)
            case "order":
                purge = made.purge_ordered([A])
            case "ack":
                made.purge_acknowledged(purge)
            case "ask":
                request = made.request_begun()
            case "serve":
                made.answer_served(request, 1, [A, B])
    return made


def test_the_checker_finds_an_answer_older_than_an_acknowledged_purge() -> None:
    found = history("fill", "order", "ack", "ask", "serve")
    assert found.stale() == [Stale(1, 1, 2, 3, 4, 5)]
    assert str(found.stale()[0]).startswith("version 1, begun at 1, was purged at 2")
    assert "stale=1" in repr(found)


@pytest.mark.parametrize(
    "events",
    [
        ("order", "ack", "fill", "ask", "serve"),  # filled after it
        ("order", "fill", "ack", "ask", "serve"),  # filled after it was ordered
        ("fill", "order", "ask", "ack", "serve"),  # asked before it was acknowledged
        ("fill", "ask", "order", "ack", "serve"),
        ("fill", "order", "ask", "serve"),  # never acknowledged
    ],
)
def test_the_checker_lets_what_is_allowed_pass(events: tuple[str, ...]) -> None:
    assert history(*events).stale() == []


def test_the_checker_knows_tags_apart() -> None:
    made = History()
    made.fill_started(1)
    made.purge_acknowledged(made.purge_ordered(keys(["c"])))
    made.answer_served(made.request_begun(), 1, [A, B])
    assert made.stale() == []
