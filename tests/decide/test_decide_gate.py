"""The gate: pairs written by hand, and what must hold for any two texts."""

import itertools

import pytest
from decide_pairs import PASSED, REFUSED
from hypothesis import given
from hypothesis import strategies as st

from edgecache.core.decision import Finding, Kind
from edgecache.decide import compare
from edgecache.decide.features import features
from edgecache.decide.gate import compare_features
from edgecache.decide.text import MAX_CHARACTERS

_SAMPLES = """
what how is the a of in to not no 1 10 one two second third 2019-01-02 May may $5 5km °C don't can't n't Paris paris us
US USA New York than from "to be" `x` --force a.b a/b C++ enable disable unlock lock . ? I II VAT und ist der
"""
_WORDS = st.sampled_from(_SAMPLES.split())
_TEXTS = st.one_of(st.text(alphabet=st.characters(codec=None)), st.lists(_WORDS, max_size=14).map(" ".join))


@pytest.mark.parametrize(
    ("kind", "question", "stored"), [(kind, *pair) for kind, pairs in REFUSED.items() for pair in pairs]
)
def test_refused_for_its_reason(kind: Kind, question: str, stored: str) -> None:
    assert kind in {finding.kind for finding in compare(question, stored)}
    assert kind in {finding.kind for finding in compare(stored, question)}


@pytest.mark.parametrize(("question", "stored"), PASSED)
def test_paraphrases_pass(question: str, stored: str) -> None:
    assert compare(question, stored) == ()
    assert compare(stored, question) == ()


def test_every_kind_has_pairs() -> None:
    assert set(REFUSED) | {Kind.LENGTH} == set(Kind)


def test_a_finding_says_what_stands_where() -> None:
    (finding,) = compare("What happened in 2019?", "What happened in 2020?")
    assert finding == Finding(Kind.NUMBERS, "2019", "2020")
    assert str(finding) == "numbers differ: 2019 / 2020"


def test_a_finding_says_where_nothing_stands() -> None:
    (finding,) = compare("What is tea?", "What is tea in Japan?")
    assert str(finding) == "names differ: none / japan"


@given(_TEXTS)
def test_identical_text_always_passes(text: str) -> None:
    assert compare(text, text) == ()
    assert compare_features(features(text), features(text)) == ()


@given(_TEXTS, _TEXTS)
def test_it_does_not_matter_which_was_first(question: str, stored: str) -> None:
    there, back = compare(question, stored), compare(stored, question)
    assert {finding.kind for finding in there} == {finding.kind for finding in back}


@given(st.lists(_WORDS, min_size=1, max_size=10), st.lists(_WORDS, min_size=1, max_size=10))
def test_white_space_says_nothing(question: list[str], stored: list[str]) -> None:
    assert compare(" ".join(question), " ".join(stored)) == compare("  ".join(question) + " ", "  ".join(stored))


@pytest.mark.parametrize(
    "text", ["\ud800", "a\udfffb", "\x00", "", " ", "'", "''''", '"', "`", "-", "²", "½", "٣", "n't"]
)
def test_odd_texts_are_read(text: str) -> None:
    assert compare(text, text + " ?") is not None
    assert {finding.kind for finding in compare(text, "What happened in 2019?")} >= {Kind.NUMBERS}


def test_a_text_over_the_limit_is_refused() -> None:
    longest = "word " * (MAX_CHARACTERS // 5)
    assert compare(longest, longest.strip()) == ()
    assert [finding.kind for finding in compare(longest + "word", longest)] == [Kind.LENGTH]


_HOSTILE = [
    "a",
    "-",
    "1,",
    "'a",
    '"',
    ".",
    "a.",
    "/",
    "a/",
    "_",
    "1",
    "a than ",
    "$1",
    "°",
    "A.B",
    "one hundred ",
    "日本",
    "a::",
]


@pytest.mark.parametrize("piece", _HOSTILE)
def test_no_more_than_the_limit_is_ever_read(piece: str) -> None:
    """100 kB cost what 4,000 characters cost: the rest is not looked at."""
    hostile = piece * (100_000 // len(piece))
    assert features(hostile) == features(hostile[: MAX_CHARACTERS + 1])
    assert Kind.LENGTH in {finding.kind for finding in compare(hostile, hostile[1:] + "!")}


def test_the_big_list_of_naughty_strings(naughty: list[str]) -> None:
    for one, other in itertools.pairwise(naughty):
        assert bool(compare(one, other)) == bool(compare(other, one))
