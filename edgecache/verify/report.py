"""A summary for people, and for Prometheus."""

from collections.abc import Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, write_to_textfile

from edgecache.verify.findings import Summary

SHOWN = 20
"""Violations, and failures, that are written out for people."""


def lines(summary: Summary) -> Iterator[str]:
    """For people."""
    found = summary
    nodes = "1 node" if len(found.nodes) == 1 else f"{len(found.nodes)} nodes"
    yield f"{nodes} in {found.seconds:.1f} s: {found.rounds:,} rounds, {found.pushes:,} pushes, " + (
        f"{found.purges:,} purges, {found.reads:,} reads with {found.hits:,} hits"
    )
    if found.wait_all_p50 is not None and found.wait_all_max is not None:
        half, longest = found.wait_all_p50 * 1_000, found.wait_all_max * 1_000
        yield f"wait=all: half within {half:.1f} ms, the longest {longest:.1f} ms"
    for violation in found.seen[:SHOWN]:
        yield f"VIOLATION {violation.kind} on {violation.node}, canary {violation.canary}: {violation.told}"
    if found.broken > SHOWN:
        yield f"and {found.broken - SHOWN:,} more"
    for failure in found.failed[:SHOWN]:
        yield f"could not look: {failure}"
    counts = ", ".join(f"{count:,} {kind}" for kind, count in found.violations.items())
    yield f"{'no violations' if not found.broken else f'{found.broken:,} violations'} ({counts})"


def export(summary: Summary, file: Path, now: float) -> None:
    """For the textfile collector of Prometheus's node_exporter; the file takes its name when it is whole.

    Raises:
        OSError: it cannot be written.
    """
    registry = CollectorRegistry()

    def gauge(name: str, told: str, value: float) -> None:
        Gauge(f"edgecache_verify_{name}", told, registry=registry).set(value)

    kinds = Gauge("edgecache_verify_violations", "Violations that the last run saw", ["kind"], registry=registry)
    for kind, count in summary.violations.items():
        kinds.labels(kind).set(count)
    gauge("failures", "What the last run could not look at", summary.failures)
    gauge("rounds", "Rounds of the last run", summary.rounds)
    gauge("reads", "Canaries read in the last run", summary.reads)
    gauge("nodes", "Nodes that the last run looked at", len(summary.nodes))
    gauge("seconds", "How long the last run took", summary.seconds)
    gauge("end_time_seconds", "When the last run ended, Unix time", now)
    if summary.wait_all_max is not None:
        gauge("wait_all_seconds_max", "The longest wait=all of the last run", summary.wait_all_max)
    write_to_textfile(str(file), registry)
