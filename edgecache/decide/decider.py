"""From a proposal of the index to a decision: the route's threshold, then the gate."""

import functools
from collections import Counter

import msgspec

from edgecache.core.decision import Decision, Finding, Kind, Outcome
from edgecache.decide.features import features
from edgecache.decide.gate import compare_features

_REMEMBERED = 1_024


class DeciderStatistics(msgspec.Struct, frozen=True):
    """Decisions since the start: how many of each outcome, and how often each kind of finding spoke against."""

    outcomes: dict[Outcome, int]
    findings: dict[Kind, int]
    remembered: int


class Decider:
    """Decides on one candidate at a time. Remembers what it read in the latest texts, so that a stored question that
    is proposed again and again is read once."""

    def __init__(self, remembered: int = _REMEMBERED) -> None:
        self._features = functools.lru_cache(maxsize=remembered)(features)
        self._outcomes: Counter[Outcome] = Counter()
        self._findings: Counter[Kind] = Counter()

    def __repr__(self) -> str:
        outcomes = " ".join(f"{outcome.value}={self._outcomes[outcome]}" for outcome in Outcome)
        return f"<Decider {outcomes}>"

    def decide(self, question: str, stored: str, similarity: float, threshold: float) -> Decision:
        """HIT at or above the threshold with nothing against; NEAR with something against; MISS below. Never raises."""
        below = not similarity >= threshold  # a similarity that is no number is below
        findings = () if below or question == stored else self._compare(question, stored)
        outcome = Outcome.MISS if below else Outcome.NEAR if findings else Outcome.HIT
        self._outcomes[outcome] += 1
        self._findings.update(finding.kind for finding in findings)
        return Decision(outcome, similarity, threshold, findings)

    def statistics(self) -> DeciderStatistics:
        return DeciderStatistics(dict(self._outcomes), dict(self._findings), self._features.cache_info().currsize)

    def _compare(self, question: str, stored: str) -> tuple[Finding, ...]:
        return compare_features(self._features(question), self._features(stored))
