"""What the port `Feed` promises: news in order, and None where some are missing."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

import pytest
from storage_samples import SCOPE

from edgecache.core.ports import News, NewsKind
from edgecache.errors import StoreUnavailable
from edgecache.storage import redis_feed
from edgecache.storage.redis import RedisStorage
from edgecache.storage.sqlite_feed import SilentFeed


def news(*numbers: int, kind: NewsKind = NewsKind.STORED) -> list[News]:
    return [News(kind, SCOPE, b"p" * 16, number.to_bytes(16, "big")) for number in numbers]


async def told(follower: AsyncIterator[Sequence[News] | None], count: int) -> list[News]:
    """The next so many."""
    heard: list[News] = []
    async with asyncio.timeout(60):
        while len(heard) < count:
            some = await anext(follower)
            assert some, "nothing is missing"
            heard += some
    return heard


@pytest.fixture
async def nodes(make_node: Callable[..., RedisStorage]) -> AsyncIterator[tuple[RedisStorage, RedisStorage]]:
    one, other = make_node("one"), make_node("other")
    for node in (one, other):
        await node.open()
    yield one, other
    for node in (one, other):
        await node.close()


async def test_a_node_alone_hears_nothing() -> None:
    feed = SilentFeed()
    await feed.open()
    hearing = asyncio.ensure_future(anext(feed.follow()))
    feed.tell(news(1, 2))
    done, _ = await asyncio.wait([hearing], timeout=0.05)
    assert not done
    hearing.cancel()
    await asyncio.wait([hearing])
    await feed.close()


async def test_the_others_hear_everything_in_order(nodes: tuple[RedisStorage, RedisStorage]) -> None:
    """From `open` on, even before they begin to follow; a follower more hears it too."""
    one, other = nodes
    one.feed.tell(news(*range(250)))
    one.feed.tell(news(3, kind=NewsKind.GONE))
    other.feed.tell(news(999))
    expected = [*news(*range(250)), *news(3, kind=NewsKind.GONE)]
    for _ in range(2):
        assert await told(other.feed.follow(), 251) == expected
    assert await told(one.feed.follow(), 1) == news(999)
    assert (one.feed.statistics().sent, other.feed.statistics().heard) == (251, 2 * 251)


async def test_who_opens_later_hears_what_comes_later(
    nodes: tuple[RedisStorage, RedisStorage], make_node: Callable[..., RedisStorage]
) -> None:
    one, other = nodes
    one.feed.tell(news(1))
    await told(other.feed.follow(), 1)
    late = make_node("late")
    await late.open()
    one.feed.tell(news(2))
    assert await told(late.feed.follow(), 1) == news(2)
    await late.close()


async def test_what_does_not_fit_is_dropped_and_the_others_are_told_that(
    nodes: tuple[RedisStorage, RedisStorage], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = nodes
    monkeypatch.setattr(redis_feed, "WAITING", 3)
    one.feed.tell(news(1, 2))
    one.feed.tell(news(3, 4, 5))
    async with asyncio.timeout(60):
        follower = other.feed.follow()
        while await anext(follower) is not None:
            pass
        assert one.feed.statistics().dropped == 2
        one.feed.tell(news(6))
        while (await anext(follower) or [])[-1:] != news(6):
            pass


async def test_a_stream_trimmed_past_a_follower_is_noticed(
    nodes: tuple[RedisStorage, RedisStorage], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = nodes
    monkeypatch.setattr(redis_feed, "KEPT", 1)
    monkeypatch.setattr(redis_feed, "BATCH", 1)
    one.feed.tell(news(*range(300)))  # the server trims whole blocks, of a hundred
    watcher = one.feed.statistics
    async with asyncio.timeout(60):
        while watcher().sent < 300:
            await asyncio.sleep(0.01)
        follower = other.feed.follow()
        assert await anext(follower) is None
    one.feed.tell(news(999))
    assert await told(follower, 1) == news(999)
    assert other.feed.statistics().missed == 1


async def test_news_of_a_newer_version_are_missed_and_not_an_error(nodes: tuple[RedisStorage, RedisStorage]) -> None:
    one, other = nodes
    one.feed.tell([News("other", SCOPE, b"", b"")])  # type: ignore[arg-type]
    follower = other.feed.follow()
    async with asyncio.timeout(60):
        assert await anext(follower) is None
    one.feed.tell(news(1))
    assert await told(follower, 1) == news(1)


async def test_closing_ends_followers(nodes: tuple[RedisStorage, RedisStorage]) -> None:
    one, _ = nodes
    hearing = asyncio.ensure_future(anext(one.feed.follow()))
    await asyncio.sleep(0)
    await one.close()
    with pytest.raises(StoreUnavailable):
        async with asyncio.timeout(60):
            await hearing
