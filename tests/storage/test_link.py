"""The way between one node and its server, cut or slow."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from storage_samples import purge, take

from edgecache.core.ports import News, NewsKind
from edgecache.errors import StoreUnavailable
from edgecache.storage.redis import RedisStorage
from edgecache.testing.link import Link
from edgecache.testing.redis_server import RedisServer

NEWS = [News(NewsKind.GONE, "s", b"", bytes([number]) * 16) for number in range(3)]  # type: ignore[arg-type]


@pytest.fixture
async def server(redis_installed: None) -> AsyncIterator[RedisServer]:
    async with RedisServer() as server:
        yield server


@pytest.fixture
async def link(server: RedisServer) -> AsyncIterator[Link]:
    async with Link(server.port) as link:
        yield link


@pytest.fixture
async def nodes(server: RedisServer, link: Link) -> AsyncIterator[tuple[RedisStorage, RedisStorage]]:
    """One behind the link, the other not."""
    one, other = RedisStorage(link.url, node="one"), RedisStorage(server.url, node="other")
    for node in (one, other):
        await node.open()
    yield one, other
    for node in (one, other):
        await node.close()


async def test_a_reply_that_comes_late_says_what_was_when_it_was_asked_for(
    nodes: tuple[RedisStorage, RedisStorage], link: Link
) -> None:
    """A purge that came between is not in it: a lease counted from when it arrived would outlast `wait=all`."""
    one, other = nodes
    await other.log.append(purge(1))
    follower = one.log.follow(0)
    await take(follower)
    link.hold()
    late = asyncio.ensure_future(anext(follower))
    async with asyncio.timeout(60):
        await link.wait_held()
        await other.log.append(purge(2))
        appended = asyncio.get_running_loop().time()  # the same clock as `sent`
        link.release()
        heard = await late
        assert not heard.records and heard.sent < appended
        assert [logged.sequence for logged in await take(follower)] == [2]


async def test_a_node_cut_off_goes_on_where_it_was(nodes: tuple[RedisStorage, RedisStorage], link: Link) -> None:
    """The server ran all the time: nothing is lost, the log is the same."""
    one, other = nodes
    identity = one.log.identity
    await other.log.append(purge(1))
    follower = one.log.follow(0)
    await take(follower)
    link.cut()
    waiting = asyncio.ensure_future(take(follower))
    async with asyncio.timeout(60):
        while one.log.statistics().reconnects == 0:
            await asyncio.sleep(0.01)
        await other.log.append(purge(2))
        with pytest.raises(StoreUnavailable):
            await one.log.append(purge(3))
        link.mend()
        assert [logged.record for logged in await waiting] == [purge(2)]
    assert one.log.identity == other.log.identity == identity


async def test_a_feed_cut_off_hears_what_was_told_meanwhile(
    nodes: tuple[RedisStorage, RedisStorage], link: Link
) -> None:
    one, other = nodes
    follower = one.feed.follow()
    other.feed.tell(NEWS[:1])
    async with asyncio.timeout(60):
        assert await anext(follower) == NEWS[:1]
        waiting = asyncio.ensure_future(anext(follower))
        link.cut()
        other.feed.tell(NEWS[1:2])
        one.feed.tell(NEWS[2:])
        assert await _sent(other) == 2
        link.mend()
        assert await waiting == NEWS[1:2]
        assert await anext(other.feed.follow()) == NEWS[2:]
    assert one.feed.statistics().missed == 0


async def test_a_feed_whose_server_was_restarted_has_missed_something(
    nodes: tuple[RedisStorage, RedisStorage], server: RedisServer
) -> None:
    one, other = nodes
    follower = one.feed.follow()
    waiting = asyncio.ensure_future(anext(follower))
    await asyncio.to_thread(server.restart)
    async with asyncio.timeout(60):
        assert await waiting is None
        other.feed.tell(NEWS)
        assert await anext(follower) == NEWS


async def test_a_feed_whose_stream_is_gone_has_missed_something(
    nodes: tuple[RedisStorage, RedisStorage], server: RedisServer
) -> None:
    one, other = nodes
    other.feed.tell(NEWS)
    follower = one.feed.follow()
    async with asyncio.timeout(60):
        assert await anext(follower) == NEWS
        await asyncio.to_thread(server.cli, "DEL", "{edgecache:feed}:stream")
        assert await anext(follower) is None
        other.feed.tell(NEWS[:1])
        assert await anext(follower) == NEWS[:1]


async def _sent(node: RedisStorage) -> int:
    while node.feed.statistics().sent < 2:
        await asyncio.sleep(0.01)
    return node.feed.statistics().sent
