"""The log of purges in Redis: a stream whose ids are the dense sequence, and beside it the name of the log and who
follows it. The steps are in `redis_scripts`.

A server that has come back, with its data or without, or with less than a reader has seen, is noticed there, and the
log gets a new identity: what was filled under the old one is dead, on all nodes.
"""

import asyncio
import math
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from edgecache.core.ports import Heard, Member
from edgecache.core.purges import Logged, PurgeRecord
from edgecache.errors import StoreUnavailable
from edgecache.storage import redis_scripts as scripts
from edgecache.storage.codec import decode_record, encode_record
from edgecache.storage.redis_client import RedisClient, script_command
from edgecache.storage.redis_roll import Roll, member_of, row_of
from edgecache.storage.statistics import LogStatistics

FOLLOW_BATCH = 1_000
HEARTBEAT = 250
"""Milliseconds after which a follower that heard nothing reads all the same, to be heard of and to hear that it may go
on serving."""
SHORTEST_DELAY, LONGEST_DELAY = 0.05, 2.0
"""Seconds between attempts to reach a server that is away; each is twice the one before."""
LEASE, LEASE_WITH_REPLICAS = 2.0, 5.0
"""Seconds. Redis judges replicas by the second (`min-replicas-max-lag`), so a primary that is cut off takes longer to
notice that it is."""
CONFIRM = 1_000
"""Milliseconds for a replica to say that it has what was appended; less than a call's `socket_timeout`."""
SETTLED = 1.25
"""Leases after which nobody can be serving by the log before this one."""


