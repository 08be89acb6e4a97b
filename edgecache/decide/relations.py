"""Relations of direction, time and company: `to Mexico` / `from Mexico`, `during the exam` / `after the exam`."""

from edgecache.decide.text import Word, vocabulary

_CLASSES = {
    "to": "to into onto toward towards",
    "from": "from",
    "before": "before until till",
    "after": "after since",
    "during": "during while whilst throughout",
    "with": "with alongside",
    "at": "on at upon",
    "for": "for",
    "against": "against",
}
_CLASS_OF = {word: name for name, forms in _CLASSES.items() for word in forms.split()}
# What may not stand for the other. The rest often may: `talk to` / `talk with`, `buy from` / `buy at`, `recover from` /
# `recover after`.
_OPPOSED = {
    "to": ("from",),
    "from": ("to",),
    "for": ("against",),
    "against": ("for",),
    "before": ("after", "during", "with", "at"),
    "after": ("before", "during", "with", "at"),
    "during": ("before", "after", "with"),
    "with": ("before", "after", "during"),
    "at": ("before", "after"),
}
_SKIPPED = vocabulary("a an the my your our his her its their this that these those some any")
Relation = tuple[str, str]
"""The class of the preposition, and the stem of the next word that is neither an article nor its like."""


def relations(words: tuple[Word, ...]) -> frozenset[Relation]:
    """Every preposition of these classes with the word it belongs to."""
    found = set()
    for place, word in enumerate(words):
        relation = _CLASS_OF.get(word.lower)
        if relation is None:
            continue
        after = next((later.stem for later in words[place + 1 :] if later.lower not in _SKIPPED), "")
        if after and after != "each":  # `compare to each other` is `differ from each other`
            found.add((relation, after))
    return frozenset(found)


def opposed(one: frozenset[Relation], other: frozenset[Relation]) -> tuple[str, str] | None:
    """Two relations of one word that exclude each other, neither of them in both texts; None where there are none."""
    pairs = (
        (f"{mine} {word}", f"{theirs} {word}")
        for mine, word in one - other
        for theirs in _OPPOSED[mine]
        if (theirs, word) in other and (theirs, word) not in one
    )
    return min(pairs, default=None)
