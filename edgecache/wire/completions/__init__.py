"""OpenAI `POST /v1/completions`, which continues a text instead of a conversation. Source: the OpenAI API description,
schemas `CreateCompletionRequest` and `CreateCompletionResponse`.
"""

from typing import Final

from edgecache.wire.completions.codec import Completions
from edgecache.wire.dialect import Dialect

COMPLETIONS: Final[Dialect] = Completions()
