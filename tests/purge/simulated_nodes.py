"""Five nodes, one log, an upstream, requests and purges, all in virtual time: real `PurgeLog`s and ledgers, and of the
rest what the promise of purging hangs on. Everything that takes time or fails does so by the seed.
"""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field

from edgecache.core.entry import Horizon
from edgecache.core.ledger import Ledger
from edgecache.core.tags import EVERYTHING, Tag, keys
from edgecache.errors import StoreUnavailable
from edgecache.purge.log import PurgeLog
from edgecache.purge.roll import Ordered
from edgecache.testing.history import History
from edgecache.testing.simulated_log import Link, SimulatedLog, SimulatedServer
from edgecache.testing.virtual_time import run_virtual

NODES = 5
LEASE, HEARTBEAT = 0.5, 0.15
DURATION = 3.0
"""Seconds in which things happen, before everything is healed."""
HEALED = 10.0
"""Seconds after which nothing may be left of what happened."""
QUESTIONS = ("q0", "q1", "q2")
KNOWN, IN_HEAD = keys(["rule", "document"])
TAGS: tuple[tuple[Tag, ...], ...] = ((KNOWN,), (IN_HEAD,), (IN_HEAD,), keys(["q0"]), keys(["q1"]), (EVERYTHING,))


class RandomLink(Link):
    """A message takes a few milliseconds; now and then it takes most of a second, or is lost; none passes while the
    link is cut, and those on their way are lost too.
    """

    def __init__(self, randomness: random.Random) -> None:
        self._random = randomness
        self.cut = False
        self.calm = False

    async def there(self, step: str) -> None:
        await self._pass()

    async def back(self, step: str) -> None:
        await self._pass()

    async def _pass(self) -> None:
        chance = self._random.random()
        slow = chance < 0.03 and not self.calm
        await asyncio.sleep(self._random.uniform(0.1, 0.9) if slow else self._random.uniform(0.0, 0.004))
        if self.cut or (0.03 < chance < 0.04 and not self.calm):
            await asyncio.sleep(0.1)  # until a timeout says so
            raise StoreUnavailable("lost")


class SimulatedRegistry:
    """Of `Registry` what a PurgeLog needs."""

    def __init__(self) -> None:
        self._values: dict[str, bytes] = {}

    async def values(self, kind: str) -> dict[str, bytes]:
        return dict(self._values)

    async def set(self, kind: str, name: str, value: bytes) -> None:
        self._values[name] = value


@dataclass(frozen=True)
class Stored:
    version: int
    tags: tuple[Tag, ...]
    horizon: Horizon


@dataclass
class Flying:
    """A fill that others may join."""

    horizon: Horizon
    tags: tuple[Tag, ...]
    head: asyncio.Future[int]


@dataclass
class Fences:
    """What tests take away."""

    store: bool = True
    join: bool = True
    lease: bool = True


