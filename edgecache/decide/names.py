"""Names: of people, places, products, languages. Case tells them apart, and a table does where there is no case."""

from collections.abc import Iterator
from typing import NamedTuple

from edgecache.decide.names_table import FIRST_NAMES, NAMES
from edgecache.decide.text import Word, stem, vocabulary

_DIGITS = "0123456789"
_LONG = 4
_TITLE = 3
_LONGEST_FORM = 4
_NOT_NAMES = vocabulary(
    "i ok okay am pm ad bc bce ce mr mrs ms dr sir jan feb mar apr jun jul aug sep sept oct nov dec january"
    " february march april may june july august september october november december monday tuesday wednesday"
    " thursday friday saturday sunday ii iii iv vi vii viii ix xi xii no not and or the a an of in on at to for is"
    " are was were what who why how when where which do does did can could should would will my your if by vs etc"
    " faq please tv pc internet god rs inr usd eur gbp kg km cm mm mb gb tb kb lbs ft ghz mhz"
)


class Names(NamedTuple):
    """`said`: canonical names that must stand in the other text. `words`: stems of all words, where they may stand.
    `cased`: whether any name was told by its capitals."""

    said: frozenset[str]
    words: frozenset[str]
    cased: bool


def names(words: tuple[Word, ...]) -> Names:
    """Names of a text: from the table whatever their case, and by capitals where capitals mean something."""
    known, covered = _known(words)
    by_case = frozenset(_named_by_case(words)) if _case_tells(words) else frozenset()
    capitals = {_key(words[place]) for place in by_case - covered if not _first_name_before_surname(words, place)}
    hinted = {_TABLE[word.lower] for word in words if _pronoun(word)}
    return Names(known | capitals, known | hinted | frozenset(map(_key, words)), bool(by_case))


def _named_by_case(words: tuple[Word, ...]) -> Iterator[int]:
    for place, word in enumerate(words):
        if word.lower not in _NOT_NAMES and _looks_like_name(word):
            yield place


def missing(one: Names, other: Names) -> frozenset[str]:
    """Names of `one` that do not stand in `other`, not even in lower case."""
    return one.said - other.words


def _looks_like_name(word: Word) -> bool:
    """A capital inside a sentence, or two capitals anywhere: `iPhone`, `NASA`."""
    capitals = sum(letter.isupper() for letter in word.text)
    return capitals >= 2 or (capitals == 1 and not word.first)


def _key(word: Word) -> str:
    """The stem of the letters; digits are compared as numbers, so `iPhone6` is `iPhone 6`."""
    return stem(word.lower.rstrip(_DIGITS)) if word.lower[-1] in _DIGITS else word.stem


def _case_tells(words: tuple[Word, ...]) -> bool:
    """False in Title Case and where ALL IS SHOUTED: there a capital says nothing."""
    inner = [word.text for word in words if not word.first and word.text[0].isalpha() and len(word.text) >= _LONG]
    shouted = not any(letter.islower() for word in words for letter in word.text)
    return not shouted and (len(inner) < _TITLE or not all(text[0].isupper() for text in inner))


def _first_name_before_surname(words: tuple[Word, ...], place: int) -> bool:
    if words[place].lower not in _FIRST_NAMES or place + 1 == len(words):
        return False
    after = words[place + 1]
    return after.text[0].isupper() and after.lower not in _FIRST_NAMES and not after.first


def _known(words: tuple[Word, ...]) -> tuple[frozenset[str], frozenset[int]]:
    """Canonical names from the table, the longest form first, and the places of the words they cover."""
    found: set[str] = set()
    covered: set[int] = set()
    place = 0
    while place < len(words):
        name, length = _form_at(words, place)
        if name:
            found.add(name)
            covered.update(range(place, place + length))
        place += length
    return frozenset(found), frozenset(covered)


def _form_at(words: tuple[Word, ...], place: int) -> tuple[str | None, int]:
    """The canonical name whose form begins at `place`, and its length in words; `python3` is `python`."""
    for length in range(_LONGEST_FORM if words[place].lower in _FIRST_OF_MANY else 1, 0, -1):
        form = " ".join([word.lower for word in words[place : place + length]])
        name = _TABLE.get(form) or _TABLE.get(form.rstrip(_DIGITS))
        if name and not _pronoun(words[place]):
            return name, length
    return None, 1


def _pronoun(word: Word) -> bool:
    return word.text in ("us", "un", "Us", "Un")


def _read() -> dict[str, str]:
    table: dict[str, str] = {}
    for line in NAMES.splitlines():
        canonical, _, forms = line.partition(":")
        if canonical and not canonical.startswith("#"):
            table |= dict.fromkeys([canonical, *(form.strip() for form in forms.split(",") if form.strip())], canonical)
    return table


_TABLE = _read()
_FIRST_OF_MANY = frozenset(form.split()[0] for form in _TABLE if " " in form)
_FIRST_NAMES = frozenset(FIRST_NAMES.split())
