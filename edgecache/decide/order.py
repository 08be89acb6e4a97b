"""Order: `dollars to rupees` is not `rupees to dollars`, `Is A better than B` not `Is B better than A`.

And one word put for another behind a preposition, which is how names look where nothing is capitalised.
"""

from collections import Counter

from edgecache.decide.text import Word, stem, vocabulary

_PIVOTS = vocabulary(
    "than to from into onto over before after by of in at near on for with without against under above below through"
)
_FUNCTION = vocabulary(
    "a an the is are was were be been being am do does did done have has had can could will would shall should"
    " may might must i you he she it we they me him them my your his its our their this that these those there and"
    " or but not so as about what who whom which when where why how if then any some more most very really just"
    " also too"
)
_SYMMETRIC = frozenset(
    map(stem, vocabulary("between difference differences differ similarities similar vs versus compare"))
)
_MAX_WORDS = 64
Stems = tuple[str, ...]


def content(words: tuple[Word, ...]) -> Stems:
    """Stems of the words that carry meaning, and the prepositions as they are, in order; at most 64."""
    kept = (word.lower if word.lower in _PIVOTS else word.stem for word in words if word.lower not in _FUNCTION)
    return tuple(kept)[:_MAX_WORDS]


def swapped(one: Stems, other: Stems) -> tuple[str, str] | None:
    """Two words that have changed places around a third that both texts share; None where none have.

    `Difference between A and B` may be asked in either order. Where the texts differ in other words too, only
    prepositions count, because a passive turns everything else round.
    """
    shared = set(one) & set(other)
    if one == other or not _SYMMETRIC.isdisjoint((*one, *other)):
        return None
    if _words_of(one) != _words_of(other):
        shared &= _PIVOTS
    for pivot in sorted(shared):
        turned = _around(one, pivot) & {(right, left) for left, right in _around(other, pivot)}
        if turned:
            return min(turned)
    return None


def _words_of(stems: Stems) -> Counter[str]:
    return Counter(word for word in stems if word not in _PIVOTS)


def _around(stems: Stems, pivot: str) -> set[tuple[str, str]]:
    """Pairs of a word before and the next word after `pivot`: any before a preposition, the last one before another."""
    pairs: set[tuple[str, str]] = set()
    for place in (place for place, word in enumerate(stems) if word == pivot):
        after = next((word for word in stems[place + 1 :] if word not in _PIVOTS), None)
        before = [word for word in stems[:place] if word not in _PIVOTS]
        if after:
            pairs.update((word, after) for word in (before if pivot in _PIVOTS else before[-1:]) if word != after)
    return pairs


def substituted(one: Stems, other: Stems) -> tuple[str, str] | None:
    """The only word that differs, where it follows the same preposition: `hotels in A`, `hotels in B`; else None.

    Numbers are left to `numbers`, which knows two spellings of one."""
    mine, theirs = _only(one, other), _only(other, one)
    if mine is None or theirs is None or not mine or not theirs:
        return None
    left, right, before = one[mine], other[theirs], one[mine - 1]
    behind_one = before in _PIVOTS and before == other[theirs - 1]
    return (left, right) if behind_one and left.isalpha() and right.isalpha() else None


def _only(one: Stems, other: Stems) -> int | None:
    """The place of the only word of `one` that is not in `other`."""
    places = [place for place, word in enumerate(one) if word not in other]
    return places[0] if len(places) == 1 else None
