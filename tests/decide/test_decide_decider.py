"""From similarity and texts to a decision."""

import math

import msgspec
import pytest

from edgecache.core.decision import Decision, Finding, Kind, Outcome
from edgecache.decide import Decider

QUESTION = "What is the capital of France?"
PARAPHRASE = "What is France's capital?"
OTHER = "What is the capital of Germany?"


@pytest.mark.parametrize(
    ("stored", "similarity", "outcome"),
    [
        (PARAPHRASE, 0.96, Outcome.HIT),
        (PARAPHRASE, 0.95, Outcome.HIT),
        (PARAPHRASE, 0.9499, Outcome.MISS),
        (PARAPHRASE, math.nan, Outcome.MISS),
        (OTHER, 0.99, Outcome.NEAR),
        (OTHER, 0.5, Outcome.MISS),
        (QUESTION, 1.0, Outcome.HIT),
        (QUESTION, 0.5, Outcome.MISS),
    ],
)
def test_threshold_then_gate(stored: str, similarity: float, outcome: Outcome) -> None:
    assert Decider().decide(QUESTION, stored, similarity, 0.95).outcome is outcome


def test_the_gate_is_not_asked_below_the_threshold() -> None:
    decider = Decider()
    assert decider.decide(QUESTION, OTHER, 0.5, 0.95).findings == ()
    assert decider.statistics().remembered == 0


def test_a_decision_explains_itself_without_any_users_text() -> None:
    decider = Decider()
    assert decider.decide(QUESTION, PARAPHRASE, 0.9621, 0.95).explain() == "semantic 0.962"
    assert decider.decide(QUESTION, OTHER, 0.9621, 0.95).explain() == "semantic 0.962 names"
    assert decider.decide(QUESTION, OTHER, 0.9, 0.95).explain() == "semantic 0.900 below 0.950"


def test_a_decision_is_a_value() -> None:
    finding = Finding(Kind.NUMBERS, "1", "2")
    decision = Decision(Outcome.NEAR, 0.9, 0.8, (finding,))
    assert msgspec.json.decode(msgspec.json.encode(decision), type=Decision) == decision
    with pytest.raises(AttributeError):
        decision.outcome = Outcome.HIT  # type: ignore[misc]


def test_decisions_are_counted() -> None:
    decider = Decider()
    decider.decide(QUESTION, PARAPHRASE, 0.96, 0.95)
    decider.decide(QUESTION, OTHER, 0.96, 0.95)
    decider.decide(QUESTION, OTHER, 0.1, 0.95)
    statistics = decider.statistics()
    assert statistics.outcomes == {Outcome.HIT: 1, Outcome.NEAR: 1, Outcome.MISS: 1}
    assert statistics.findings == {Kind.NAMES: 1}
    assert statistics.remembered == 3
    assert repr(decider) == "<Decider hit=1 near=1 miss=1>"


def test_what_is_remembered_is_bounded() -> None:
    decider = Decider(remembered=2)
    for number in range(5):
        decider.decide(QUESTION, f"question {number}", 1.0, 0.95)
    assert decider.statistics().remembered == 2
