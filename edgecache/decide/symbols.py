"""What the embedding model has no word for: emoji, signs, letters of other scripts, and words too long for its
vocabulary. It reads all of them as one unknown piece, so `What is 🍎?` and `What is 🍌?` have the same vector.
"""

import re
import unicodedata

_SIGNS = frozenset({"Sm", "So", "Sk", "Lo", "Lm"})
_CASED = frozenset({"Lu", "Ll", "Lt"})
_MARKS = frozenset("*^")
_QUOTING = frozenset("`´¨")
_LONG = re.compile(r"\S{101,}")
"""The tokenizer knows no word over 100 characters."""


def symbols(normalised: str) -> str:
    """All of them in their order; what two texts with the same answer have in common."""
    signs = "".join(c for c in normalised if _is_symbol(c))
    return " ".join([signs, *_LONG.findall(normalised)]).strip()


def _is_symbol(c: str) -> bool:
    if c in _MARKS:
        return True
    category = unicodedata.category(c)
    if c.isascii():
        return category == "Sm"
    if category in _CASED:
        return not unicodedata.name(c, "").startswith("LATIN")
    return category in _SIGNS and c not in _QUOTING
