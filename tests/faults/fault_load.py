"""Clients and owners who go on while something breaks, and the record of what they were told."""

import asyncio
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import aiohttp

from edgecache.core.tags import Tag, keys
from edgecache.testing.cluster import LOOK, PATIENCE, Cluster
from edgecache.testing.history import History
from edgecache.testing.node import Reply
from edgecache.testing.scripted_upstream import Answer, Received, chat_answer, last_user_text

BUDGET = 32 << 10
"""Bytes that answers held in memory may take: less than all of them."""
ITEMS, GROUPS = 30, 3
CLIENTS = 6
ANSWERS_A_PURGE = 4
PADDING = " and so on" * 100
QUESTION = "How do I enable dark mode in the settings?"
OTHER_WORDS = "How do I turn on dark mode in the settings?"
WORDINGS = ("What is the price of item {} in the shop?", "What does item {} cost in the shop?")
MEANING = "semantic-1"
HELD = "held"
ONLY_CACHED = {"Cache-Control": "only-if-cached"}

_ITEM = re.compile(r"item (\d+)")
_VERSION = re.compile(r"version (\d+)")


class Load:
    """Every answer of the upstream has a version and the surrogate keys of its item and its group. Each node has a
    history of its own: a purge that waited for all nodes counts on all of them, any other at first on the node that
    took it, and from `settled` on everywhere.

    While there is a `gate`, answers to questions for the model HELD wait for it; `held` of them so far.

    `excused` nodes may refuse purges (503), those `dying` may break off. Anything else that is not 200 is one of
    `failures`.
    """

    def __init__(self, nodes: Cluster, *, seed: int = 1) -> None:
        print(f"seed {seed}")
        self.nodes = nodes
        self.excused: set[int] = set()
        self.dying: set[int] = set()
        self.failures: list[str] = []
        self.counts: Counter[str] = Counter()
        self.fills = 0
        self.held = 0
        self.gate: asyncio.Event | None = None
        self.ended_well = False
        self._random = random.Random(seed)
        self._histories = [History() for _ in nodes]
        self._to_settle: list[tuple[int, int]] = []
        self._versions = 0
        self._made_for: dict[int, int | None] = {}
        self._moved = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def __repr__(self) -> str:
        return f"<Load {dict(self.counts)} fills={self.fills} failures={len(self.failures)}>"

    # --- the upstream ---------------------------------------------------------------------------------------------

    def answer(self, request: Received) -> Answer:
        """The script of the upstream: what is made now has the next version."""
        self._versions += 1
        self.fills += 1
        version = self._versions
        for history in self._histories:
            history.fill_started(version)
        answer = chat_answer(request, lambda _: f"This is version {version}{PADDING}.")
        found = _ITEM.search(last_user_text(request.body))
        self._made_for[version] = int(found[1]) if found else None
        said = (("Surrogate-Key", " ".join(words(int(found[1])))),) if found else ()
        return replace(answer, headers=(*answer.headers, *said), before_head=self._gate_of(request))

    def _gate_of(self, request: Received) -> asyncio.Event | None:
        if self.gate is None or HELD.encode() not in request.body:
            return None
        self.held += 1
        self._moves()
        return self.gate

    # --- one call -------------------------------------------------------------------------------------------------

    async def ask(self, node: int, item: int, **fields: Any) -> Reply | None:
        """None where the node broke off."""
        history = self._histories[node]
        begun = history.request_begun()
        try:
            reply = await self.nodes[node].chat(self._question(item, fields.get("model")), **fields)
        except (aiohttp.ClientError, TimeoutError) as error:
            self._broke_off(node, f"item {item}", error)
            return None
        if reply.status != 200:
            self._fail(f"{self.nodes[node]!r} answered {reply.status} for item {item}: {reply.body[:200]!r}")
            return reply
        found = _VERSION.search(reply.text)
        assert found is not None, reply
        version = int(found[1])
        if self._made_for[version] != item:
            self._fail(f"{self.nodes[node]!r} answered item {self._made_for[version]} for item {item}: {reply!r}")
        history.answer_served(begun, version, tags(words(item)))
        self.counts["semantic"] += "semantic" in reply.headers["Cache-Status"]
        self._count(reply.headers["X-Cache"])
        return reply

    def _question(self, item: int, model: object) -> str:
        return self._random.choice(WORDINGS if model == MEANING else WORDINGS[:1]).format(item)

    async def purge(self, node: int, *named: str, wait: bool = False) -> Reply | None:
        """Of some keys, or of everything. None where the node broke off."""
        ordered = [history.purge_ordered(tags(named or everything())) for history in self._histories]
        excused = node in self.excused
        member = self.nodes[node]
        try:
            reply: Reply = await (member.purge(*named, wait=wait) if named else member.purge_all(wait=wait))
        except (aiohttp.ClientError, TimeoutError) as error:
            self._broke_off(node, f"purge {named}", error)
            return None
        self._acknowledge(node, ordered, reply, wait, excused or node in self.excused)
        return reply

    def _acknowledge(self, node: int, ordered: list[int], reply: Reply, wait: bool, excused: bool) -> None:
        if reply.status != 200:
            self._count("refused")
            if reply.status != 503 or not excused:
                self._fail(f"{self.nodes[node]!r} answered a purge {reply.status}: {reply.body[:300]!r}")
            return
        self._count("waited" if wait else "purged")
        for place, history in enumerate(self._histories):
            if wait or place == node:
                history.purge_acknowledged(ordered[place])
            else:
                self._to_settle.append((place, ordered[place]))

    async def settled(self) -> None:
        """Returns when all nodes are in step and known to each other; nobody else may purge meanwhile. What was
        acknowledged by one of them counts on all from then on.
        """
        await self.nodes.converged()
        wanted = {"applied": len(self.nodes), "blind": 0}
        said: Any = None
        async with asyncio.timeout(PATIENCE):
            while said != wanted:  # a log that has just begun counts one for those of the log before it
                reply = await self.purge(0, wait=True)
                said = reply.json().get("nodes") if reply is not None else None
        self._settle()

    def _settle(self) -> None:
        for place, ordered in self._to_settle:
            self._histories[place].purge_acknowledged(ordered)
        self._to_settle.clear()

    def _broke_off(self, node: int, what: str, error: BaseException) -> None:
        self._count("broken")
        if node not in self.dying:
            self._fail(f"{self.nodes[node]!r} broke off, {what}: {error!r}")

    # --- many -----------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._client(n)) for n in range(CLIENTS)]
        self._tasks.append(asyncio.create_task(self._owner()))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        """Calls that are under way are brought to their end."""
        tasks, self._tasks = self._tasks, []
        self._moved.set()
        await asyncio.gather(*tasks)

    async def more(self, answers: int) -> None:
        """Returns when so many further answers were given."""
        await self.until(lambda wanted=self.answered + answers: self.answered >= wanted)

    async def until(self, reached: Callable[[], bool]) -> None:
        """Asked again after each answer and each purge, and when one is held."""
        async with asyncio.timeout(2 * PATIENCE):
            while not reached():
                await self._moved.wait()

    @property
    def answered(self) -> int:
        return sum(self.counts[how] for how in ("HIT", "MISS", "BYPASS", "STALE"))

    async def _client(self, number: int) -> None:
        """Of one node, or of the next one that runs. The first of them asks in other words."""
        model = MEANING if number == 0 else "gpt-4o"
        while self._tasks:
            at = next((n for n in self._from(number % len(self.nodes)) if self._is_up(n)), None)
            assert at is not None, "no node runs"
            await self.ask(at, self._random.randrange(ITEMS), model=model)

    async def _owner(self) -> None:
        """Every third purge waits for all nodes, every fifth is of a whole group."""
        while self._tasks:
            node = next(n for n in self._from(self._random.randrange(len(self.nodes))) if self._is_up(n))
            item, group = words(self._random.randrange(ITEMS))
            named = group if self._random.random() < 0.2 else item
            await self.purge(node, named, wait=self._random.random() < 0.33)
            wanted = self.answered + ANSWERS_A_PURGE
            await self.until(lambda wanted=wanted: self.answered >= wanted or not self._tasks)

    def _from(self, node: int) -> Iterable[int]:
        return (*range(node, len(self.nodes)), *range(node))

    def _is_up(self, node: int) -> bool:
        return self.nodes[node].running and node not in self.dying

    # --- judge ----------------------------------------------------------------------------------------------------

    def stale(self) -> list[str]:
        pasts = zip(self.nodes, self._histories, strict=True)
        return [f"{node!r}: {one}" for node, past in pasts for one in past.stale()]

    def check(self) -> None:
        """Nothing failed that was not forced to, and nothing stale was served."""
        assert self.failures == []
        assert self.stale() == []

    def _fail(self, what: str) -> None:
        self.failures.append(what)

    def _count(self, what: str) -> None:
        self.counts[what] += 1
        self._moves()

    def _moves(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()


def words(item: int) -> tuple[str, str]:
    """The surrogate keys of an item: its own, and that of its group. Clients and owners know the first ITEMS."""
    return f"item-{item}", f"group-{item // ITEMS}-{item % GROUPS}"


def everything() -> list[str]:
    return [word for item in range(ITEMS) for word in words(item)]


def tags(named: Iterable[str]) -> tuple[Tag, ...]:
    return keys(named)


async def ends_well(load: Load) -> None:
    """Whatever happened before: all nodes are in step, purge, hit and share as ever, and hold no more than they may;
    and nothing when there is nothing left.
    """
    nodes = load.nodes
    await load.settled()
    load.excused.clear()
    load.dying.clear()
    before = load.counts["HIT"]
    async with load:
        await load.more(60)
    assert load.counts["HIT"] > before, load
    await load.settled()
    await _share(load)
    for member in nodes:
        assert (await member.status())["exact"]["bytes"] <= BUDGET
    await load.purge(len(nodes) - 1, wait=True)
    await _hold_nothing(nodes)
    load.check()
    print(load)
    load.ended_well = True


async def _share(load: Load) -> None:
    """What one node has filled is found on the others: exactly at once, in other words soon."""
    first = await load.nodes[0].chat(QUESTION, model=MEANING)
    assert first.headers["X-Cache"] == "MISS", first
    fills = load.fills
    for member in load.nodes[1:]:
        same = await member.chat(QUESTION, model=MEANING)
        assert (same.headers["X-Cache"], same.text) == ("HIT", first.text), same
        async with asyncio.timeout(PATIENCE):
            while (await member.chat(OTHER_WORDS, model=MEANING, headers=ONLY_CACHED)).status != 200:
                await asyncio.sleep(LOOK)
    assert load.fills == fills, "the upstream was asked again"


async def _hold_nothing(nodes: Cluster) -> None:
    held: dict[str, tuple[int, int, int]] = {}
    try:
        async with asyncio.timeout(PATIENCE):
            while not held or any(map(any, held.values())):
                for member in nodes:
                    status = await member.status()
                    index, flights = status["index"], status["flights"]["flying"]
                    held[member.name] = (status["exact"]["bytes"], index["vectors"], flights)
                await asyncio.sleep(LOOK)
    except TimeoutError:
        raise AssertionError(f"bytes, vectors and flights that are left: {held}") from None
