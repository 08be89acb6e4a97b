"""What an outage of providers does to the load on them: attempts / requests, over real sockets on loopback."""

import asyncio
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import uvloop

from bench.figures import Figure, figure
from edgecache.core.ports import Call
from edgecache.errors import RequestError
from edgecache.testing.scripted_upstream import Answer, ScriptedUpstream
from edgecache.upstream import Breaking, Target, UpstreamPool

REQUESTS = 1_000
AT_ONCE = 20
GOAL = "<= 1.2"
NEVER_OPENS = Breaking(least=10**9)
CALL = Call(method="POST", path="/v1/chat/completions", query="", headers=(), body=b"{}")


class Case(msgspec.Struct, frozen=True):
    """`status` None: the port refuses. `well` is how many other targets answer, asked after the `failing` ones."""

    name: str
    status: int | None
    failing: int
    well: int = 0
    hedge: float | None = None
    breaking: Breaking = Breaking()


CASES = (
    Case("all_refuse", None, 3),
    Case("all_503", 503, 3),
    Case("all_503_no_breaker", 503, 3, breaking=NEVER_OPENS),
    Case("all_503_hedged_no_breaker", 503, 3, hedge=0.0, breaking=NEVER_OPENS),
    Case("one_of_two_refuses", None, 1, well=1),
    Case("one_of_two_503", 503, 1, well=1),
)


class Ran(msgspec.Struct, frozen=True):
    """Of one run: what each request cost in attempts, and which share of them was answered."""

    attempts: float
    answered: float


def measure(repeats: int) -> list[Figure]:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runs = {case: [runner.run(run(case, seed)) for seed in range(repeats)] for case in CASES}
    figures = []
    for case, ran in runs.items():
        figures.append(figure(f"{case.name}_attempts", [one.attempts for one in ran], "per request", GOAL))
        if case.well:
            figures.append(figure(f"{case.name}_answered", [one.answered for one in ran], "share"))
    return figures


async def run(case: Case, seed: int) -> Ran:
    async with _targets(case) as targets:
        pool = UpstreamPool(targets, breaking=case.breaking, chance=random.Random(seed))
        await pool.open()
        try:
            call = msgspec.structs.replace(CALL, hedge=case.hedge)
            answered = sum(await asyncio.gather(*(_load(pool, call) for _ in range(AT_ONCE))))
            attempts = sum(target.requests for target in pool.statistics().targets)
        finally:
            await pool.close()
    return Ran(attempts / REQUESTS, answered / REQUESTS)


async def _load(pool: UpstreamPool, call: Call) -> int:
    """One caller's part of the requests, one after the other; how many were answered."""
    answered = 0
    for _ in range(REQUESTS // AT_ONCE):
        try:
            reply = await pool.send(call)
        except RequestError:
            continue
        async for _ in reply.chunks():
            pass
        answered += reply.status == 200
    return answered


@asynccontextmanager
async def _targets(case: Case) -> AsyncIterator[list[Target]]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        refusing = f"http://127.0.0.1:{taken.getsockname()[1]}"
        status = case.status or 200
        async with (
            ScriptedUpstream(script=lambda _: Answer(status=status)) as busy,
            ScriptedUpstream(script=lambda _: Answer(body=b"{}")) as well,
        ):
            failing = busy.url if case.status else refusing
            urls = [failing] * case.failing + [well.url] * case.well
            yield [Target(name=f"{n}", base_url=url, order=n) for n, url in enumerate(urls)]