class SimulatedNode:
    """Serves, fills, and keeps what it filled in memory and in the store that all share."""

    def __init__(self, world: "World", number: int) -> None:
        self.world = world
        self.number = number
        self.history = world.histories[number]
        self.link = RandomLink(world.random)
        self.serves = self.dead = False
        self.memory: dict[str, Stored] = {}
        self.flights: dict[str, Flying] = {}
        rate, began = 1 + world.random.uniform(-0.02, 0.02), world.random.uniform(0, 1000)
        loop = asyncio.get_running_loop()
        monotonic = lambda: began + rate * loop.time()  # noqa: E731
        name = f"node-{number}-{world.next()}"
        self.carrier = SimulatedLog(
            world.server, name, self.link, lease=LEASE, monotonic=monotonic, heartbeat=HEARTBEAT, batch=3
        )
        self.ledger = Ledger("", max_tombstones=world.random.choice([2, 100]))
        self.log = PurgeLog(
            self.carrier,
            world.registry,  # type: ignore[arg-type]
            self.ledger,
            clock=loop.time,
            monotonic=monotonic,
            new_id=lambda: f"{name}-{world.next()}",
            snapshot_every=4,
        )

    async def open(self) -> None:
        """However often it takes."""
        while not self.dead and not self.serves:
            try:
                await self.carrier.open()
                await self.log.open()
                self.serves = True
            except StoreUnavailable:
                await self.log.close()
                await asyncio.sleep(0.1)

    async def die(self) -> None:
        """In silence."""
        self.dead, self.serves, self.link.cut = True, False, True
        await self.log.close()

    def __repr__(self) -> str:
        return f"<SimulatedNode {self.carrier!r} {self.log!r}>"

    # --- serve ------------------------------------------------------------------------------------------------

    @property
    def blind(self) -> bool:
        return self.world.fences.lease and self.log.blind

    def _serve(self, request: int, question: str, stored: Stored, how: str) -> bool:
        if self.blind or self.ledger.killer(stored.tags, stored.horizon) is not None:
            return False
        self.memory[question] = stored
        self._answer(request, stored.version, stored.tags, how)
        return True

    def _answer(self, request: int, version: int, tags: tuple[Tag, ...], how: str) -> None:
        self.world.outcomes[how] += 1
        self.history.answer_served(request, version, tags)

    async def request(self, question: str) -> None:
        request = self.history.request_begun()
        stored = self.memory.get(question)
        if stored is not None and self._serve(request, question, stored, "hit"):
            return
        stored = await self.world.fetch(question)
        if stored is not None and self._serve(request, question, stored, "shared hit"):
            return
        while not await self._share(request, question):
            pass

    async def _share(self, request: int, question: str) -> bool:
        """Whether it was answered."""
        flight = self.flights.get(question)
        if flight is None or self.blind or not self._may_join(flight):
            return await self._fill(request, question)
        arrival = self.ledger.applied
        version = await asyncio.shield(flight.head)
        if self.world.fences.join and self.ledger.stops_joiner(flight.tags, flight.horizon, arrival):
            return False
        self._answer(request, version, flight.tags, "collapsed")
        return True

    def _may_join(self, flight: Flying) -> bool:
        return not self.world.fences.join or self.ledger.killer(flight.tags, flight.horizon) is None

    async def _fill(self, request: int, question: str) -> bool:
        flight = Flying(self.ledger.horizon(), (EVERYTHING, KNOWN), asyncio.get_running_loop().create_future())
        if not self.blind:
            self.flights[question] = flight
        await self.world.pause(0.02)
        version = self.world.make_version()
        await self.world.pause(0.3)
        flight.tags = (*flight.tags, IN_HEAD, *keys([question]))
        flight.head.set_result(version)
        await self.world.pause(0.05)
        if self.flights.get(question) is flight:
            del self.flights[question]
        self._answer(request, version, flight.tags, "filled")
        await self._store(question, version, flight)
        return True

    async def _store(self, question: str, version: int, flight: Flying) -> None:
        horizon = flight.horizon if self.world.fences.store else self.ledger.horizon()
        if self.ledger.killer(flight.tags, horizon) is None:
            stored = self.memory[question] = Stored(version, flight.tags, horizon)
            await self.world.put(question, stored)

    # --- purge ------------------------------------------------------------------------------------------------

    async def purge(self, tags: tuple[Tag, ...], *, everywhere: bool) -> None:
        numbers = [history.purge_ordered(tags) for history in self.world.histories]
        try:
            ordered = await self.log.order(tags)
            self.history.purge_acknowledged(numbers[self.number])
            self.world.outcomes["purged"] += 1
            if everywhere:
                await self._everywhere(ordered, numbers)
        except StoreUnavailable:
            self.world.outcomes["purge failed"] += 1

    async def _everywhere(self, ordered: Ordered, numbers: list[int]) -> None:
        nodes = await self.log.wait_all(ordered)
        for history, number in zip(self.world.histories, numbers, strict=True):
            history.purge_acknowledged(number)
        self.world.outcomes["purged everywhere"] += 1
        self.world.outcomes["blind nodes"] += nodes.blind


