"""Language: which script a text is in, and whether a model trained on English can judge it."""

import re
import unicodedata
from collections import Counter

from edgecache.decide.text import MAX_CHARACTERS, normalise, vocabulary, words

_ENGLISH = vocabulary(
    "the a an of to in is are was were be what how why who when where which do does did can could should would"
    " will i you he she it we they my your his her their this that these those and or but not for with from at by"
    " as about if there have has had get me tell explain between than any some"
)
_OTHERS = {
    "fr": "le la les des du un une est et que qui dans pour sur avec pas je tu nous vous quel quelle quels quelles"
    " comment pourquoi où combien sont ce cette mon ma au aux",
    "es": "el la los las de del un una es y que qué en por para con no cómo como cuál cuales dónde donde cuándo cuándo"
    " quién mi tu su se al son cuántos cuánto cuántas está hay puedo",
    "de": "der die das den dem des ein eine einen und ist sind nicht ich du wir ihr mit für auf wie warum wer wann wo"
    " welche welcher welches kann zu von im hat wird gibt",
    "it": "il lo la gli le di del della un una è e che in per con non come perché chi quando dove quale quali sono mi",
    "pt": "o a os as de do da dos das um uma é e que em por para com não como qual quais onde quando quem porque são"
    " meu minha posso",
    "nl": "de het een en is zijn niet ik je wij met voor op hoe waarom wie wanneer waar welke kan van in dat wat",
}
_OTHER_WORDS = {language: frozenset(text.split()) for language, text in _OTHERS.items()}
_MIN_EVIDENCE = 2
_ASCII_LETTER = re.compile("[A-Za-z]")


def script(normalised: str) -> str:
    """The script of most letters, as its Unicode names begin (`LATIN`, `CJK`, `HIRAGANA`); empty without letters."""
    if normalised.isascii():
        return "LATIN" if _ASCII_LETTER.search(normalised) else ""
    counts = Counter(_script_of(letter) for letter in normalised if letter.isalpha())
    return counts.most_common(1)[0][0] if counts else ""


def _script_of(letter: str) -> str:
    return "LATIN" if letter.isascii() else re.split("[ -]", unicodedata.name(letter, "UNKNOWN"), maxsplit=1)[0]


def language(lowers: frozenset[str]) -> str:
    """`en` unless more small words of another language than English ones stand among the words of a text."""
    scores = {name: len(lowers & small) for name, small in _OTHER_WORDS.items()}
    best = max(scores, key=lambda name: scores[name])
    return best if scores[best] >= max(_MIN_EVIDENCE, len(lowers & _ENGLISH) + 1) else "en"


def embeddable(text: str) -> bool:
    """Whether the built-in English model can be asked about this text; where False, only exact hits are right."""
    if len(text) > MAX_CHARACTERS:
        return False
    plain = normalise(text)
    return script(plain) == "LATIN" and language(frozenset(word.lower for word in words(plain))) == "en"
