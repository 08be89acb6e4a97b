"""What was filled, purged, asked and answered, in order; and whether the promise of purging was kept.

    history = History()
    history.fill_started(version=1)
    request = history.request_begun()
    purge = history.purge_ordered(tags)
    history.purge_acknowledged(purge)
    history.answer_served(request, version=1, tags=tags)
    assert history.stale() == []     # the request began before the purge was acknowledged

The promise: no answer is older than the newest purge of one of its tags that was acknowledged before the request began.
A fill begun before a purge was ordered is older than it.
"""

from collections.abc import Iterable, Mapping

import msgspec

from edgecache.core.tags import Tag


class Stale(msgspec.Struct, frozen=True):
    """An answer that broke the promise. Places are numbers of events in the history."""

    version: int
    filled: int
    ordered: int
    acknowledged: int
    asked: int
    answered: int

    def __str__(self) -> str:
        return (
            f"version {self.version}, begun at {self.filled}, was purged at {self.ordered} (acknowledged at "
            f"{self.acknowledged}) and served at {self.answered} to a request begun at {self.asked}"
        )


class _Purge(msgspec.Struct):
    tags: frozenset[Tag]
    ordered: int
    acknowledged: int | None = None


class _Answer(msgspec.Struct, frozen=True):
    asked: int
    answered: int
    version: int
    tags: frozenset[Tag]


class History:
    """Each method that records takes its place in one order: call it on one event loop, when it happens."""

    def __init__(self) -> None:
        self._now = 0
        self._fills: dict[int, int] = {}
        self._purges: list[_Purge] = []
        self._answers: list[_Answer] = []

    def fill_started(self, version: int) -> None:
        """The upstream is about to make `version`."""
        self._fills[version] = self._next()

    def purge_ordered(self, tags: Iterable[Tag]) -> int:
        """Somebody asks for a purge; the number to acknowledge it by."""
        self._purges.append(_Purge(frozenset(tags), self._next()))
        return len(self._purges) - 1

    def purge_acknowledged(self, purge: int) -> None:
        self._purges[purge].acknowledged = self._next()

    def request_begun(self) -> int:
        """The number to answer it by."""
        return self._next()

    def answer_served(self, request: int, version: int, tags: Iterable[Tag]) -> None:
        """`tags` are all that `version` carries."""
        self._answers.append(_Answer(request, self._next(), version, frozenset(tags)))

    def stale(self) -> list[Stale]:
        """Every answer that broke the promise, each with one purge that forbade it."""
        return [found for answer in self._answers if (found := self._judge(answer)) is not None]

    def counts(self) -> Mapping[str, int]:
        """How much happened, so that a test can tell that something did."""
        return {"fills": len(self._fills), "purges": len(self._purges), "answers": len(self._answers)}

    def _judge(self, answer: _Answer) -> Stale | None:
        filled = self._fills[answer.version]
        for purge in self._purges:
            known = purge.acknowledged is not None and purge.acknowledged < answer.asked
            if known and filled < purge.ordered and not purge.tags.isdisjoint(answer.tags):
                assert purge.acknowledged is not None
                return Stale(answer.version, filled, purge.ordered, purge.acknowledged, answer.asked, answer.answered)
        return None

    def _next(self) -> int:
        self._now += 1
        return self._now

    def __repr__(self) -> str:
        return f"<History {self._now} events {self.counts()} stale={len(self.stale())}>"
