"""What is asked for: a person, a time, a place, a reason, a number, yes or no."""

from edgecache.decide.text import Word, vocabulary

_DIRECT = {"who": "who", "whom": "who", "whose": "who", "when": "when", "where": "where", "why": "why"}
_DEGREES = {"many": "number", "much": "number", "long": "duration", "old": "age", "far": "distance", "often": "rate"}
_DEGREES |= {"tall": "height", "high": "height", "big": "size", "large": "size", "heavy": "weight", "fast": "speed"}
_NOUNS = {"time": "when", "year": "when", "date": "when", "reason": "why", "reasons": "why", "person": "who"}
_PLACES = vocabulary("place places country countries city cities town state area region")
_NOUNS |= {"age": "age", "height": "height", "weight": "weight", "distance": "distance", "speed": "speed"}
_AUXILIARIES = vocabulary(
    "is are was were am do does did can could will would shall should may might must has have had"
)
_POLITE = frozenset({"can you", "could you", "would you", "will you", "do you"})
_OPEN = frozenset({"", "what"})
_SHARP = frozenset({"when", "where", "why"})
_NEAR = 5


def asked(words: tuple[Word, ...]) -> str:
    """The kind of the first question in the text; empty where none is asked in so many words."""
    for place, word in enumerate(words):
        following = [later.lower for later in words[place + 1 : place + 1 + _NEAR]]
        if word.lower in _DIRECT:
            return _DIRECT[word.lower]
        if word.lower == "how":
            return _how(following)
        if word.lower in ("what", "which"):
            return _what(following, words[place - 1].lower if place else "")
        if word.first and word.lower in _AUXILIARIES and " ".join([word.lower, *following[:1]]) not in _POLITE:
            return "whether"
    return ""


def _what(following: list[str], before: str) -> str:
    """`In which city` asks where; `which city` asks what."""
    if before in ("in", "at", "from", "to") and not _PLACES.isdisjoint(following[:1]):
        return "where"
    return next((_NOUNS[later] for later in following if later in _NOUNS), "what")


def _how(following: list[str]) -> str:
    if following[:1] == ["come"]:
        return "why"
    return _DEGREES.get(following[0], "how") if following else "how"


def compatible(one: str, other: str) -> bool:
    """Whether two kinds of question may have the same answer.

    `What` and requests stand for any question but a sharp one: `What is the way to X` is `How do I X`, but `What is X`
    is not `Where is X`.
    """
    kinds = {one, other}
    return one == other or bool(kinds & _OPEN and not kinds & _SHARP)
