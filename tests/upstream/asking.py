"""What the tests of this room share: calls, pools, and reading an answer to its end."""

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from edgecache.core.ports import Call, UpstreamReply
from edgecache.testing.scripted_upstream import Answer, Received, ScriptedUpstream
from edgecache.upstream import Breaking, RetryBudget, Target, Timers, UpstreamPool

CHAT = "/v1/chat/completions"

NEVER = 3_600.0
"""A limit in seconds that no test reaches."""

SOON = 0.02
"""A limit in seconds that a test waits for."""

ENOUGH = 0.3
"""A limit in seconds that passes in one part of a test and must not in another, on a busy machine."""

UNBROKEN = Breaking(least=10**9)
"""A breaker that never opens."""


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def plenty(clock: Callable[[], float] = time.monotonic) -> RetryBudget:
    """More retries than a test makes."""
    return RetryBudget(clock, burst=1e9)


def always(status: int, *headers: tuple[str, str]) -> ScriptedUpstream:
    def script(_: Received) -> Answer:
        return Answer(status=status, headers=headers, body=str(status).encode())

    return ScriptedUpstream(script=script)


def call(
    body: bytes | AsyncIterator[bytes] = b"{}",
    *,
    method: str = "POST",
    path: str = CHAT,
    query: str = "",
    headers: Sequence[tuple[str, str]] = (),
    upstreams: tuple[str, ...] = (),
    configured_key: bool = True,
    **more: object,
) -> Call:
    return Call(
        method=method,
        path=path,
        query=query,
        headers=tuple(headers),
        body=body,
        upstreams=upstreams,
        configured_key=configured_key,
        **more,  # type: ignore[arg-type]
    )


def target(url: str, name: str = "one", **more: object) -> Target:
    return Target(name=name, base_url=url, **more)  # type: ignore[arg-type]


def timers(**limits: float) -> Timers:
    """Only the limits named can pass."""
    return Timers(**({"connect": NEVER, "first_byte": NEVER, "between_chunks": NEVER, "total": NEVER} | limits))


@asynccontextmanager
async def opened(*targets: Target, **more: object) -> AsyncIterator[UpstreamPool]:
    pool = UpstreamPool(targets, **more)  # type: ignore[arg-type]
    await pool.open()
    try:
        yield pool
        assert all(one.open == 0 for one in pool.statistics().targets), "a reply was not closed"
    finally:
        await pool.close()


async def read(reply: UpstreamReply) -> bytes:
    """The whole body; the reply is closed after it."""
    body = b"".join([chunk async for chunk in reply.chunks()])
    await reply.close()
    return body


async def stream(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk
