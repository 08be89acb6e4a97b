"""A whole deployment put together and run: who follows what, when purges are ordered, which faults happen."""

import random
from typing import NamedTuple

from bench.scale_home import Home
from bench.scale_network import REGIONS, Agenda, Link, Path, between, within
from bench.scale_region import Region, Rule
from bench.scale_relay import Relay

HOME = REGIONS[0]
"""Virginia: of the ten, the one whose farthest region is nearest."""
NEAREST, FARTHEST = 0.001, 0.003
"""Seconds of a round trip between a site and its Redis."""
START = 3.0
"""Seconds until the first purge: by then every site has a lease."""


class Plan(NamedTuple):
    """`per_second` purges, at random moments, ordered in any region that is not cut, for `seconds`. `single`: no
    regional Redis, every site follows home's. `reads`: see `Relay`. `trouble` multiplies how often a message stalls or
    is lost.

    From `fault_at` seconds after the first purge, for `fault_for`, `region` is cut off from home, or what its relay
    writes is `late_by` seconds late.
    """

    seed: int
    seconds: float
    per_second: float = 20.0
    sites: int = 100
    single: bool = False
    reads: int | None = None
    rule: Rule = Rule.MARKS
    region: str = "Singapore"
    trouble: float = 1.0
    cut: bool = False
    late_by: float = 0.0
    fault_at: float = 10.0
    fault_for: float = 20.0


class Deployment:
    """`run` it once, then read `home`."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.agenda = plan, Agenda()
        self._random = random.Random(plan.seed)
        self._links = {name: self._call(name) for name in REGIONS}
        regions = [self._single()] if plan.single else [self._region(name) for name in REGIONS]
        self.home = Home(self.agenda, regions, self._links)
        if not plan.single:
            self._relay()

    def run(self) -> Home:
        """Goes on for five seconds after the last purge, so that all are applied and answered."""
        plan, now = self.plan, START
        while now < START + plan.seconds:
            name = self._random.choice(REGIONS)
            if not (name == plan.region and self._cut_at(now)):
                self.agenda.at(now, self.home.order, name)
            now += self._random.expovariate(plan.per_second)
        self._faults()
        self.agenda.run(START + plan.seconds + 5)
        return self.home

    def region(self, name: str) -> Region:
        return next(region for region in self.home.regions if region.name == name)

    def relay(self, name: str) -> Relay:
        return self.home.relays[self.region(name)]

    def _cut_at(self, now: float) -> bool:
        start = START + self.plan.fault_at
        return self.plan.cut and start - 1 <= now < start + self.plan.fault_for + 2

    def _faults(self) -> None:
        plan, start = self.plan, START + self.plan.fault_at
        if plan.cut:
            relay = self.relay(plan.region)
            self.agenda.at(start, relay.cut)
            self.agenda.at(start + plan.fault_for, relay.heal)
        if plan.late_by:
            relay = self.relay(plan.region)
            self.agenda.at(start, relay.slow, plan.late_by)
            self.agenda.at(start + plan.fault_for, relay.slow, 0.0)

    def _call(self, name: str) -> tuple[Link, Link]:
        path = self._path(name, FARTHEST)
        return Link(self.agenda, self._random, path), Link(self.agenda, self._random, path)

    def _path(self, name: str, near: float) -> Path:
        """From home's Redis to a region, and on to a site that is `near` seconds away there."""
        path, last = between(name, HOME), within(near)
        stalls, loss = (path.stalls, path.loss) if name != HOME else (0.0, 0.0)
        trouble = self.plan.trouble
        return Path(
            path.rtt + last.rtt,
            path.jitter + last.jitter,
            trouble * (stalls + last.stalls),
            trouble * (loss + last.loss),
        )

    def _region(self, name: str) -> Region:
        region = Region(self.agenda, name, direct=name == HOME, rule=self.plan.rule)
        for _ in range(self.plan.sites):
            region.add(self._path(HOME, self._near()), self._random)
        return region

    def _single(self) -> Region:
        region = Region(self.agenda, "all", direct=True)
        for name in REGIONS * self.plan.sites:
            region.add(self._path(name, self._near()), self._random)
        return region

    def _near(self) -> float:
        return self._random.uniform(NEAREST, FARTHEST)

    def _relay(self) -> None:
        for region in self.home.regions:
            if region.name != HOME:
                path = self._path(region.name, 0.0)
                relay = Relay(self.agenda, self._random, path, region, self.home.newest, self.plan.reads)
                relay.on_all_applied = self.home.all_applied
                self.home.relays[region] = relay
                self.agenda.at(0.0, relay.wake)