class RedisLog:
    """The port `Log`. As durable as the server is set up to be (`appendonly`, `appendfsync`), and confirmed by one of
    its replicas where it has any.

    A log found to be another one raises StoreUnavailable once, wherever it was noticed; `identity` has changed then.
    """

    def __init__(
        self,
        client: RedisClient,
        waiting: RedisClient,
        prefix: str,
        *,
        node: str,
        lease: float = 0.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`waiting` is for the reads that block, so that they take no connection from the others. `node` is how others
        know this one; a `lease` of 0 is chosen by what the server is; `monotonic` is the clock of all that concerns it.
        """
        self._client = client
        self._waiting = waiting
        self._keys = tuple(f"{{{prefix}:log}}:{part}" for part in ("state", "stream", "nodes"))
        self._node = node
        self._leases = (lease or LEASE, lease or LEASE_WITH_REPLICAS)
        self._lease = self._leases[0]
        self._identity = ""
        self._settled_at = 0.0
        self._monotonic = monotonic
        self._roll = Roll(monotonic)
        self._closed = asyncio.Event()
        self._on_roll = False
        self._appended = self._followers = self._reconnects = self._unknown = self._replicas = 0

    def __repr__(self) -> str:
        return f"<RedisLog {self._keys[1]} {self._client!r} {self.statistics()}>"

    def statistics(self) -> LogStatistics:
        return LogStatistics(
            self._identity, self._appended, self._followers, self._reconnects, self._unknown, self._replicas
        )

    @property
    def identity(self) -> str:
        return self._identity

    @property
    def lease(self) -> float:
        return self._lease

    async def open(self) -> None:
        await self._client.open()
        await self._waiting.open()
        await self._identify()
        self._lease = self._leases[self._replicas > 0]
        self._closed = asyncio.Event()

    async def close(self) -> None:
        """Takes this node off the roll: whatever serves from a cache by this log is to be closed before."""
        self._closed.set()
        await self._leave()
        await self._waiting.close()
        await self._client.close()

    # --- write ----------------------------------------------------------------------------------------------------

    async def append(self, record: PurgeRecord) -> int:
        """After an error the record may be in the log; appended again it may be there twice, which does no harm."""
        command = script_command(scripts.APPEND, self._keys, self._identity, encode_record(record))
        reply, confirmed = await self._append(command)
        if reply is None:
            raise await self._lost()
        sequence, self._replicas = map(int, reply)
        self._appended += 1
        if self._replicas and not confirmed:
            raise StoreUnavailable("written, but no replica has confirmed it: purge again")
        return sequence

    async def trim(self, through: int) -> int:
        """Forget records up to `through`, but never the newest, so that what is missing shows; how many."""
        trimmed = await self._client.run(scripts.TRIM, self._keys, self._identity, through)
        if trimmed is None:
            raise await self._lost()
        return int(trimmed)

    async def _append(self, command: tuple[object, ...]) -> tuple[list[int] | None, int]:
        """The reply, and how many replicas have it."""
        if self._replicas:
            return await self._client.confirmed(command, self._keys[0], CONFIRM)
        return await self._client.call(*command), 0

    # --- read -----------------------------------------------------------------------------------------------------

    async def read(self, after: int, limit: int = 1_000) -> Sequence[Logged]:
        """A first sequence above `after` + 1 says that what lay between was trimmed. As with `follow`, asking says that
        all up to `after` is applied here.
        """
        return self._decode(await self._fetch(after, limit, b"")) if limit > 0 else []

    async def follow(self, after: int) -> AsyncIterator[Heard]:
        """A server that is away is waited for, for as long as it takes.

        Raises:
            StoreUnavailable: the log was closed, or is another one than when this began.
        """
        self._followers += 1
        identity, last = self._identity, b""
        try:
            while True:
                sent, fetched = await self._fetch_at_last(identity, after, last)
                if fetched:
                    after, last = fetched[-1]
                whole = len(fetched) < FOLLOW_BATCH  # of a part it is not known when that was all there was
                yield Heard(sent if whole else -math.inf, self._decode(fetched))
                if not fetched:  # else the next read says at once that these are applied
                    await self._wait(after)
        finally:
            self._followers -= 1

    async def _fetch(self, after: int, limit: int, last: bytes) -> list[tuple[int, bytes]]:
        """Sequences and blobs after `after`, where `last` must still stand."""
        settled = int(self._monotonic() > self._settled_at)
        row = row_of(after, self._lease, time.monotonic_ns())
        arguments = (self._identity, after, limit, last, self._node, row, settled)
        reply = await self._client.run(scripts.READ, self._keys, *arguments)
        if reply is None:
            raise await self._lost()
        self._on_roll = True
        records, self._replicas = reply
        return [(int(name.partition(b"-")[0]), fields[1]) for name, fields in records]

    async def _fetch_at_last(self, identity: str, after: int, last: bytes) -> tuple[float, list[tuple[int, bytes]]]:
        """As `_fetch`, as soon as the server can be reached; and when that was sent."""
        delay = SHORTEST_DELAY
        while not self._closed.is_set():
            if self._identity != identity:
                raise _LogLostError(f"the purge log is now {self._identity}, it was {identity}")
            sent = self._monotonic()  # before it waits for its turn: a lease from here is rather too short
            try:
                return sent, await self._fetch(after, FOLLOW_BATCH, last)
            except _LogLostError:
                raise
            except StoreUnavailable:
                self._reconnects += 1
                await self._pause(delay)
                delay = min(2 * delay, LONGEST_DELAY)
        raise StoreUnavailable("the log is closed")

    async def _wait(self, after: int) -> None:
        """Until something is appended, or for a heartbeat. What came is read elsewhere: this only wakes."""
        try:
            await self._waiting.call("XREAD", "COUNT", 1, "BLOCK", HEARTBEAT, "STREAMS", self._keys[1], f"{after}-0")
        except StoreUnavailable:
            await self._pause(SHORTEST_DELAY)

    async def _pause(self, seconds: float) -> None:
        """Ends early when the log is closed."""
        try:
            async with asyncio.timeout(seconds):
                await self._closed.wait()
        except TimeoutError:
            return

    def _decode(self, fetched: list[tuple[int, bytes]]) -> list[Logged]:
        batch = [Logged(sequence, decode_record(blob)) for sequence, blob in fetched]
        self._unknown += sum(logged.record is None for logged in batch)
        return batch

    # --- who follows ----------------------------------------------------------------------------------------------

    async def roll(self) -> Mapping[str, Member]:
        """As the last read of each says. Which server answers is checked as for a read."""
        reply = await self._client.run(scripts.ROLL, self._keys, self._identity)
        if reply is None:
            raise await self._lost()
        names = (name.decode() for name in reply[::2])
        return self._roll.take(dict(zip(names, reply[1::2], strict=True)))

    async def strike(self, node: str, applied: int) -> None:
        """Nothing happens to a node heard of less than its lease ago, as far as this one's calls of `roll` show."""
        row = self._roll.silent(node, applied)
        if row is not None:
            await self._client.run(scripts.STRIKE, self._keys[2:], node, row)

    async def _leave(self) -> None:
        """What cannot be done now another node does when its lease is over."""
        if self._on_roll:
            self._on_roll = False
            try:
                await self._client.call("HDEL", self._keys[2], self._node)
            except StoreUnavailable:
                return

    # --- which log ------------------------------------------------------------------------------------------------

    async def _identify(self) -> None:
        """The log's name; a log that has none, or the name of another run of the server, begins here."""
        identity, self._replicas, unknown = await self._client.run(
            scripts.OPEN, self._keys, secrets.token_hex(16), *map(repr, self._leases)
        )
        if self._identity != identity.decode():
            self._identity = identity.decode()
            self._settled_at = self._monotonic() + (SETTLED * member_of(unknown).lease if unknown else 0.0)

    async def _lost(self) -> "_LogLostError":
        was = self._identity
        await self._identify()
        return _LogLostError(f"the purge log {was} has lost records; it is {self._identity} now")


class _LogLostError(StoreUnavailable):
    """Not to be waited out."""
