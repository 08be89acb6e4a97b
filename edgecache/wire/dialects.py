"""All dialects that are read here, by path and by name."""

from collections.abc import Mapping
from typing import Final

from edgecache.errors import RequestError
from edgecache.wire import embeddings
from edgecache.wire.chat import CHAT
from edgecache.wire.chat.request import DEPLOYMENTS
from edgecache.wire.completions import COMPLETIONS
from edgecache.wire.dialect import Dialect
from edgecache.wire.messages import MESSAGES
from edgecache.wire.responses import RESPONSES

ALL: Final[tuple[Dialect, ...]] = (CHAT, RESPONSES, MESSAGES, COMPLETIONS)
BY_NAME: Final[Mapping[str, Dialect]] = {dialect.name: dialect for dialect in ALL}
_THREADS = "/threads/"
_LONGEST_FIRST = sorted(ALL, key=lambda dialect: -len(dialect.suffix))


def of_path(path: str) -> Dialect | None:
    """Which dialect is spoken at this path; None for what is passed through. OpenAI's threads have messages too."""
    if _THREADS in path or is_beside(path):
        return None
    return next((dialect for dialect in _LONGEST_FIRST if path.endswith(dialect.suffix)), None)


def is_beside(path: str) -> bool:
    """Whether something else is done there with what an Azure deployment says (`extensions/chat/completions`)."""
    _, found, rest = path.partition(DEPLOYMENTS)
    tail = "/" + rest.partition("/")[2]
    return bool(found) and tail not in (*(dialect.suffix for dialect in ALL), embeddings.SUFFIX)


def place(path: str, dialect: Dialect) -> str:
    """Where the dialect's paths begin: what a path says beside which dialect is spoken."""
    return path.removesuffix(dialect.suffix)


def error_body(error: RequestError, path: str) -> bytes:
    """As the SDK reads it that asks at `path`: Anthropic's, or else OpenAI's."""
    return (MESSAGES if is_anthropic(path) else CHAT).error(error)


def is_anthropic(path: str) -> bool:
    """Whether it is one of Anthropic's, rather than OpenAI's."""
    return MESSAGES.suffix in path and _THREADS not in path
