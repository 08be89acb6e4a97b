"""Tags: an owner's key is never one of ours, and what can be a key can be written to the log."""

import msgspec
import pytest

from edgecache.core.purges import PurgeRecord
from edgecache.core.tags import EVERYTHING, MAX_KEY_BYTES, Kind, Tag, fits, keys


def test_an_owners_key_called_all_is_not_everything() -> None:
    [tag] = keys(["all"])
    assert tag == Tag(Kind.KEY, "all")
    assert tag not in (EVERYTHING, Tag(Kind.ALL, "all"))
    assert keys([""]) != (EVERYTHING,)


def test_keys_keep_their_order_without_repetition() -> None:
    assert [tag.value for tag in keys(["b", "a", "b"])] == ["b", "a"]


@pytest.mark.parametrize("key", ["x", "é", "x" * MAX_KEY_BYTES, "é" * (MAX_KEY_BYTES // 2), "all", "a b", "\0"])
def test_what_fits_can_be_logged(key: str) -> None:
    assert fits(key)
    record = PurgeRecord("id", keys([key]), 0.0)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(record), type=PurgeRecord) == record


@pytest.mark.parametrize("key", ["", "x" * (MAX_KEY_BYTES + 1), "é" * (MAX_KEY_BYTES // 2 + 1), "\udcff", "a\ud800b"])
def test_what_does_not_fit(key: str) -> None:
    assert not fits(key)
