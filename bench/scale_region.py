"""A region: its copy of the log in one Redis, and the sites that follow it under a lease."""

import random
from collections.abc import Callable
from enum import Enum
from math import inf

from bench.scale_network import Agenda, Link, Path

LEASE = 2.0
"""Seconds a site may go on serving after the moment its newest proof speaks for."""
BLOCK = 0.25
"""Seconds that a read waits for something new (`XREAD BLOCK`)."""
COMMAND = 10e-6
"""Seconds of Redis's one thread for a command or a reply: assumed."""
RATES = 200e-6
"""By how much a site's clock may be fast or slow, as a share."""


class Rule(Enum):
    """From when a lease is counted. Only `MARKS` keeps the promise; the others are what one might have written."""

    MARKS = "the read before the one that brought the mark before the newest"
    PUSHED_AGE = "the age that the relay wrote beside the mark"
    RECEIPT = "the moment the mark came"
    OWN_READ = "the site's own read, whatever the relay knows"


class Site:
    """`applied` is the newest sequence in force, `lease_until` when it goes blind (virtual time), `asked` when its
    newest read was sent, `basis` when the read was sent that came before the one that brought its newest mark.
    """

    __slots__ = (
        "acknowledged",
        "applied",
        "asked",
        "asked_before",
        "basis",
        "down",
        "lease_until",
        "leased",
        "mark",
        "reads",
        "up",
    )

    def __init__(self, up: Link, down: Link, leased: float) -> None:
        self.up, self.down, self.leased = up, down, leased
        self.acknowledged = self.applied = self.mark = self.reads = 0
        self.asked = self.asked_before = self.basis = self.lease_until = -inf

    def __repr__(self) -> str:
        return f"<Site applied={self.applied} mark={self.mark} reads={self.reads} lease_until={self.lease_until:.3f}>"


Proved = Callable[[Site, float], None]
"""A site was proved up to date at that time."""


class Region:
    """The regional log and its readers. `direct`: this is the log itself, no copy, so that each reply is a proof.

    A mark is written into the copy only after the mark before it was known to be there, and after everything that the
    log held by then. What a site first sees in one reply was written after the reply before was made, so after that one
    was asked for. When it sees the mark after, it lacks nothing that was in the log when that read was sent.
    """

    def __init__(self, agenda: Agenda, name: str, *, direct: bool, rule: Rule = Rule.MARKS) -> None:
        self._agenda, self.name, self._direct, self._rule = agenda, name, direct, rule
        self.sites: list[Site] = []
        self.sequence = self.mark = 0
        self._age = 0.0
        self._free = 0.0
        self._waiting: dict[Site, None] = {}
        self._counts: dict[int, int] = {}
        self.on_applied: Callable[[Region, int, int], None] = lambda *_: None
        self.on_all_applied: Callable[[Region, int], None] = lambda *_: None
        self.on_proved: Proved = lambda *_: None

    def add(self, path: Path, dice: random.Random) -> None:
        """A site, whose first read is sent within the first `BLOCK`."""
        up, down = Link(self._agenda, dice, path), Link(self._agenda, dice, path)
        site = Site(up, down, LEASE * (1 + dice.uniform(-RATES, RATES)))
        self.sites.append(site)
        self._agenda.at(dice.uniform(0, BLOCK), self._ask, site)

    def append(self, sequence: int, mark: int, age: float) -> None:
        """What came twice, after a connection was lost, changes nothing."""
        self._free = max(self._free, self._agenda.now) + COMMAND
        self.sequence, self.mark, self._age = max(self.sequence, sequence), max(self.mark, mark), age
        waiting, self._waiting = self._waiting, {}
        for site in waiting:
            self._reply(site)

    def _ask(self, site: Site) -> None:
        """The acknowledgement of what was applied travels with the next read."""
        site.asked_before, site.asked = site.asked, self._agenda.now
        site.reads += 1
        site.up.send(self._agenda.now, self._read, site, site.applied, site.mark, site.reads)

    def _read(self, site: Site, applied: int, mark: int, number: int) -> None:
        self._free = max(self._free, self._agenda.now) + COMMAND
        self._acknowledge(site, applied)
        if applied < self.sequence or mark < self.mark:
            self._reply(site)
        else:
            self._waiting[site] = None
            self._agenda.at(self._agenda.now + BLOCK, self._nothing_came, site, number)

    def _nothing_came(self, site: Site, number: int) -> None:
        if site.reads == number and site in self._waiting:
            del self._waiting[site]
            self._reply(site)

    def _reply(self, site: Site) -> None:
        self._free = max(self._free, self._agenda.now) + COMMAND
        site.down.send(self._free, self._receive, site, self.sequence, self.mark, self._age)

    def _receive(self, site: Site, sequence: int, mark: int, age: float) -> None:
        before, site.applied = site.applied, max(site.applied, sequence)
        if site.applied > before:
            self.on_applied(self, before, site.applied)
        since = self._proof(site, mark, age)
        if since + site.leased > site.lease_until:
            self.on_proved(site, since + site.leased)
        self._ask(site)

    def _proof(self, site: Site, mark: int, age: float) -> float:
        """The time that this reply proves the site up to date for: it lacks nothing that was in the log by then."""
        news, site.mark = mark - site.mark, mark
        since = site.basis if news == 1 else site.asked_before
        if news:
            site.basis = site.asked_before
        if self._direct or self._rule is Rule.OWN_READ:
            return site.asked
        if news == 0:
            return -inf
        if self._rule is Rule.RECEIPT:
            return self._agenda.now
        return site.asked_before - age if self._rule is Rule.PUSHED_AGE else since

    def _acknowledge(self, site: Site, applied: int) -> None:
        for sequence in range(site.acknowledged + 1, applied + 1):
            count = self._counts[sequence] = self._counts.get(sequence, 0) + 1
            if count == len(self.sites):
                del self._counts[sequence]
                self.on_all_applied(self, sequence)
        site.acknowledged = max(site.acknowledged, applied)
