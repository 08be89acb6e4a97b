"""A path that is asked now and then: who is not well is asked last."""

import asyncio
import logging

import pytest
from asking import SOON, call, opened, read, target

from edgecache.testing.scripted_upstream import Answer, Received, ScriptedUpstream


class Sleep:
    """Each check waits until the test lets the next one begin."""

    def __init__(self) -> None:
        self.asleep = asyncio.Event()
        self._wake = asyncio.Event()
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        self.asleep.set()
        await self._wake.wait()
        self._wake.clear()

    async def checked(self) -> None:
        """The check under way has ended."""
        async with asyncio.timeout(10):
            await self.asleep.wait()

    async def again(self) -> None:
        self.asleep.clear()
        self._wake.set()
        await self.checked()


class Watched(ScriptedUpstream):
    """Answers its health path as it is told, everything else with 200."""

    def __init__(self, status: int = 200) -> None:
        super().__init__(script=self._answer)
        self.health = status
        self.checks: list[Received] = []

    def _answer(self, asked: Received) -> Answer:
        if asked.path != "/health":
            return Answer(body=b"answer")
        self.checks.append(asked)
        return Answer(status=self.health, body=b"x" * 10_000)


async def test_who_is_not_well_is_asked_last_until_it_is(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "edgecache.upstream")
    sleep = Sleep()
    async with Watched(503) as first, Watched() as second:
        watched = target(first.url, health="/health?deep=1", api_key="own", health_interval=7.0)
        async with opened(watched, target(second.url, "two", order=1), sleep=sleep) as pool:
            await sleep.checked()
            assert [one.healthy for one in pool.statistics().targets] == [False, True]
            assert (await _asked(pool)) == "two"
            first.health = 200
            await sleep.again()
            assert pool.statistics().targets[0].healthy
            assert (await _asked(pool)) == "one"
            assert pool.statistics().targets[0].requests == 1, "checks are no requests"
    assert sleep.seconds == [7.0, 7.0]
    check = first.checks[0]
    assert (check.method, check.query, check.header("Authorization"), check.body) == (
        "GET",
        "deep=1",
        "Bearer own",
        b"",
    )
    assert [record.getMessage() for record in caplog.records] == [
        "upstream one: its health path /health?deep=1 answers 503, and is asked last until it is well",
        "upstream one: its health path /health?deep=1 answers 200",
    ]


async def _asked(pool: object) -> str:
    reply = await pool.send(call())  # type: ignore[attr-defined]
    await read(reply)
    name: str = reply.upstream
    return name


@pytest.mark.parametrize(("status", "well"), [(200, True), (204, True), (404, True), (401, False), (429, False)])
async def test_what_counts_as_well(status: int, well: bool) -> None:
    sleep = Sleep()
    async with Watched(status) as upstream, opened(target(upstream.url, health="/health"), sleep=sleep) as pool:
        await sleep.checked()
        assert pool.statistics().targets[0].healthy is well
        assert await _asked(pool) == "one", "with nobody else it is asked all the same"


async def test_no_answer_is_not_well_and_the_wait_is_bounded() -> None:
    sleep = Sleep()
    async with ScriptedUpstream(script=lambda _: Answer(before_head=asyncio.Event())) as upstream:
        hanging = target(upstream.url, health="/health", health_interval=SOON)
        async with opened(hanging, target("http://127.0.0.1:1", "two"), sleep=sleep) as pool:
            await sleep.checked()
            assert [one.healthy for one in pool.statistics().targets] == [False, True]
            await upstream.wait_connections(0)


async def test_closing_ends_the_check_under_way() -> None:
    async with ScriptedUpstream(script=lambda _: Answer(before_head=asyncio.Event())) as upstream:
        before = asyncio.all_tasks()
        async with opened(target(upstream.url, health="/health")):
            await upstream.wait_requests(1)
            checking = asyncio.all_tasks() - before
        assert any("watch" in repr(task.get_coro()) for task in checking)
        assert not any("watch" in repr(task.get_coro()) for task in asyncio.all_tasks())
        await upstream.wait_connections(0)


async def test_without_a_path_nobody_is_asked() -> None:
    async with Watched() as upstream, opened(target(upstream.url)) as pool:
        assert await _asked(pool) == "one"
        assert len(upstream.requests) == 1
