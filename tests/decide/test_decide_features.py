"""What is read from a text, part by part."""

import itertools

import pytest

from edgecache.decide import asked, calendar, code, names, numbers, opposites, order, units
from edgecache.decide.text import normalise, words


def _sides(text: str) -> frozenset[opposites.Side]:
    return opposites.sides(words(text))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1,000 and 1000", ("1000", "1000")),
        ("1,00,000 rupees", ("100000",)),
        ("twenty-one", ("21",)),
        ("two hundred and fifty thousand", ("250000",)),
        ("a hundred", ("100",)),
        ("1.5 million", ("1500000",)),
        ("a dozen", ("12",)),
        ("the 1st and the third", ("1", "3")),
        ("the second one", ("2",)),
        ("a second ago", ()),
        ("which one", ()),
        ("-5 and 5-10", ("-5", "5", "10")),
        ("covid-19", ("19",)),
        ("version 3.10.1", ("3.10.1",)),
        (".5 or 0.5", ("0.5", "0.5")),
        ("007", ("7",)),
        ("5km h264", ("5", "264")),
        ("Rocky IV", ("4",)),
        ("in the nineties", ("90",)),
        ("1" * 60 + "k", ("1" * 60,)),
    ],
)
def test_numbers(text: str, said: tuple[str, ...]) -> None:
    assert numbers.numbers(normalise(text)).said == said


def test_one_may_be_a_number() -> None:
    assert numbers.numbers("one cat").hinted == {"1"}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("may I march", set()),
        ("2 May 2019", {"may"}),
        ("in March", {"march"}),
        ("Jan 5", {"january"}),
        ("the sun sat", set()),
        ("next week, last year", {"next week", "last year"}),
        ("on Mondays", {"monday"}),
    ],
)
def test_dates(text: str, found: set[str]) -> None:
    assert calendar.dates(words(text)) == found


def test_an_impossible_month_stays_as_it_is() -> None:
    assert calendar.split_dates("2019-13-02 2019-12-02") == "2019-13-02 2 December 2019"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("5 m in 3 s", {"metre"}),
        ("I am in", set()),
        ("10in", {"inch"}),
        ("30 °C", {"celsius"}),
        ("50%", {"percent"}),
        ("€5", {"euro"}),
        ("5 pound and five pounds", {"pound"}),
    ],
)
def test_units(text: str, found: set[str]) -> None:
    plain = units.spell_degrees(normalise(text))
    assert units.units(plain, words(plain)) == found


def test_every_side_of_every_group_opposes_the_others() -> None:
    groups: dict[int, list[str]] = {}
    for group, _, side in opposites._lines():
        groups.setdefault(group, []).append(side[0].removeprefix("="))
    for group, heads in groups.items():
        assert len(heads) > 1, heads
        for one, other in itertools.combinations(heads, 2):
            assert opposites.opposed(_sides(one), _sides(other)), (group, one, other)


@pytest.mark.parametrize("word", ["disabled", "stopped", "denies", "removing", "bought", "turned off", "switching off"])
def test_inflections_stand_in_the_table(word: str) -> None:
    assert _sides(word)


def test_a_text_with_both_sides_opposes_neither() -> None:
    assert not opposites.opposed(_sides("increase or decrease"), _sides("increase"))


def test_prefixes_turn_a_word_round() -> None:
    assert opposites.prefixed(frozenset({"unlikely"}), frozenset({"likely"})) == "unlikely"
    assert opposites.prefixed(frozenset({"inform"}), frozenset({"forms"})) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Who is Ada Lovelace?", {"ada", "lovelac"}),
        ("Is Python3 new?", {"python"}),
        ("I love it in the US", {"united states"}),
        ("tell us more", set()),
        ("What Did Ada Lovelace Really Invent?", set()),
        ("WHO WAS LOVELACE REALLY", set()),
        ("Did Donald Trump call Steve?", {"trump", "stev"}),
        ("It costs 500 INR, OK?", set()),
        ("new york and York", {"new york", "york"}),
    ],
)
def test_names(text: str, said: set[str]) -> None:
    assert names.names(words(text)).said == said


@pytest.mark.parametrize(
    ("text", "sure"),
    [
        ("set my_var and obj.attr", {"my_var", "obj.attr"}),
        ("rm -rf /tmp/x.txt", {"-rf", "/tmp/x.txt"}),
        ("C++ or c#", {"c++", "c#"}),
        ("1.5 and 3/4 and v1.2", set()),
        ("well-known, e.g. this.", set()),
        ("he/she", set()),
        ("C:\\Users\\me", {"\\users\\me"}),
    ],
)
def test_code(text: str, sure: set[str]) -> None:
    assert code.code(normalise(text)).sure == sure


def test_quotes() -> None:
    assert code.quoted(normalise('say “To  be!” or \'not\' or `be` and ""x""')) == (" to be ", " not ", " be ", " x ")
    assert code.quoted("don't and can't, \"\" or ''") == ()


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("How many dogs?", "number"),
        ("How come dogs bark?", "why"),
        ("What is the reason dogs bark?", "why"),
        ("Which city is it?", "what"),
        ("In which city is it?", "where"),
        ("Could you tell me when it opens?", "when"),
        ("Could you help?", ""),
        ("Could dogs help?", "whether"),
        ("Dogs?", ""),
        ("So how", "how"),
    ],
)
def test_asked(text: str, kind: str) -> None:
    assert asked.asked(words(text)) == kind


def test_symmetric_comparisons_have_no_order() -> None:
    one, other = (order.content(words(text)) for text in ("difference of a b to c d", "difference of c d to a b"))
    assert order.swapped(one, other) is None


def test_words_know_where_a_sentence_begins() -> None:
    assert [word.text for word in words("Hi there. Why? Anna's dog isn't.") if word.first] == ["Hi", "Why", "Anna"]
    assert [word.lower for word in words("She won't, he can't: we're")][1:3] == ["will", "not"]


def test_initials_are_one_word() -> None:
    assert normalise("the U.S. and the U.K today") == "the US and the UK today"
