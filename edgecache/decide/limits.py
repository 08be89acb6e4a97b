"""Words that narrow what is asked: `the maximum dose` is not `the dose`."""

from typing import NamedTuple

from edgecache.decide.text import Word

# One limit a line. If a text has a word left of "|", the other text has to have a word of the same line.
_TABLE = """
maximum, max, maximal | highest, largest, greatest, most, top, upper, limit, limits
minimum, min, minimal | lowest, smallest, least, lower
recommended | recommend, recommends, suggested, suggest, advised, advisable, should, best
serious, severe | seriously, severely, grave, dangerous, bad
mild | slight, minor
common | commonly, usual, usually, frequent, frequently, popular, typical, typically, often, main, some, examples
rare | rarely, uncommon, unusual
resting | rest
chronic | permanent
acute | sudden
legal | legally, legalise, legalised, legalize, legalized, legalising, legalizing, lawful, law, laws, allowed, illegal
average | mean, typical, typically, normal, normally, usual, usually
cheapest | cheap, cheaper, cheaply, inexpensive, affordable, lowest, least
fastest, quickest | fast, faster, quick, quicker, quickly, soon, best
safest | safe, safely, safer
official | officially
temporary | temporarily
permanent | permanently, forever
emergency | emergencies, urgent, urgently
"""


class Limits(NamedTuple):
    """`said`: the limits that the other text has to have. `hinted`: those it has, in these or in other words."""

    said: frozenset[str]
    hinted: frozenset[str]


def limits(words: tuple[Word, ...]) -> Limits:
    """The limits of a text, each by the first word of its line."""
    lowers = {word.lower for word in words}
    return Limits(
        frozenset(_SAID[word] for word in lowers & _SAID.keys()),
        frozenset(limit for word in lowers & _HINTED.keys() for limit in _HINTED[word]),
    )


def unmet(one: Limits, other: Limits) -> frozenset[str]:
    """Limits of `one` that the other text has in no words."""
    return one.said - other.hinted


def _read() -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    said: dict[str, str] = {}
    hinted: dict[str, tuple[str, ...]] = {}
    for line in _TABLE.strip().splitlines():
        left, right = ([word.strip() for word in side.split(",")] for side in line.split("|"))
        said |= dict.fromkeys(left, left[0])
        for word in left + right:
            hinted[word] = (*hinted.get(word, ()), left[0])
    return said, hinted


_SAID, _HINTED = _read()
