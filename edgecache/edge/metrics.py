"""What Prometheus scrapes. Counting is a few integers on the event loop; the text is made when it is asked for."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from edgecache.core.prices import NANO, Spend, Sum

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
        self._spend: Callable[[], Iterable[Spend]] = tuple
        self._limited: Callable[[], Mapping[str, int]] = dict
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def watch(self, gauges: Gauges) -> None:
        """Readings taken when they are scraped."""
        self._gauges = gauges

    def account(self, spend: Callable[[], Iterable[Spend]], limited: Callable[[], Mapping[str, int]]) -> None:
        """By route: what answers cost and what those from cache did not; requests over a limit."""
        self._spend = spend
        self._limited = limited

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
        yield from _spend(self._spend(), self._limited())
        for name, read in self._gauges.items():
            yield GaugeMetricFamily(f"edgecache_{name}", name.replace("_", " "), value=read())

    def render(self) -> bytes:
        """The text format, version 0.0.4."""
        return generate_latest(self._registry)

    def __repr__(self) -> str:
        return f"<Metrics {len(self._tallies)} tallies, {len(self._gauges)} gauges>"


def _spend(rows: Iterable[Spend], limited: Mapping[str, int]) -> Iterator[Metric]:
    labels = ["route", "how", "currency"]
    answers = CounterMetricFamily("edgecache_answers", "Answers asked for, and from cache", labels=labels)
    tokens = CounterMetricFamily("edgecache_tokens", "Their tokens", labels=[*labels, "kind"])
    money = CounterMetricFamily("edgecache_money", "What they cost", labels=labels)
    refused = CounterMetricFamily("edgecache_limited", "Requests over a limit", labels=["route"])
    for row in rows:
        for how, of in (("spent", row.spent), ("saved", row.saved)):
            _add(of, [row.route, how, row.currency], answers, tokens, money)
    for route, count in limited.items():
        refused.add_metric([route], count)
    return iter((answers, tokens, money, refused))


def _add(
    of: Sum, labels: list[str], answers: CounterMetricFamily, tokens: CounterMetricFamily, money: CounterMetricFamily
) -> None:
    """Models without a price have no currency, and no money."""
    answers.add_metric(labels, of.answers)
    tokens.add_metric([*labels, "prompt"], of.prompt)
    tokens.add_metric([*labels, "completion"], of.completion)
    if labels[-1]:
        money.add_metric(labels, of.money / NANO)


def _cumulative(counts: Iterable[int]) -> Iterator[tuple[str, float]]:
    total = 0
    for bound, count in zip((*map(str, BUCKETS), "+Inf"), counts, strict=True):
        total += count
        yield bound, float(total)
