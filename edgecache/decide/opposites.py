"""Words of which one text may not have one and the other text another: opposites and closed sets."""

from collections.abc import Iterator

from edgecache.decide.opposites_table import OPPOSITES
from edgecache.decide.text import Word

_PREFIXES = ("un", "non", "dis", "in", "im", "ir", "il", "de", "mis", "anti")
_MIN_BASE = 4
_VOWELS = "aeiou"
Side = tuple[int, int]
"""Group, and side in the group."""


def sides(words: tuple[Word, ...]) -> frozenset[Side]:
    """(group, side) of every word or pair of words that stands in the table."""
    found: set[Side] = set()
    for place, word in enumerate(words):
        found.update(_TABLE.get(word.lower, ()))
        if place and words[place - 1].lower in _FIRST_OF_TWO:
            found.update(_TABLE.get(f"{words[place - 1].lower} {word.lower}", ()))
    return frozenset(found)


def opposed(one: frozenset[Side], other: frozenset[Side]) -> bool:
    """True where each text has a side of a group that the other has not."""
    groups = {group for group, _ in one - other}
    return any(group in groups for group, _ in other - one)


def named(found: frozenset[Side], against: frozenset[Side]) -> str:
    """What stands in `found` on another side than in `against`, for people."""
    groups = {group for group, _ in against - found}
    return ", ".join(sorted(_HEADWORDS[side] for side in found - against if side[0] in groups))


def prefixed(one: frozenset[str], other: frozenset[str]) -> str | None:
    """A word of `one` that is a word of `other` with a prefix that turns it round: `unlock` against `lock`."""
    for word in one - other:
        for prefix in _PREFIXES:
            base = word.removeprefix(prefix)
            if base != word and len(base) >= _MIN_BASE and base in other and base not in one:
                return word
    return None


def _lines() -> Iterator[tuple[int, int, list[str]]]:
    lines = [line for line in OPPOSITES.splitlines() if line and not line.startswith("#")]
    for group, line in enumerate(lines):
        for side, words in enumerate(line.split("|")):
            yield group, side, [word.strip() for word in words.split(",")]


def _forms(word: str) -> set[str]:
    """A word, its plural and its regular verb forms; forms that no one writes do no harm. `=word` has none."""
    if word.startswith("="):
        return {word[1:]}
    head, space, tail = word.partition(" ")
    return {form + space + tail for form in _inflected(head)}


def _inflected(word: str) -> set[str]:
    forms = {word, word + "s", word + "es", word + "ed", word + "ing"}
    if word.endswith("e"):
        forms |= {word + "d", word[:-1] + "ing"}
    if word.endswith("y") and word[-2:-1] not in _VOWELS:
        forms |= {word[:-1] + "ies", word[:-1] + "ied"}
    if len(word) > 2 and word[-1] not in _VOWELS + "wxy" and word[-2] in _VOWELS and word[-3] not in _VOWELS:
        forms |= {word + word[-1] + "ed", word + word[-1] + "ing"}
    return forms


def _read() -> tuple[dict[str, tuple[Side, ...]], dict[Side, str]]:
    table: dict[str, tuple[Side, ...]] = {}
    headwords: dict[Side, str] = {}
    for group, side, words in _lines():
        headwords[group, side] = words[0].removeprefix("=")
        for form in {form for word in words for form in _forms(word)}:
            table[form] = (*table.get(form, ()), (group, side))
    return table, headwords


_TABLE, _HEADWORDS = _read()
_FIRST_OF_TWO = frozenset(form.split()[0] for form in _TABLE if " " in form)
