"""What rooms need of each other. Rooms do not import each other; `app.py` gives each what it asks for here.

Every implementation of a port passes the same battery of tests. Foreign errors are translated inside the room:
what leaves a port's methods is in `edgecache.errors`.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from enum import StrEnum
from typing import Protocol

import msgspec

from edgecache.core.entry import Entry, Scope
from edgecache.core.generation import Finished, Piece, Prompt
from edgecache.core.limits import Bound, Debt, Taken
from edgecache.core.prices import Spend
from edgecache.core.purges import Logged, PurgeRecord
from edgecache.core.reply import Usage


class Room(Protocol):
    """Constructing has no side effects, `open` does; `close` is safe twice and without `open`."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...


class Embedder(Room, Protocol):
    """Text -> unit vector. Batches concurrent calls; nothing runs on the event loop."""

    @property
    def identity(self) -> str:
        """Name and digest of what makes the vectors; vectors of different identities do not compare."""

    @property
    def dimensions(self) -> int: ...

    async def embed(self, text: str) -> bytes | None:
        """Unit vector, little-endian float32, `4 * dimensions` bytes; None where the model cannot read all of the
        text (too long): never a truncated embedding.

        Raises:
            EmbeddingUnavailable: the model is not loaded or its worker failed.
        """


class Neighbour(msgspec.Struct, frozen=True):
    """A candidate: the exact key of an entry, and the cosine of its vector with the question's."""

    key: bytes
    similarity: float


class Index(Room, Protocol):
    """Vectors by scope and partition. A replica that can be thrown away and rebuilt from the store."""

    async def add(self, scope: Scope, partition: bytes, key: bytes, vector: bytes) -> None:
        """Make `key` findable; replaces a vector already there. Found by every search that starts later."""

    def discard(self, scope: Scope, partition: bytes, key: bytes) -> None:
        """From this return on, `key` is in no result, not even of a search already running. Unknown keys are fine."""

    def holds(self, scope: Scope, partition: bytes) -> bool:
        """Whether a search there could find anything now."""

    async def search(self, scope: Scope, partition: bytes, vector: bytes, k: int) -> Sequence[Neighbour]:
        """The `k` nearest, most similar first."""


