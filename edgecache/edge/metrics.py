"""What Prometheus scrapes. Counting is a few integers on the event loop; the text is made when it is asked for."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

Gauges = Mapping[str, Callable[[], float]]

BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
"""Upper bounds in seconds."""


class Tally:
    """Requests of one route with one outcome: how many, and how long they took to the end of the response."""

    __slots__ = ("counts", "seconds")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.seconds = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.seconds += seconds


class Metrics(Collector):
    """One per node, so that several nodes fit into one process."""

    def __init__(self) -> None:
        self._tallies: dict[tuple[str, str], Tally] = {}
        self._gauges: Gauges = {}
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def watch(self, gauges: Gauges) -> None:
        """Readings taken when they are scraped."""
        self._gauges = gauges

    def tally(self, route: str, outcome: str) -> Tally:
        """Labels are few: routes are the policy's, outcomes ours."""
        found = self._tallies.get((route, outcome))
        if found is None:
            found = self._tallies[route, outcome] = Tally()
        return found

    def collect(self) -> Iterator[Metric]:
        requests = CounterMetricFamily("edgecache_requests", "Requests", labels=["route", "outcome"])
        seconds = HistogramMetricFamily(
            "edgecache_request_seconds", "Seconds to the end of the response", labels=["route", "outcome"]
        )
        for labels, tally in self._tallies.items():
            requests.add_metric(labels, sum(tally.counts))
            seconds.add_metric(labels, list(_cumulative(tally.counts)), tally.seconds)
        yield requests
        yield seconds
        for name, read in self._gauges.items():
            yield GaugeMetricFamily(f"edgecache_{name}", name.replace("_", " "), value=read())

    def render(self) -> bytes:
        """The text format, version 0.0.4."""
        return generate_latest(self._registry)

    def __repr__(self) -> str:
        return f"<Metrics {len(self._tallies)} tallies, {len(self._gauges)} gauges>"


def _cumulative(counts: Iterable[int]) -> Iterator[tuple[str, float]]:
    total = 0
    for bound, count in zip((*map(str, BUCKETS), "+Inf"), counts, strict=True):
        total += count
        yield bound, float(total)
