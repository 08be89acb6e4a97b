"""What the gate compares, read from a text once."""

from typing import NamedTuple

from edgecache.decide import asked, calendar, code, language, names, negation, numbers, opposites, order, symbols, units
from edgecache.decide import limits as limits_
from edgecache.decide import quantifiers as quantifiers_
from edgecache.decide import relations as relations_
from edgecache.decide import roles as roles_
from edgecache.decide import tense as tense_
from edgecache.decide.text import MAX_CHARACTERS, normalise, words


class Features(NamedTuple):
    """One text, read. Costs about as much as a few regular expressions over it; keep it with the entry."""

    too_long: bool
    script: str
    language: str
    lowers: frozenset[str]
    plain: str
    numbers: numbers.Numbers
    dates: frozenset[str]
    units: frozenset[str]
    negations: tuple[str, ...]
    sides: frozenset[opposites.Side]
    names: names.Names
    code: code.Code
    quoted: tuple[str, ...]
    symbols: str
    content: tuple[str, ...]
    asked: str
    roles: roles_.Roles
    relations: frozenset[relations_.Relation]
    quantifiers: frozenset[str]
    limits: limits_.Limits
    tense: tense_.Tense


def features(text: str) -> Features:
    """Read a text. Only its first 4,000 characters are looked at; a longer one is marked and refused. Never raises."""
    normalised = units.spell_degrees(calendar.split_dates(normalise(text[:MAX_CHARACTERS])))
    found = words(normalised)
    lowers = frozenset(word.lower for word in found)
    kind = asked.asked(found)
    return Features(
        too_long=len(text) > MAX_CHARACTERS,
        script=language.script(normalised),
        language=language.language(lowers),
        lowers=lowers,
        plain=code.plain_words(normalised),
        numbers=numbers.numbers(normalised),
        dates=calendar.dates(found),
        units=units.units(normalised, found),
        negations=negation.negations(found),
        sides=opposites.sides(found),
        names=names.names(found),
        code=code.code(normalised),
        quoted=code.quoted(normalised),
        symbols=symbols.symbols(normalised),
        content=order.content(found),
        asked=kind,
        roles=roles_.roles(found),
        relations=relations_.relations(found),
        quantifiers=quantifiers_.quantifiers(found, kind),
        limits=limits_.limits(found),
        tense=tense_.tense(found),
    )
