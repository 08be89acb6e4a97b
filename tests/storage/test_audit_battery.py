"""What the port `Audit` promises, of every implementation."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from storage_samples import Storage

from edgecache.core.ports import AuditLine
from edgecache.errors import StoreUnavailable


def line(number: int, **changes: Any) -> AuditLine:
    fields: dict[str, Any] = {
        "id": f"id-{number}",
        "at": 1_700_000_000.5 + number,
        "who": "token é \x00",
        "what": ("key a", "key b"),
        "of": 7,
        "effect": "purge",
        "sequence": number,
    }
    return AuditLine(**fields | changes)


async def test_lines_come_back_the_newest_first(storage: Storage) -> None:
    assert await storage.audit.lines() == []
    for number in range(5):
        await storage.audit.write(line(number))
    assert await storage.audit.lines() == [line(number) for number in (4, 3, 2, 1, 0)]
    assert await storage.audit.lines(2) == [line(4), line(3)]
    assert await storage.audit.lines(0) == []
    assert await storage.audit.line("id-3") == line(3)
    assert await storage.audit.line("other") is None


async def test_hits_add_up(storage: Storage) -> None:
    """By many nodes at once; of a line that is written after its purge has hit, too."""
    await storage.audit.hit({"id-1": 5})
    for number in (1, 2):
        await storage.audit.write(line(number))
    await asyncio.gather(*(storage.audit.hit({"id-1": 1, "id-2": 10}) for _ in range(20)))
    await storage.audit.hit({})
    assert await storage.audit.line("id-1") == line(1, entries=25)
    assert await storage.audit.lines() == [line(2, entries=200), line(1, entries=25)]


async def test_a_line_written_again_keeps_its_place_and_its_count(storage: Storage) -> None:
    for number in (1, 2):
        await storage.audit.write(line(number, sequence=0))
    await storage.audit.hit({"id-1": 3})
    await storage.audit.write(line(1))
    assert await storage.audit.lines() == [line(2, sequence=0), line(1, entries=3)]


async def test_the_oldest_go(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage.audit, "_kept", 3)
    for number in range(10):
        await storage.audit.write(line(number))
        await storage.audit.hit({f"id-{number}": 1})
    assert await storage.audit.lines() == [line(number, entries=1) for number in (9, 8, 7)]
    assert await storage.audit.line("id-6") is None


async def test_a_line_that_is_not_unicode_is_refused(storage: Storage) -> None:
    with pytest.raises(StoreUnavailable, match="id-1 of the audit log"):
        await storage.audit.write(line(1, who="\ud800"))
    assert await storage.audit.lines() == []


async def test_it_survives(make_storage: Callable[[], Storage]) -> None:
    for number in range(3):
        storage = make_storage()
        await storage.open()
        await storage.audit.write(line(number))
        await storage.audit.hit({"id-0": 1})
        lines = [line(1 + at) for at in range(number)]
        expected = [*reversed(lines), msgspec.structs.replace(line(0), entries=number + 1)]
        assert await storage.audit.lines() == expected
        await storage.close()