class Store(Room, Protocol):
    """Entries, as they survive a restart. All nodes that share it see one another's."""

    async def get(self, scope: Scope, key: bytes) -> Entry | None: ...

    async def find(self, key: bytes) -> Entry | None:
        """An entry by id, whatever its scope: for operators and the reaper, never to answer a request."""

    async def head(self, key: bytes) -> Entry | None:
        """As `find`, with an empty `body`."""

    async def put(self, entry: Entry) -> None:
        """Store or replace. Durable (as the store is configured to be) when it returns."""

    async def replace(self, old: Entry, new: Entry) -> bool:
        """Put `new` where `old` stands: False, and nothing is done, where another version does, or the same with other
        tags. Atomic.
        """

    async def compared(self, entries: Sequence[Entry], through: int) -> None:
        """These very versions were held against all purges by meaning up to sequence `through`."""

    async def delete(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """Forget these very versions, whatever their tags are by now; those that were there. Atomic for each."""

    def scan(self) -> AsyncIterator[Sequence[Entry]]:
        """All entries in batches, each with an empty `body`: for rebuilding the index and for the reaper."""

    async def count(self) -> int: ...


class Heard(msgspec.Struct, frozen=True):
    """What following the log brought: records, or none, which says that there are none. `sent` is when the read was
    sent whose reply this is, by `time.monotonic`: what was in the log at that moment is known here.
    """

    sent: float
    records: Sequence[Logged]


class Member(msgspec.Struct, frozen=True):
    """A node on the roll: the sequence it has applied, and the lease (seconds) on which it serves from cache."""

    applied: int
    lease: float


UNKNOWN = "?"
"""On the roll of a log that has just begun; waited for and struck as any other member."""


class Log(Room, Protocol):
    """The ordered, durable log of purges."""

    @property
    def identity(self) -> str:
        """Names this log; a log that lost its data is another one. Known after `open`."""

    @property
    def lease(self) -> float:
        """Seconds for which what was heard holds, from when the read was sent; infinite where no other node writes to
        this log. Known after `open`.
        """

    async def append(self, record: PurgeRecord) -> int:
        """Its sequence: dense, from 1. Durable when it returns, on a replica too where the log has any.

        Raises:
            StoreUnavailable: nothing is known about whether it was written.
        """

    async def read(self, after: int, limit: int = 1_000) -> Sequence[Logged]:
        """Records that follow sequence `after`, in order; empty when there are none."""

    def follow(self, after: int) -> AsyncIterator[Heard]:
        """Records that follow `after` as anyone appends them, for ever, and in between, several times a second, that
        there are none. Asking for the next says that this node has applied all before: others see it in `roll`.
        """

    async def roll(self) -> Mapping[str, Member]:
        """The nodes that follow this log, by name. In the first seconds of a log `UNKNOWN` stands for those that may
        still serve by the log before it, of which nobody knows any more.
        """

    async def strike(self, node: str, applied: int) -> None:
        """Take a node off the roll, unless it has been heard of since it had applied `applied`."""

    async def trim(self, through: int) -> int:
        """Forget records up to sequence `through`, sequences go on as before; how many were forgotten."""


class NewsKind(StrEnum):
    """STORED: an entry is in the store, new or another than before. GONE: it no longer is."""

    STORED = "stored"
    GONE = "gone"


class News(msgspec.Struct, frozen=True, array_like=True):
    """What a node tells the others of one entry."""

    kind: NewsKind
    scope: Scope
    partition: bytes
    key: bytes


class Feed(Room, Protocol):
    """What nodes that share a store tell each other of entries. No promise hangs on it: what is missed is found a
    little later, or freed.
    """

    def tell(self, news: Sequence[News]) -> None:
        """Sent soon, in order; what cannot be sent is counted."""

    def follow(self) -> AsyncIterator[Sequence[News] | None]:
        """What the others tell from `open` on, for ever. None: some was missed, look at the store itself."""


class AuditLine(msgspec.Struct, frozen=True, kw_only=True):
    """Who ordered what, and when (Unix seconds). `what` are tags in words, the first of `of`; `sequence` its place in
    the log; `entries` is how many it hit, as far as they have been freed by now.
    """

    id: str
    at: float
    who: str
    what: tuple[str, ...]
    of: int
    effect: str
    sequence: int = 0
    entries: int = 0


class Audit(Protocol):
    """Durable, and shared by all nodes."""

    async def write(self, line: AuditLine) -> None: ...

    async def hit(self, counts: Mapping[str, int]) -> None:
        """Add to `entries`, by id."""

    async def lines(self, limit: int = 100) -> Sequence[AuditLine]:
        """The newest first."""

    async def line(self, name: str) -> AuditLine | None:
        """The one with this id."""


class Registry(Protocol):
    """Small settled facts shared by all nodes: tokens, the secret."""

    async def values(self, kind: str) -> Mapping[str, bytes]: ...

    async def set(self, kind: str, name: str, value: bytes) -> None: ...

    async def set_default(self, kind: str, name: str, value: bytes) -> bytes:
        """What stands there after the call: atomic, the first writer wins."""

    async def remove(self, kind: str, name: str) -> bool: ...


class Generator(Room, Protocol):
    """A model on this node."""

    @property
    def name(self) -> str: ...

    @property
    def ready(self) -> bool: ...

    def generate(self, prompt: Prompt) -> AsyncGenerator[Piece | Finished, None]:
        """Pieces as they are decoded, then one `Finished`. Closing the generator frees its row at once.

        Raises (before the first event):
            ContextTooLong: prompt and answer do not fit.
            Overloaded: the queue is full; carries `retry_after` seconds.
            ModelUnavailable: the model could not be loaded.
        """


class Form(msgspec.Struct, frozen=True):
    """The same request in the words of another dialect, or with another name of its model. `headers` take the place
    of those of these names.
    """

    path: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A request for an upstream. `path` and `query` as they came, `query` without `?`; `headers` end to end only.

    `body` is bytes, or an iterator that can be read once (then it is never retried). `upstreams` names the
    acceptable ones, () for any. With `configured_key` an upstream that has a key of its own
    replaces the caller's credential by it; without, the caller's own goes on.

    `dialect` is what `body` is written in and `model` the one it names; both empty for what is passed through. `form`
    makes it of another dialect or another name of the model (Untranslatable where that cannot say the same).
    `hedge`: after so many seconds without a head another upstream is asked too.
    """

    method: str
    path: str
    query: str
    headers: tuple[tuple[str, str], ...]
    body: bytes | AsyncIterator[bytes]
    upstreams: tuple[str, ...] = ()
    configured_key: bool = False
    dialect: str = ""
    model: str = ""
    form: Callable[[str, str], Form] | None = None
    hedge: float | None = None


class UpstreamReply(Protocol):
    """The head of an upstream's response, and its body as it arrives.

    Iterating may raise UpstreamTimeout or UpstreamBroken (cut before its end). `close` is safe twice and must be
    called; closing early drops the connection.
    """

    @property
    def upstream(self) -> str: ...

    @property
    def dialect(self) -> str:
        """What its body is written in: that of the call, unless the upstream speaks another."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """End to end, in order, names as they came; never hop-by-hop (RFC 9110 section 7.6.1)."""

    def chunks(self) -> AsyncIterator[bytes]: ...

    async def close(self) -> None: ...


class Upstream(Room, Protocol):
    """The providers behind this node."""

    async def send(self, call: Call) -> UpstreamReply:
        """The first acceptable answer's head. Tries others and again only while nothing of an answer has come.

        Raises:
            NoUpstream, UpstreamUnreachable, UpstreamTimeout
            Overloaded: all that might be asked are full, or left alone after failures; carries `retry_after`.
            Untranslatable: none of them can be asked this.
        """


class Meters(Protocol):
    """What all nodes together spent and saved, and what limits count."""

    async def add(self, node: str, number: int, rows: Sequence[Spend]) -> None:
        """What `node` counted by day, scope and route, in batches with growing numbers; one told twice counts once."""

    async def scopes(self, day: str = "") -> Sequence[Spend]:
        """By scope and route: of a day, as long as it is kept, or since ever."""

    async def days(self, days: Sequence[str]) -> Sequence[Spend]:
        """By route, of each of these days."""

    async def take(self, bounds: Sequence[Bound], debt: Debt) -> Taken:
        """Add what is owed; then count a request in every counter, or in none where a bound is reached. All counters
        are of one scope. Atomic.

        Raises:
            StoreUnavailable: nothing is known about what was counted.
        """

    async def charge(self, debts: Sequence[Debt]) -> None:
        """Add what is owed, each debt as a whole. Some may have been added where it raises."""


class Tells(Protocol):
    """Counts one thing that happens often."""

    def add(self) -> None:
        """Once more."""


class Spending(Protocol):
    """What the story of a request tells of money. `route` is a rule's name; `usage` None where nobody tells it."""

    async def arrive(self, scope: Scope, route: str) -> None:
        """First, for every request. Raises as `admit`, by limits that count answers from cache too."""

    async def admit(self, scope: Scope, route: str) -> None:
        """Before anyone is asked.

        Raises:
            LimitReached: with `retry_after`.
            Overloaded: a limit refuses while the store is away.
        """

    def bounds_usage(self, scope: Scope, route: str) -> bool:
        """Whether a limit of tokens or money holds: what nobody here reads would get around it."""

    def counts_hits(self, scope: Scope, route: str) -> bool:
        """Whether `arrive` would look at a limit: only then has it to be called."""

    def spent(self, scope: Scope, route: str, model: str, usage: Usage | None) -> None:
        """An answer was asked for, and has ended."""

    def saved(self, scope: Scope, route: str, model: str, usage: Usage | None) -> None:
        """A request was answered without asking, by what cost `usage`."""

    def saver(self, scope: Scope, route: str, model: str, usage: Usage | None) -> Tells:
        """As `saved`, for an answer that is given many times."""
