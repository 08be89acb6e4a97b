"""Shell patterns in the owner's rules: `*` is anything, any one of several suffices, case counts."""

import re
from fnmatch import translate
from typing import Annotated

import msgspec

Patterns = Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]


def compiled(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(translate(pattern) for pattern in patterns))
