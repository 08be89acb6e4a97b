"""Roles: who does what to whom. `Can I sue my employer?` is not `Can my employer sue me?`."""

import itertools
from typing import NamedTuple

from edgecache.decide.text import Word, vocabulary

_BE = vocabulary("is are was were am")
_AUXILIARIES = vocabulary("do does did can could will would shall should may might must has have had") | _BE
_SUBJECTS = vocabulary("i we you")
_DETERMINERS = vocabulary("my our your the a an his her their this that")
_NOT_VERBS = vocabulary("have has had to not need want get go able ever just also really") | _AUXILIARIES | _DETERMINERS
_PASSIVE = vocabulary("be been being get gets got getting")


class Roles(NamedTuple):
    """Stems. `subject`: empty for `I`, `we`, `you`; else the first word of the subject; None where there is none.

    `acts`: the words behind the subject. `passive`: whether it may be done to the subject. `objects`: a word and what
    follows it: empty for `me`, `boss` for `my boss`.
    """

    subject: str | None
    acts: frozenset[str]
    passive: bool
    objects: frozenset[tuple[str, str]]


def roles(words: tuple[Word, ...]) -> Roles:
    """The subject behind the first auxiliary, what stands behind it, and every object of a word."""
    objects = _objects(words)
    auxiliary = next((place for place, word in enumerate(words) if word.lower in _AUXILIARIES), len(words))
    after = tuple(itertools.dropwhile(lambda word: word.lower in _DETERMINERS, words[auxiliary + 1 :]))
    if not after:
        return Roles(None, frozenset(), False, objects)
    subject = "" if after[0].lower in _SUBJECTS else after[0].stem
    acts = frozenset(word.stem for word in after[1:] if word.lower not in _NOT_VERBS)
    passive = words[auxiliary].lower in _BE or any(word.lower in _PASSIVE for word in after)
    return Roles(subject, acts, passive, objects)


def _objects(words: tuple[Word, ...]) -> frozenset[tuple[str, str]]:
    found = set()
    for place in range(1, len(words)):
        before, word = words[place - 1], words[place]
        if word.lower == "me":
            found.add((before.stem, ""))
        elif word.lower in _DETERMINERS and place + 1 < len(words):
            found.add((before.stem, words[place + 1].stem))
    return frozenset(found)


def reversed_roles(one: Roles, other: Roles) -> tuple[str, str] | None:
    """What stands where the other text has `I` or `me`, and stands elsewhere in that text; None where nothing does."""
    there = _subjects(one, other) or _objects_differ(one, other)
    return there or _turned(_subjects(other, one) or _objects_differ(other, one))


def _turned(pair: tuple[str, str] | None) -> tuple[str, str] | None:
    return (pair[1], pair[0]) if pair else None


def _subjects(mine: Roles, theirs: Roles) -> tuple[str, str] | None:
    """`Can I close my bank account`, `Can my bank close my account`: a noun behind the act, and before it."""
    if mine.subject != "" or not theirs.subject or theirs.passive:
        return None
    acts = (act for act, noun in mine.objects if noun == theirs.subject and act in theirs.acts)
    act = min(acts, default=None)
    return (f"i {act}", f"{theirs.subject} {act}") if act else None


def _objects_differ(mine: Roles, theirs: Roles) -> tuple[str, str] | None:
    """`evict me`, `evict my landlord`: the noun stands elsewhere in the text with `me`."""
    acts = (
        (f"{act} me", f"{act} {noun}")
        for act, noun in theirs.objects
        if noun and (act, "") in mine.objects and (noun == mine.subject or noun in mine.acts)
    )
    return min(acts, default=None)
