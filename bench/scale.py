"""A thousand sites in ten regions, simulated: how long a purge takes, and what a region does that is cut off.

Nothing here is measured on a network: `scale_network.py` says what is known and what is assumed, docs/scale.md what the
model leaves out. A seed gives the same figures again; `repeats` are seeds that follow each other.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from bench.figures import Figure, figure
from bench.scale_deployment import START, Deployment, Plan
from bench.scale_home import Home, Purge
from bench.scale_limits import limits
from bench.scale_network import REGIONS
from bench.scale_region import LEASE

PERCENTILES = {"p50": 0.5, "p99": 0.99, "p999": 0.999}
Found = dict[str, float]


def measure(repeats: int, seed: int = 1) -> list[Figure]:
    rounds = [_round(seed + number) for number in range(repeats)]
    simulated = [figure(name, [found[name] for found in rounds], _unit(name), _goal(name)) for name in rounds[0]]
    return [*simulated, *(figure(name, [value], "records/s") for name, value in limits().items())]


def _round(seed: int) -> Found:
    steady, cut = Deployment(Plan(seed, 50)), Deployment(Plan(seed, 40, per_second=10, cut=True))
    late = Deployment(Plan(seed, 30, per_second=10, late_by=3.0, fault_for=10))
    others = {
        "quiet": Deployment(Plan(seed, 15, trouble=0)),
        "busy": Deployment(Plan(seed, 2, per_second=1_000)),
        "one_read": Deployment(Plan(seed, 20, reads=1)),
        "one_redis": Deployment(Plan(seed, 20, single=True)),
    }
    found = {**_purges("", steady.run()), **_answers(steady.home), **_regions(steady.home)}
    found["blind_share_ppm"] = 1e6 * steady.home.checker.blind_seconds / (len(steady.home.sites) * steady.agenda.now)
    for name, deployment in others.items():
        found |= _purges(f"{name}_", deployment.run())
    found |= _cut(cut)
    late.run()
    everyone = (steady, cut, late, *others.values())
    return found | {"stale": float(sum(deployment.home.checker.stale for deployment in everyone))}


def _unit(name: str) -> str:
    endings = {"_ms": "ms", "_s": "s", "_ppm": "ppm", "_sites": "sites"}
    return next((unit for ending, unit in endings.items() if name.endswith(ending)), "leases")


def _goal(name: str) -> str:
    return "<= 0" if name == "stale" else ""


def _quantiles(name: str, seconds: Iterable[float]) -> Found:
    values = 1e3 * np.fromiter(seconds, np.float64)
    return {f"{name}_{label}_ms": float(np.quantile(values, share)) for label, share in PERCENTILES.items()}


def _purges(prefix: str, home: Home) -> Found:
    """In the log -> in force at a site; in the log -> known at home to be in force at all."""
    applied = [seconds for found in home.applied.values() for seconds in found]
    return {
        **_quantiles(f"{prefix}apply", applied),
        **_quantiles(f"{prefix}everywhere", (purge.all_at - purge.appended for purge in home.purges)),
    }


def _answers(home: Home) -> Found:
    """From the call, made in any region, to its 200, without `wait` and with `wait=all`; and means over all sites, as
    others publish them.
    """
    called = float(np.mean([purge.appended - purge.begun for purge in home.purges]))
    applied = float(np.mean([seconds for found in home.applied.values() for seconds in found]))
    return {
        "apply_mean_ms": 1e3 * applied,
        "call_to_apply_mean_ms": 1e3 * (called + applied),
        **_quantiles("answer", (purge.known - purge.begun for purge in home.purges)),
        **_quantiles("wait_all", (purge.all_known - purge.begun for purge in home.purges)),
    }


def _regions(home: Home) -> Found:
    found: Found = {}
    for name in REGIONS:
        asked = [purge.known - purge.begun for purge in home.purges if purge.asked_in == name]
        found |= _quantiles(f"apply_{name}", home.applied[name])
        found[f"answer_{name}_p50_ms"] = 1e3 * float(np.median(asked))
    return found


def _cut(deployment: Deployment) -> Found:
    """A region cut off for `fault_for` seconds. Purges are looked at by when they were in the log: in the first lease
    of the cut, and after it.
    """
    plan, home = deployment.plan, deployment.run()
    start = START + plan.fault_at
    end = start + plan.fault_for
    went, back = np.array(home.checker.gaps).T
    soon = [purge for purge in home.purges if start <= purge.appended < start + LEASE]
    later = [purge for purge in home.purges if start + LEASE + 0.5 <= purge.appended < end]
    return {
        "cut_blind_after_first_s": float(went.min() - start),
        "cut_blind_after_last_s": float(went.max() - start),
        "cut_sites": float(len(went)),
        "cut_others_apply_p99_ms": _others(home, plan.region),
        "cut_soon_everywhere_longest_s": max(purge.all_at - purge.appended for purge in soon),
        **_quantiles("cut_later_everywhere", (purge.all_at - purge.appended for purge in later)),
        "cut_later_named_blind_sites": _blind(later),
        "cut_serving_again_first_s": float(back.min() - end),
        "cut_serving_again_last_s": float(back.max() - end),
    }


def _others(home: Home, cut: str) -> float:
    applied = [seconds for name, found in home.applied.items() if name != cut for seconds in found]
    return 1e3 * float(np.quantile(applied, 0.99))


def _blind(purges: Sequence[Purge]) -> float:
    """What `wait=all` answered as `blind`."""
    return float(np.median([purge.blind for purge in purges]))
