"""Tense of the first auxiliary: `What is the capital?` / `What was the capital?`."""

from edgecache.decide.text import Word, vocabulary

_TENSES = {
    **dict.fromkeys(("is", "are", "am"), ("be", "now")),
    **dict.fromkeys(("was", "were"), ("be", "then")),
    **dict.fromkeys(("do", "does"), ("do", "now")),
    "did": ("do", "then"),
    **dict.fromkeys(("has", "have"), ("have", "now")),
    "had": ("have", "then"),
}
_TIMELESS = vocabulary("best worst most least first last you your ever")
_DETERMINERS = vocabulary("the a an my our his her their its this that there it")
Tense = tuple[str, str]
"""The verb, and whether it is now or then; empty where the text has none, or where it says nothing."""


def tense(words: tuple[Word, ...]) -> Tense:
    """Of the first auxiliary that has a tense.

    It says nothing where a year, a superlative or `you` settles the time anyway (`the best film of 2016` is and was the
    same), nor before a bare name (`Who is Napoleon?`).
    """
    place, verb, time = next(
        ((place, *_TENSES[word.lower]) for place, word in enumerate(words) if word.lower in _TENSES), (0, "", "")
    )
    after = words[place + 1].lower if place + 1 < len(words) else ""
    settled = any(word.lower in _TIMELESS or word.lower[0].isdecimal() or word.lower.endswith("est") for word in words)
    return ("", "") if settled or (verb == "be" and after not in _DETERMINERS) else (verb, time)


def differ(one: Tense, other: Tense) -> bool:
    """Only of the same verb: `who is the author` is `who wrote`, and `how do I` is `how can I`."""
    return one[0] == other[0] and one[1] != other[1]
