"""What each dialect's codec does. One module-level instance each; `dialects.py` lists them."""

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from edgecache.core.canonical import Question
from edgecache.core.entry import Framing
from edgecache.core.generation import Prompt
from edgecache.core.messages import Conversation
from edgecache.core.reply import Delta, Reply, Usage
from edgecache.errors import RequestError


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One request: `body` as it came, `fields` as they were read, and what they ask. `stream`, `include_usage` and
    `echo` are about the response being sent, not about the answer: `echo` are fields that are no identity but stand in
    the answer as the request had them. `conversation` is None where it cannot be said in the words of no dialect.
    `users` are whom it is made for. `bound`: only what its own dialect's provider answered may answer it, as its client
    may go on with it there.
    """

    dialect: str
    body: bytes
    fields: Any
    question: Question
    stream: bool = False
    include_usage: bool = True
    echo: Any = None
    conversation: Conversation | None = None
    users: tuple[str, ...] = ()
    bound: bool = False

    @property
    def model(self) -> str:
        return self.question.model


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What decides whether a whole answer may be stored, and found by other words. `why_not_stored` is fit for a
    header, None when it may be; `finished` says that it came to its end without an error of the provider, so that it
    may be told in another framing or dialect.
    """

    why_not_stored: str | None
    finished: bool = True
    tool_calls: bool = False
    usage: Usage = Usage()


UNREADABLE = Summary(why_not_stored="no end, or unreadable", finished=False)


class Untellable(Exception):
    """An answer says what the neutral words cannot."""


UNTELLABLE = (Untellable, KeyError, TypeError, AttributeError, ValueError, RecursionError)
"""What telling an answer in other words may raise, whatever a provider sent."""


class StreamReader(Protocol):
    """Reads one stream of events."""

    def feed(self, event: bytes) -> Sequence[Delta]:
        """
        Raises:
            Untellable: what came has no counterpart, or is broken.
        """


class StreamWriter(Protocol):
    """Writes one stream of events."""

    def feed(self, delta: Delta) -> bytes:
        """Whole events, maybe none."""


class Hider(Protocol):
    def __call__(self, event: bytes) -> bytes:
        """The event as this client gets it; empty for none."""


class Dialect(Protocol):
    """`name` is stored with entries (`openai.chat`); `suffix` ends the paths at which it is spoken; `prefix` begins
    the ids of answers that are made here.
    """

    name: str
    suffix: str
    prefix: str

    def read(self, body: bytes, path: str) -> Request:
        """Read a request. What only a provider can judge is not refused, but marked as not to be cached.

        Raises:
            BadRequest: not JSON at all; the message says what to change.
        """

    def prompt(self, request: Request) -> Prompt:
        """For the local model. Here we are the provider, so what it would refuse is refused.

        Raises:
            BadRequest: naming the field.
        """

    def asking(self, request: Request) -> bytes:
        """The body that is sent for an answer that may be stored: with usage asked for on a stream. Every other value
        keeps its bytes.
        """

    def write_request(self, conversation: Conversation, model: str, *, stream: bool) -> bytes:
        """
        Raises:
            Untranslatable: naming what has no counterpart.
        """

    def summarise(self, framing: Framing, body: bytes) -> Summary:
        """Read a whole answer; UNREADABLE for one that cannot be read or was cut. A long one takes milliseconds, which
        callers spend in a thread.
        """

    def render(self, framing: Framing, body: bytes, request: Request) -> bytes:
        """A whole answer of this dialect, that came in `framing`, as this client wants it. The same framing keeps the
        provider's bytes but for what must differ.
        """

    def hider(self, request: Request) -> Hider | None:
        """For an answer on its way as a stream: what this client did not ask for. None where every byte is for it."""

    def reply(self, framing: Framing, body: bytes) -> Reply:
        """
        Raises:
            Untellable
        """

    def tell(self, reply: Reply, request: Request) -> bytes:
        """A whole answer in this dialect, as one body or one stream as the request says.

        Raises:
            Untellable: this dialect cannot say it.
        """

    def reader(self) -> StreamReader: ...

    def writer(self, request: Request) -> StreamWriter: ...

    def error(self, error: RequestError) -> bytes:
        """The body of an error response, as the SDKs of this dialect read it."""

    def broken(self, error: RequestError) -> bytes:
        """The event that tells of an error in mid-stream."""
