"""A text as the gate reads it: normalised once, then a list of words that know where they stand."""

import re
import unicodedata
from typing import NamedTuple

MAX_CHARACTERS = 4_000
"""Longer than the embedding model reads (256 tokens), so nothing longer is ever proposed; the gate refuses it."""

_PLAIN = str.maketrans(
    {"\u2018": "'", "\u2019": "'", "\u201b": "'", "\u201c": '"', "\u201d": '"', "\u2013": "-", "\u2014": " - "}
    | {"\u2212": "-", "\u2010": "-", "\u2011": "-", "\u2026": "...", "\u00ad": "", "\u200b": ""}
)
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
_INITIALS = re.compile(r"(?<![\w.])(?:[A-Za-z]\.){2,}(?!\w)|(?<![\w.])[A-Z]\.[A-Z]\b")
_SENTENCE_END = re.compile(r"[.!?:\n]")
_CONTRACTED = {"s": "", "re": "are", "ve": "have", "ll": "will", "d": "would", "m": "am"}
_IRREGULAR = {"won't": ("will", "not"), "shan't": ("shall", "not"), "can't": ("can", "not"), "cannot": ("can", "not")}


def vocabulary(text: str) -> frozenset[str]:
    """The words of a table that is written as one text."""
    return frozenset(text.split())


class Word(NamedTuple):
    """One word. `text` as written, `lower` and `stem` for comparing; `first` where it begins a sentence."""

    text: str
    lower: str
    stem: str
    first: bool


def normalise(text: str) -> str:
    """Compatibility forms, straight quotes, plain hyphens, `U.S.` as `US`; never raises, lone surrogates included."""
    plain = unicodedata.normalize("NFKC", text).translate(_PLAIN)
    return _INITIALS.sub(lambda found: found.group().replace(".", ""), plain)


def words(normalised: str) -> tuple[Word, ...]:
    """The words in order, contractions taken apart: `don't` is `do`, `not`; `Anna's` is `Anna`."""
    found: list[Word] = []
    end = 0
    for match in _WORD.finditer(normalised):
        first = not found or _SENTENCE_END.search(normalised, end, match.start()) is not None
        found += (word for word in _parts(match.group(), first) if word.text)
        end = match.end()
    return tuple(found)


def _parts(token: str, first: bool) -> list[Word]:
    lower = token.lower()
    if lower in _IRREGULAR:
        verb, negation = _IRREGULAR[lower]
        return [_word(verb, first), _word(negation, False)]
    if "'" not in token:
        return [_word(token, first)]
    head, _, tail = token.rpartition("'")
    if tail.lower() == "t" and lower.endswith("n't"):
        return [_word(head[:-1], first), _word("not", False)]
    if tail.lower() in _CONTRACTED:
        verb = _CONTRACTED[tail.lower()]
        return [_word(head, first), _word(verb, False)] if verb else [_word(head, first)]
    return [_word(token.replace("'", ""), first)]


def _word(text: str, first: bool) -> Word:
    lower = text.lower()
    return Word(text, lower, stem(lower), first)


def stem(word: str) -> str:
    """A light stem, so that `books`, `booked` and `booking` compare equal; not a word, only good for comparing."""
    for suffix, instead in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= 3:
            word = word[: -len(suffix)] + instead
            break
    word = word.removesuffix("e") if len(word) > 3 else word
    return word[:-1] if len(word) > 3 and word[-1] == word[-2] else word


_SUFFIXES = (("ies", "y"), ("ied", "y"), ("ing", ""), ("ed", ""), ("es", ""), ("ss", "ss"), ("s", ""), ("ly", ""))
