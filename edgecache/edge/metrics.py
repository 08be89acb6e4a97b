"""What Prometheus scrapes."""

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from edgecache.core.trace import Trace

Gauges = Mapping[str, Callable[[], float]]

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class _Readings(Collector):
    """Gauges read when they are scraped."""

    def __init__(self, gauges: Gauges) -> None:
        self._gauges = gauges

    def collect(self) -> Iterable[Metric]:
        for name, read in self._gauges.items():
            yield GaugeMetricFamily(f"edgecache_{name}", name.replace("_", " "), value=read())


class Metrics:
    """One registry per node, so that several nodes fit into one process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "edgecache_requests", "Requests by route and outcome", ["route", "outcome"], registry=self._registry
        )
        self._seconds = Histogram(
            "edgecache_request_seconds",
            "Seconds to the end of the response",
            ["outcome"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._children: dict[tuple[str, str], Counter] = {}
        self._timers: dict[str, Histogram] = {}

    def watch(self, gauges: Gauges) -> None:
        self._registry.register(_Readings(gauges))

    def count(self, trace: Trace, seconds: float) -> None:
        """One finished request. Routes are few: they are the policy's."""
        self.count_named(trace.route, trace.name, seconds)

    def count_named(self, route: str, outcome: str, seconds: float) -> None:
        child = self._children.get((route, outcome))
        if child is None:
            child = self._children[route, outcome] = self._requests.labels(route, outcome)
            self._timers[outcome] = self._seconds.labels(outcome)
        child.inc()
        self._timers[outcome].observe(seconds)

    def render(self) -> bytes:
        """The text format, version 0.0.4."""
        return generate_latest(self._registry)
