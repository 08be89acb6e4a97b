"""Code and quoted strings: what has to be the same, character by character."""

import re
from typing import NamedTuple

_CODE = re.compile(
    r"(?<!\S)--?[A-Za-z][\w-]*"  # --force, -v
    r"|(?<![\w.])\.[A-Za-z]\w*"  # .py
    r"|(?<![\w/\\])[~.]{0,2}[/\\]\w[\w./\\-]*"  # /etc/hosts
    r"|\w+(?:(?:::|->|[./\\])+\w+)+"  # a.b, a/b, a::b
    r"|\b[A-Za-z](?:\+\+|#)"  # C++
    r"|\w+"  # a_b
)
_MARKS = frozenset("-_./\\:+#>")
_QUOTED = re.compile(r'"([^"\n]+)"|`([^`\n]+)`|(?<!\w)\'([^\'\n]+)\'(?!\w)')
_LETTERS = re.compile(r"[^\W_]+")
_JOINTS = re.compile(r"[^\W_]+")


class Code(NamedTuple):
    """`sure`: tokens that can only be code. `maybe`: `a/b`, which is a path or a choice between two words."""

    sure: frozenset[str]
    maybe: frozenset[str]


def code(normalised: str) -> Code:
    """Identifiers, paths, flags, file extensions; case counts in flags only."""
    tokens = [token if token[0] == "-" else token.lower() for token in _CODE.findall(normalised)]
    maybe = {token for token in tokens if _is_choice(token)}
    return Code(frozenset(token for token in tokens if token not in maybe and _is_code(token)), frozenset(maybe))


def _is_choice(token: str) -> bool:
    left, slash, right = token.partition("/")
    return bool(slash) and left.isalpha() and right.isalpha()


def _is_code(token: str) -> bool:
    if len(token) < 2 or _MARKS.isdisjoint(token):
        return False
    parts = _JOINTS.findall(token)
    return bool(parts) and not any(part.isdecimal() for part in parts)


def quoted(normalised: str) -> tuple[str, ...]:
    """What stands in quotation marks, as `plain_words`."""
    found = (next(filter(None, groups), "") for groups in _QUOTED.findall(normalised))
    return tuple(text for text in map(plain_words, found) if text.strip())


def plain_words(normalised: str) -> str:
    """Words only, in lower case, each between single spaces: ` to be `."""
    return f" {' '.join(_LETTERS.findall(normalised.lower()))} "
