"""Dates: months, weekdays and relative days. Days and years are numbers, see `numbers`."""

import re

from edgecache.decide.text import Word, vocabulary

_ISO_DATE = re.compile(r"\b(\d{4})-(\d{2})-(\d{2})\b")
_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_WEEKDAYS = vocabulary("monday tuesday wednesday thursday friday saturday sunday")
_SHORT = {name[:3]: name for name in _MONTHS} | {"sept": "september"}
_SHORT_DAYS = {name[:3]: name for name in _WEEKDAYS} | {"tues": "tuesday", "thurs": "thursday"}
_RELATIVE = vocabulary("today yesterday tomorrow tonight")
_WHICH = {"last": "last", "previous": "last", "next": "next", "upcoming": "next", "coming": "next"}
_PERIODS = vocabulary("day week weekend month quarter year decade century season")


def split_dates(normalised: str) -> str:
    """`2019-01-02` as `2 January 2019`, so that both are read by the same rules."""

    def spoken(found: re.Match[str]) -> str:
        year, month, day = found.groups()
        return f"{int(day)} {_MONTHS[int(month) - 1].title()} {year}" if 1 <= int(month) <= 12 else found.group()

    return _ISO_DATE.sub(spoken, normalised)


def dates(words: tuple[Word, ...]) -> frozenset[str]:
    """Canonical names of months and days, and `last week` and its like."""
    found = set()
    for place, word in enumerate(words):
        before = words[place - 1].lower if place else ""
        after = words[place + 1].lower if place + 1 < len(words) else ""
        name = _named(word, before, after)
        if name:
            found.add(name)
        elif word.lower in _PERIODS and before in _WHICH:
            found.add(f"{_WHICH[before]} {word.lower}")
    return frozenset(found)


def _named(word: Word, before: str, after: str) -> str | None:
    lower = word.lower
    if lower in _RELATIVE:
        return lower
    singular = lower.removesuffix("s")
    if singular in _WEEKDAYS:
        return singular
    if lower in _MONTHS and lower not in ("may", "march"):
        return lower
    if lower in ("may", "march") or lower in _SHORT:
        return _SHORT[lower[:3]] if _dated(word, before, after) else None
    return _SHORT_DAYS.get(lower) if before[:1].isdigit() or after[:1].isdigit() else None


def _dated(word: Word, before: str, after: str) -> bool:
    """`May 2019`, `2 mar` and `in March` are dates, `may I` is none."""
    beside_digit = before[:1].isdigit() or after[:1].isdigit()
    return beside_digit or (word.text[0].isupper() and not word.first and before in _WHICH | _BEFORE_MONTH)


_BEFORE_MONTH = dict.fromkeys(("in", "of", "since", "until", "till", "by", "during", "and", "to", "from", "before"), "")
