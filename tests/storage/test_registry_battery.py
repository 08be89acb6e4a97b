"""What the port `Registry` promises, of every implementation."""

import asyncio
from collections.abc import Callable

from storage_samples import Storage


async def test_set_replace_remove(storage: Storage) -> None:
    registry = storage.registry
    assert await registry.values("token") == {}
    await registry.set("token", "é \x00", b"\x00\xff")
    await registry.set("token", "b", b"1")
    await registry.set("token", "b", b"")
    await registry.set("other", "b", b"3")
    assert await registry.values("token") == {"é \x00": b"\x00\xff", "b": b""}
    assert await registry.remove("token", "b") is True
    assert await registry.remove("token", "b") is False
    assert await registry.values("token") == {"é \x00": b"\x00\xff"}
    assert await registry.values("other") == {"b": b"3"}


async def test_the_first_default_wins_a_race(storage: Storage) -> None:
    offers = [bytes([number]) * 32 for number in range(20)]
    settled = await asyncio.gather(*(storage.registry.set_default("secret", "cluster", offer) for offer in offers))
    assert len(set(settled)) == 1
    assert await storage.registry.values("secret") == {"cluster": settled[0]}
    assert settled[0] in offers


async def test_facts_survive(make_storage: Callable[[], Storage]) -> None:
    first = make_storage()
    await first.open()
    await first.registry.set_default("secret", "cluster", b"one")
    await first.close()
    second = make_storage()
    await second.open()
    assert await second.registry.set_default("secret", "cluster", b"two") == b"one"
    await second.close()
