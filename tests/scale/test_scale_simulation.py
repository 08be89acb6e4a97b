"""The simulation behind docs/scale.md: the promise holds in it, and each lease that is counted wrongly is noticed."""

import random
from itertools import combinations
from math import acos, cos, inf, radians, sin

import pytest

import bench.scale_home
from bench.scale_deployment import HOME, START, Deployment, Plan
from bench.scale_limits import limits
from bench.scale_network import REGIONS, Agenda, Link, Path, rtt
from bench.scale_region import LEASE, Rule

SEEDS = range(1, 6)
CUT = Plan(0, 15, sites=5, cut=True, fault_at=5, fault_for=6)
LATE = Plan(0, 15, sites=5, late_by=3.0, fault_at=5, fault_for=6)
FAULTS = {
    "none": Plan(0, 10, sites=5),
    "cut": CUT,
    "late": LATE,
    "bad network": Plan(0, 10, sites=5, trouble=30),
    "cut, bad network": CUT._replace(trouble=30),
    "late, one read": LATE._replace(reads=1),
    "cut, one read": CUT._replace(reads=1),
    "one Redis": Plan(0, 10, sites=5, single=True, trouble=10),
}
PLACES = {
    "Virginia": (38.9, -77.5),
    "Oregon": (45.8, -119.7),
    "São-Paulo": (-23.5, -46.6),
    "Ireland": (53.3, -6.3),
    "Frankfurt": (50.1, 8.7),
    "Mumbai": (19.1, 72.9),
    "Singapore": (1.4, 103.8),
    "Tokyo": (35.7, 139.7),
    "Sydney": (-33.9, 151.2),
    "Cape-Town": (-33.9, 18.4),
}
KILOMETRES_A_SECOND = 299_792 * 2 / 3
"""Of light in glass."""


def stale(plan: Plan) -> int:
    return Deployment(plan).run().checker.stale


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("fault", FAULTS)
def test_no_site_may_answer_what_a_purge_answered_with_wait_all_forbids(fault: str, seed: int) -> None:
    home = Deployment(FAULTS[fault]._replace(seed=seed)).run()
    assert len(home.purges) > 100
    assert all(purge.all_at < inf for purge in home.purges)
    assert all(site.applied == len(home.purges) for site in home.sites)
    assert all(site.lease_until > home.purges[-1].appended for site in home.sites)
    assert home.checker.stale == 0


@pytest.mark.parametrize("rule", [rule for rule in Rule if rule is not Rule.MARKS])
def test_a_lease_counted_from_anything_else_breaks_the_promise_where_the_relay_writes_late(rule: Rule) -> None:
    assert all(stale(LATE._replace(seed=seed, rule=rule)) > 0 for seed in SEEDS)


def test_a_site_that_believes_its_own_region_breaks_the_promise_when_that_is_cut() -> None:
    assert all(stale(CUT._replace(seed=seed, rule=Rule.OWN_READ)) > 0 for seed in SEEDS)


def test_an_answer_before_the_leases_are_out_breaks_the_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench.scale_home, "LEASE", LEASE / 2)
    assert all(stale(CUT._replace(seed=seed)) > 0 for seed in SEEDS)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_cut_region_goes_blind_is_named_and_serves_again(seed: int) -> None:
    deployment = Deployment(CUT._replace(seed=seed))
    home = deployment.run()
    start = START + CUT.fault_at
    end = start + CUT.fault_for
    assert len(home.checker.gaps) == len(deployment.region(CUT.region).sites)
    assert all(start < went <= start + LEASE + 0.3 < end < back < end + 2 for went, back in home.checker.gaps)
    later = [purge for purge in home.purges if start + LEASE + 0.5 < purge.appended < end - 1]
    assert later
    assert all(purge.blind == CUT.sites for purge in later)
    assert all(purge.all_at - purge.appended < LEASE for purge in later)


@pytest.mark.parametrize("seed", SEEDS)
def test_nobody_is_named_blind_while_nothing_is_cut(seed: int) -> None:
    home = Deployment(Plan(seed, 10, sites=5, trouble=0)).run()
    assert not home.checker.gaps
    assert not any(purge.blind for purge in home.purges)


def test_a_seed_gives_the_same_run_again() -> None:
    one, same, other = (Deployment(CUT._replace(seed=seed)).run() for seed in (7, 7, 8))
    assert [purge.all_known for purge in one.purges] == [purge.all_known for purge in same.purges]
    assert one.applied == same.applied != other.applied


def test_a_link_keeps_the_order_and_loses_what_is_sent_into_a_cut() -> None:
    agenda, arrived = Agenda(), []
    link = Link(agenda, random.Random(1), Path(rtt=0.1, jitter=0.05, stalls=0.2, loss=0.2))
    for number in range(200):
        link.send(number / 1000, arrived.append, number)
    link.cut()
    link.send(0.3, arrived.append, "into the cut")
    agenda.run(100)
    assert arrived == list(range(200))


def test_what_an_old_connection_carried_does_not_arrive_on_the_new_one() -> None:
    agenda, arrived = Agenda(), []
    link = Link(agenda, random.Random(1), Path(rtt=0.1, jitter=0, stalls=0, loss=0))
    link.send(0, arrived.append, "old")
    link.reconnect()
    link.send(0, arrived.append, "new")
    agenda.run(1)
    assert arrived == ["new"]


def light(one: str, other: str) -> float:
    """Seconds there and back in glass along the great circle."""
    (north, east), (other_north, other_east) = (map(radians, PLACES[name]) for name in (one, other))
    angle = acos(sin(north) * sin(other_north) + cos(north) * cos(other_north) * cos(east - other_east))
    return 2 * 6_371 * angle / KILOMETRES_A_SECOND


def test_no_round_trip_is_faster_than_light_or_slower_than_a_detour_by_a_third_region() -> None:
    for one, other in combinations(REGIONS, 2):
        detour = min(rtt(one, third) + rtt(third, other) for third in REGIONS if third not in (one, other))
        assert light(one, other) < rtt(one, other) == rtt(other, one) < 1.05 * detour, (one, other)


def test_home_is_where_the_farthest_region_is_nearest() -> None:
    assert min(REGIONS, key=lambda home: max(rtt(home, other) for other in REGIONS)) == HOME


def test_a_stream_passes_on_more_than_one_read_at_a_time() -> None:
    found = limits()
    assert found["stream_one_key_limit"] > found["one_read_one_key_limit"]
    assert found["stream_256_keys_limit"] < found["stream_one_key_limit"]
