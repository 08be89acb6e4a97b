"""Purges from the call to the answer: ordered at home, acknowledged by regions, answered; and whether one lied."""

from math import inf

from bench.scale_network import Agenda, Link
from bench.scale_region import LEASE, Region, Site
from bench.scale_relay import Relay

MARGIN = 0.05
"""Home waits that share longer than a lease lasts, as the product does: far more than two clocks drift apart."""


class Purge:
    """Times are virtual seconds. `all_at` is when home knew that it is in force everywhere or its sites are blind."""

    __slots__ = ("all_at", "all_known", "appended", "asked_in", "begun", "blind", "known", "missing")

    def __init__(self, asked_in: str, begun: float) -> None:
        self.asked_in, self.begun = asked_in, begun
        self.appended = self.known = self.all_at = self.all_known = inf
        self.missing: set[Region] = set()
        self.blind = 0


class Checker:
    """Every site may answer from its cache for as long as its lease lasts. Each that may, from what a purge answered
    with `wait=all` forbids, is counted. No requests are sampled: a lease is looked at when the purge is answered and
    whenever it is prolonged, which covers every moment.
    """

    def __init__(self, agenda: Agenda) -> None:
        self._agenda = agenda
        self._answered = 0
        self.stale = 0
        self.blind_seconds = 0.0
        self.gaps: list[tuple[float, float]] = []

    def answered(self, sequence: int, sites: list[Site]) -> None:
        self._answered = max(self._answered, sequence)
        self.stale += sum(site.applied < sequence and site.lease_until > self._agenda.now for site in sites)

    def proved(self, site: Site, until: float) -> None:
        if until <= self._agenda.now:
            return
        self.stale += site.applied < self._answered
        if -inf < site.lease_until < self._agenda.now:
            self.blind_seconds += self._agenda.now - site.lease_until
            self.gaps.append((site.lease_until, self._agenda.now))
        site.lease_until = until


class Home:
    """The one log that orders purges. `calls` are the ways of a call from each region and of its answer back."""

    def __init__(self, agenda: Agenda, regions: list[Region], calls: dict[str, tuple[Link, Link]]) -> None:
        self._agenda, self._calls, self.regions = agenda, calls, regions
        self.relays: dict[Region, Relay] = {}
        self.purges: list[Purge] = []
        self.applied: dict[str, list[float]] = {region.name: [] for region in regions}
        self.checker = Checker(agenda)
        self._all_until: dict[Region, int] = {}
        self.sites = [site for region in regions for site in region.sites]
        for region in regions:
            region.on_applied, region.on_proved = self._applied, self.checker.proved
            region.on_all_applied = self.all_applied

    def newest(self) -> int:
        return len(self.purges)

    def order(self, name: str) -> None:
        out, _ = self._calls[name]
        out.send(self._agenda.now, self._append, Purge(name, self._agenda.now))

    def all_applied(self, region: Region, sequence: int) -> None:
        """All sites of `region` have applied everything up to `sequence`."""
        for number in range(self._all_until.get(region, 0) + 1, sequence + 1):
            self._done(number, region)
        self._all_until[region] = max(self._all_until.get(region, 0), sequence)

    def _append(self, purge: Purge) -> None:
        now = self._agenda.now
        self.purges.append(purge)
        sequence, purge.appended, purge.missing = len(self.purges), now, set(self.regions)
        self._answer(purge, "known")
        for region in self.regions:
            relay = self.relays.get(region)
            if relay is None:
                region.append(sequence, 0, 0.0)
            else:
                relay.wake()
            until = min(now, relay.marked if relay else now) + LEASE * (1 + MARGIN)
            self._agenda.at(max(now, until), self._blind, sequence, region)

    def _blind(self, sequence: int, region: Region) -> None:
        """Whoever in `region` has not applied it by now has no lease: the newest proof they can have is older."""
        purge = self.purges[sequence - 1]
        if region in purge.missing:
            purge.blind += len(region.sites)
            self._done(sequence, region)

    def _done(self, sequence: int, region: Region) -> None:
        purge = self.purges[sequence - 1]
        purge.missing.discard(region)
        if not purge.missing and purge.all_at == inf:
            purge.all_at = self._agenda.now
            self.checker.answered(sequence, self.sites)
            self._answer(purge, "all_known")

    def _answer(self, purge: Purge, field: str) -> None:
        _, back = self._calls[purge.asked_in]
        back.send(self._agenda.now, self._arrive, purge, field)

    def _arrive(self, purge: Purge, field: str) -> None:
        setattr(purge, field, self._agenda.now)

    def _applied(self, region: Region, before: int, after: int) -> None:
        now, found = self._agenda.now, self.applied[region.name]
        for purge in self.purges[before:after]:
            found.append(now - purge.appended)