@dataclass
class World:
    """One run. A purge without `wait=all` promises something on the node that took it only, so each has a history."""

    seed: int
    fences: Fences = field(default_factory=Fences)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.server = SimulatedServer()
        self.registry = SimulatedRegistry()
        self.histories = [History() for _ in range(NODES)]
        self.store: dict[str, Stored] = {}
        self.outcomes: Counter[str] = Counter()
        self._numbers = 0
        self._versions = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self.nodes: list[SimulatedNode] = []

    def next(self) -> int:
        self._numbers += 1
        return self._numbers

    async def pause(self, longest: float) -> None:
        await asyncio.sleep(self.random.uniform(0, longest))

    def make_version(self) -> int:
        self._versions += 1
        for history in self.histories:
            history.fill_started(self._versions)
        return self._versions

    async def fetch(self, question: str) -> Stored | None:
        await self.pause(0.005)
        found = self.store.get(question)
        await self.pause(0.005)
        return found

    async def put(self, question: str, stored: Stored) -> None:
        await self.pause(0.01)
        self.store[question] = stored

    # --- what happens -----------------------------------------------------------------------------------------

    async def run(self) -> None:
        self.nodes = [SimulatedNode(self, number) for number in range(NODES)]
        await asyncio.gather(*(node.open() for node in self.nodes))
        clock = asyncio.get_running_loop().time
        end = clock() + DURATION
        while clock() < end:
            await asyncio.sleep(self.random.expovariate(1 / 0.03))
            self._happen()
        await self._heal()
        await asyncio.gather(*self._tasks)
        for node in self.nodes:
            await node.log.close()

    def _happen(self) -> None:
        acts = (self._request, self._purge, self._cut, self._fail_over, self._replace)
        (act,) = self.random.choices(acts, [75, 15, 5, 0.6, 1.5])
        act()

    def _begin(self, coroutine: "asyncio._CoroutineLike[None]") -> None:
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)

    def _request(self) -> None:
        if serving := [node for node in self.nodes if node.serves]:
            self._begin(self.random.choice(serving).request(self.random.choice(QUESTIONS)))

    def _purge(self) -> None:
        if serving := [node for node in self.nodes if node.serves]:
            tags, everywhere = self.random.choice(TAGS), self.random.random() < 0.6
            self._begin(self.random.choice(serving).purge(tags, everywhere=everywhere))

    def _cut(self) -> None:
        self.outcomes["cut"] += 1
        self._begin(self._cut_one(self.random.choice(self.nodes)))

    async def _cut_one(self, node: SimulatedNode) -> None:
        node.link.cut = True
        await self.pause(2.5 * LEASE)
        node.link.cut = False

    def _fail_over(self) -> None:
        """To a server that has all, or not the newest; or the same one comes back."""
        self.outcomes["failover"] += 1
        self.server.restart(lose=min(self.server.newest, self.random.randrange(3)))

    def _replace(self) -> None:
        """A node dies, in silence; another one takes its place, with nothing in memory."""
        self.outcomes["died"] += 1
        number = self.random.randrange(NODES)
        self._begin(self.nodes[number].die())
        self.nodes[number] = SimulatedNode(self, number)
        self._begin(self.nodes[number].open())

    async def _heal(self) -> None:
        """From now on all goes well: then all nodes are the same, and none is blind."""
        for node in self.nodes:
            node.link.cut, node.link.calm = False, True
        async with asyncio.timeout(HEALED):
            while not self._converged():
                await asyncio.sleep(HEARTBEAT)

    def _converged(self) -> bool:
        known = {(node.ledger.log, node.ledger.applied) for node in self.nodes}
        return known == {(self.nodes[0].carrier.identity, self.server.newest)} and not any(
            node.log.blind for node in self.nodes
        )

    def stale(self) -> list[str]:
        return [
            f"seed {self.seed}, node {number}: {found}"
            for number, history in enumerate(self.histories)
            for found in history.stale()
        ]


def play(seeds: range, fences: Fences | None = None) -> tuple[list[str], Counter[str]]:
    """What broke the promise, and how much happened. Runs nothing but these seeds: to be called in a process of its own
    too.
    """
    broken, outcomes = [], Counter[str]()
    for seed in seeds:
        world = World(seed, fences or Fences())
        try:
            run_virtual(world.run())
        except TimeoutError:
            broken.append(f"seed {seed}: after {HEALED} s without faults {world.nodes} on {world.server}")
        broken += world.stale()
        outcomes.update(world.outcomes)
    return broken, outcomes
