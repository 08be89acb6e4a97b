"""Quantifiers: `Are all snakes venomous?` is not `Are most snakes venomous?`."""

from collections.abc import Iterator

from edgecache.decide.text import Word

_CLASSES = {
    **dict.fromkeys(("all", "every", "each", "everyone", "everybody"), "all"),
    **dict.fromkeys(("only", "solely", "exclusively"), "only"),
    **{"most": "most", "some": "some", "few": "few"},
}
_HARMLESS = frozenset({("the", "most"), ("there", "some")})


def quantifiers(words: tuple[Word, ...], asked: str) -> frozenset[str]:
    """The classes of quantifiers of a text; except for `only`, of a yes-no question. `asked` is the kind of question.

    `What are some good books?` is `What are the good books?` for most who ask, and so is `Why do some people lie?`.
    """
    found = frozenset(_found(words))
    return found if asked == "whether" else found & {"only"}


def _found(words: tuple[Word, ...]) -> Iterator[str]:
    """`The most` makes a superlative, `of all time` adds to one; `there some` and `each other` say nothing."""
    for place, word in enumerate(words):
        quantifier = _CLASSES.get(word.lower)
        before = words[place - 1].lower if place else ""
        after = words[place + 1].lower if place + 1 < len(words) else ""
        if quantifier and (before, quantifier) not in _HARMLESS and after not in ("time", "times", "other"):
            yield quantifier
