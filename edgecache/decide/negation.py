"""Negation: how often a text says no."""

from edgecache.decide.text import Word, vocabulary

_NEGATIONS = vocabulary(
    "not no never without none nothing nobody nowhere neither nor hardly barely scarcely except excluding minus"
    " dont doesnt didnt isnt arent wasnt werent cant couldnt wont wouldnt shouldnt hasnt havent hadnt aint mustnt"
    " nt non lack lacks lacking instead unless"
)


def negations(words: tuple[Word, ...]) -> tuple[str, ...]:
    """The negating words in order. `or not` at the end of a yes-no question adds nothing and is left out."""
    found = []
    for place, word in enumerate(words):
        if word.lower not in _NEGATIONS:
            continue
        before = words[place - 1].lower if place else ""
        after = words[place + 1].lower if place + 1 < len(words) else ""
        if word.lower == "not" and before in ("or", "why", "if"):
            continue
        if word.lower == "no" and (after == "of" or after[:1].isdigit()):
            continue  # the short form of "number"
        found.append(word.lower)
    return tuple(found)
