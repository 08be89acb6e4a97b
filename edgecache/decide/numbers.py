"""Numbers: digits, number words, ordinals, scales and Roman numerals, each as one canonical string.

`1,000`, `1000`, `1k` and `one thousand` are "1000"; `10th` and `ten` are "10". Digits after the point stay as written,
because `3.1` and `3.10` are two versions.
"""

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple

from edgecache.decide.text import vocabulary

_TOKEN = re.compile(r"(?:(?<![\w.)\]])-)?\d+(?:,\d{2,3}(?!\d))*(?:\.\d+)*|(?<!\w)\.\d+|[^\W\d_]+")
_MAX_DIGITS = 40
_ROMAN = {"II": "2", "III": "3", "IV": "4", "VI": "6", "VII": "7", "VIII": "8", "IX": "9", "XI": "11", "XII": "12"}
_SCALES = {"k": 10**3, "dozen": 12, "thousand": 10**3, "lakh": 10**5, "lakhs": 10**5, "million": 10**6, "mn": 10**6}
_SCALES |= {"crore": 10**7, "crores": 10**7, "billion": 10**9, "bn": 10**9, "trillion": 10**12}
_WHOLE = {"twice": "2", "thrice": "3", "half": "half", "halves": "half", "quarter": "quarter"}
_DETERMINERS = vocabulary("the my your his her its our their")


def _count(names: str, start: int, step: int = 1) -> dict[str, int]:
    return {name: start + step * place for place, name in enumerate(names.split())}


_UNDER_TEN = _count("one two three four five six seven eight nine", 1)
_TEENS = _count("ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen", 10)
_TENS = _count("twenty thirty forty fifty sixty seventy eighty ninety", 20, 10)
_TENS |= _count("twenties thirties forties fifties sixties seventies eighties nineties", 20, 10)
_ORDINALS = _count("third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth", 3) | {"first": 1}
_CARDINALS = {"zero": 0} | _UNDER_TEN | _TEENS | _TENS


class Numbers(NamedTuple):
    """`said`: what must stand in the other text. `hinted`: what may be meant as a number (`one`, `a`, `second`)."""

    said: tuple[str, ...]
    hinted: frozenset[str]


def numbers(normalised: str) -> Numbers:
    """Every number in the order of the text."""
    tokens = _TOKEN.findall(normalised)
    return Numbers(tuple(_said(tokens)), frozenset(_hinted(tokens)))


def _hinted(tokens: list[str]) -> Iterator[str]:
    for token in tokens:
        if token in ("one", "One", "single", "a", "A", "an"):
            yield "1"
        elif token in ("second", "couple", "double"):
            yield "2"


def _said(tokens: list[str]) -> Iterator[str]:
    place = 0
    while place < len(tokens):
        value, taken = _phrase(tokens, place)
        if value is not None:
            yield value
        place += max(taken, 1)


def _phrase(tokens: list[str], place: int) -> tuple[str | None, int]:
    """The number that begins at `place`, and how many tokens it took."""
    token, lower = tokens[place], tokens[place].lower()
    if token[-1].isdigit():
        return _literal(tokens, place)
    if token in _ROMAN:
        return _ROMAN[token], 1
    if lower in _WHOLE:
        return _WHOLE[lower], 1
    if lower in _ORDINALS:
        return str(_ORDINALS[lower]), 1
    if lower == "second" and place and tokens[place - 1].lower() in _DETERMINERS:
        return "2", 1
    return _spelled(tokens, place)


def _literal(tokens: list[str], place: int) -> tuple[str, int]:
    digits = tokens[place].replace(",", "")
    scale = _SCALES.get(tokens[place + 1].lower()) if place + 1 < len(tokens) else None
    if scale and len(digits) <= _MAX_DIGITS and digits.count(".") <= 1:
        return _plain(Decimal(digits) * scale), 2
    whole, point, rest = digits.partition(".")
    sign = "-" if whole.startswith("-") else ""
    return f"{sign}{whole.lstrip('-').lstrip('0') or '0'}{point}{rest}", 1


def _plain(value: Decimal) -> str:
    return str(int(value)) if value == value.to_integral_value() else str(value.normalize())


def _spelled(tokens: list[str], place: int) -> tuple[str | None, int]:
    """`two hundred and fifty thousand`. A bare `one` is no number: `which one`, `one can`."""
    total = current = taken = 0
    last = ""
    for token in tokens[place : place + 12]:
        word = token.lower()
        if word == "and" and last in ("hundred", *_SCALES):
            taken += 1
            continue
        if not _continues(word, last):
            break
        total, current = _add(word, total, current)
        taken, last = taken + 1, word
    if not last or (last == "one" and total + current == 1):
        return None, 1
    return str(total + current), taken


def _continues(word: str, last: str) -> bool:
    if word == "hundred" or (word in _SCALES and word != "k"):
        return True
    if word not in _CARDINALS:
        return False
    return not last or last == "hundred" or last in _SCALES or (last in _TENS and word in _UNDER_TEN)


def _add(word: str, total: int, current: int) -> tuple[int, int]:
    if word == "hundred":
        return total, (current or 1) * 100
    if word in _SCALES:
        return total + (current or 1) * _SCALES[word], 0
    return total, current + _CARDINALS[word]
