"""What speaks against serving an answer for a question in other words. Only refuses, never loosens.

Pure functions on two texts. Every check is symmetric, so that it does not matter which of the two was asked first.
"""

from collections.abc import Callable, Iterable

from edgecache.core.decision import Finding, Kind
from edgecache.decide import limits, opposites, order, relations, roles, tense
from edgecache.decide import names as names_
from edgecache.decide.asked import compatible
from edgecache.decide.features import Features, features
from edgecache.decide.numbers import Numbers

Difference = tuple[str, str]
"""What stands in the question and what in the stored text, for people."""


def compare(question: str, stored: str) -> tuple[Finding, ...]:
    """What speaks against, in the order of the checks; empty where nothing does. Never raises."""
    return () if question == stored else compare_features(features(question), features(stored))


def compare_features(question: Features, stored: Features) -> tuple[Finding, ...]:
    """The same for texts that were read before."""
    found = ((kind, check(question, stored)) for kind, check in _CHECKS)
    return tuple(Finding(kind, *difference) for kind, difference in found if difference)


def _length(question: Features, stored: Features) -> Difference | None:
    too_long = question.too_long or stored.too_long
    return (_size(question), _size(stored)) if too_long else None


def _size(text: Features) -> str:
    return "too long" if text.too_long else "short"


def _language(question: Features, stored: Features) -> Difference | None:
    one, other = (f"{text.language} {text.script}".strip() for text in (question, stored))
    return None if one == other or not (question.script and stored.script) else (one, other)


def _numbers(question: Features, stored: Features) -> Difference | None:
    one, other = _unsaid(question.numbers, stored.numbers), _unsaid(stored.numbers, question.numbers)
    return _joined(one, other)


def _unsaid(numbers: Numbers, elsewhere: Numbers) -> set[str]:
    return set(numbers.said).difference(elsewhere.said, elsewhere.hinted)


def _dates(question: Features, stored: Features) -> Difference | None:
    return _sets_differ(question.dates, stored.dates)


def _units(question: Features, stored: Features) -> Difference | None:
    both = question.units - stored.units and stored.units - question.units
    return _sets_differ(question.units, stored.units) if both else None


def _negation(question: Features, stored: Features) -> Difference | None:
    if len(question.negations) == len(stored.negations):
        return None
    return " ".join(question.negations), " ".join(stored.negations)


def _opposites(question: Features, stored: Features) -> Difference | None:
    one, other = question.sides, stored.sides
    if opposites.opposed(one, other):
        return opposites.named(one, other), opposites.named(other, one)
    word = opposites.prefixed(question.lowers, stored.lowers)
    if word:
        return word, ""
    word = opposites.prefixed(stored.lowers, question.lowers)
    return ("", word) if word else None


def _names(question: Features, stored: Features) -> Difference | None:
    one, other = names_.missing(question.names, stored.names), names_.missing(stored.names, question.names)
    return _joined(one, other)


def _code(question: Features, stored: Features) -> Difference | None:
    one, other = question.code, stored.code
    if one.maybe and other.maybe:
        return _sets_differ(one.sure | one.maybe, other.sure | other.maybe)
    return _sets_differ(one.sure, other.sure)


def _quotes(question: Features, stored: Features) -> Difference | None:
    one = [quoted for quoted in question.quoted if quoted not in stored.plain]
    other = [quoted for quoted in stored.quoted if quoted not in question.plain]
    return _joined(one, other)


def _symbols(question: Features, stored: Features) -> Difference | None:
    return None if question.symbols == stored.symbols else (question.symbols, stored.symbols)


def _order(question: Features, stored: Features) -> Difference | None:
    pair = order.swapped(question.content, stored.content)
    return (" .. ".join(pair), " .. ".join(reversed(pair))) if pair else None


def _words(question: Features, stored: Features) -> Difference | None:
    """Only where neither text has capitals that tell: `tattnall county` and `lumpkin county`."""
    if question.names.cased or stored.names.cased:
        return None
    return order.substituted(question.content, stored.content)


def _asked(question: Features, stored: Features) -> Difference | None:
    return None if compatible(question.asked, stored.asked) else (question.asked, stored.asked)


def _roles(question: Features, stored: Features) -> Difference | None:
    return roles.reversed_roles(question.roles, stored.roles)


def _relations(question: Features, stored: Features) -> Difference | None:
    return relations.opposed(question.relations, stored.relations)


def _quantifiers(question: Features, stored: Features) -> Difference | None:
    return _sets_differ(question.quantifiers, stored.quantifiers)


def _limits(question: Features, stored: Features) -> Difference | None:
    return _joined(limits.unmet(question.limits, stored.limits), limits.unmet(stored.limits, question.limits))


def _tense(question: Features, stored: Features) -> Difference | None:
    return (question.tense[1], stored.tense[1]) if tense.differ(question.tense, stored.tense) else None


def _sets_differ(one: frozenset[str], other: frozenset[str]) -> Difference | None:
    return _joined(one - other, other - one)


def _joined(one: Iterable[str], other: Iterable[str]) -> Difference | None:
    left, right = (", ".join(sorted(side)).strip() for side in (one, other))
    return (left, right) if left or right else None


_CHECKS: tuple[tuple[Kind, Callable[[Features, Features], Difference | None]], ...] = (
    (Kind.LENGTH, _length),
    (Kind.LANGUAGE, _language),
    (Kind.NUMBERS, _numbers),
    (Kind.DATES, _dates),
    (Kind.UNITS, _units),
    (Kind.NEGATION, _negation),
    (Kind.OPPOSITES, _opposites),
    (Kind.NAMES, _names),
    (Kind.CODE, _code),
    (Kind.QUOTES, _quotes),
    (Kind.SYMBOLS, _symbols),
    (Kind.ORDER, _order),
    (Kind.ASKED, _asked),
    (Kind.WORDS, _words),
    (Kind.ROLES, _roles),
    (Kind.RELATIONS, _relations),
    (Kind.QUANTIFIERS, _quantifiers),
    (Kind.LIMITS, _limits),
    (Kind.TENSE, _tense),
)
