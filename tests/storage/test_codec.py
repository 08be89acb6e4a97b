"""Entries as bytes and back; what cannot be read is absent, never a crash."""

import random
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from storage_samples import entry, purge

from edgecache.core.entry import Entry, Framing, Horizon, Scope, Source
from edgecache.core.tags import Kind, Tag
from edgecache.storage.codec import VERSION, Blobs, Codec, decode_record, encode_record

texts = st.text(max_size=20)
entries = st.builds(
    Entry,
    key=st.binary(min_size=16, max_size=16),
    scope=st.builds(Scope, texts),
    partition=st.binary(min_size=16, max_size=16),
    question=texts,
    vector=st.none() | st.binary(max_size=32),
    embedder=texts,
    tags=st.lists(st.builds(Tag, st.sampled_from(Kind), texts), max_size=4).map(tuple),
    horizon=st.builds(Horizon, texts, st.integers(0, 2**63 - 1)),
    stored_at=st.floats(allow_nan=False),
    ttl=st.floats(allow_nan=False),
    source=st.sampled_from(Source),
    route=texts,
    model=texts,
    dialect=texts,
    framing=st.sampled_from(Framing),
    content_type=texts,
    headers=st.lists(st.tuples(texts, texts), max_size=4).map(tuple),
    body=st.binary(max_size=64) | st.binary(max_size=8).map(lambda part: part * 1_000),
)


@given(entries)
def test_every_field_comes_back(stored: Entry) -> None:
    codec = Codec()
    blobs = codec.encode(stored)
    assert codec.decode(blobs) == stored
    assert codec.decode_head(blobs.head) == msgspec.structs.replace(stored, body=b"")


@given(st.data())
def test_any_damage_makes_an_entry_absent(data: st.DataObject) -> None:
    """A byte changed, a blob cut short: never an exception, never another answer."""
    codec = Codec()
    blobs = codec.encode(entry())
    field = data.draw(st.sampled_from(["head", "body"]))
    blob = getattr(blobs, field)
    at = data.draw(st.integers(0, len(blob) - 1))
    changed = data.draw(st.sampled_from([blob[:at], blob[:at] + bytes([blob[at] ^ 0x55]) + blob[at + 1 :]]))
    assert codec.decode(blobs._replace(**{field: changed})) is None
    assert codec.unreadable == 1


@given(st.binary(max_size=64), st.binary(max_size=64))
def test_noise_is_absent(head: bytes, body: bytes) -> None:
    assert Codec().decode(Blobs(head, body)) is None


def test_a_newer_version_is_absent() -> None:
    codec = Codec()
    blobs = codec.encode(entry())
    newer = Blobs(bytes([VERSION + 1]) + blobs.head[1:], blobs.body)
    assert codec.decode(newer) is None
    assert codec.decode_head(newer.head) is None
    assert codec.unreadable == 2
    assert "2 unreadable" in repr(codec)


def test_compression_is_used_where_it_pays() -> None:
    codec = Codec()
    text, noise = b"data: {}\n\n" * 1_000, random.Random(7).randbytes(10_000)
    assert len(codec.encode(entry(body=text)).body) < 200
    assert len(codec.encode(entry(body=noise)).body) == len(noise) + 6
    assert len(codec.encode(entry(body=b"a" * 100)).body) == 106


def test_threads_share_a_codec() -> None:
    """Zstandard contexts are not thread safe; each thread has its own."""
    codec = Codec()

    def round_trip(number: int) -> bool:
        stored = entry(number, body=f"{number} ".encode() * 20_000)
        return codec.decode(codec.encode(stored)) == stored

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(round_trip, range(200)))


def test_a_purge_comes_back_and_one_that_cannot_be_read_is_none() -> None:
    blob = encode_record(purge(1))
    assert decode_record(blob) == purge(1)
    for broken in (b"", blob[:-1], bytes([VERSION + 1]) + blob[1:]):
        assert decode_record(broken) is None


def test_a_purge_of_version_1_is_read() -> None:
    """It had an id, tags and a time."""
    payload = msgspec.msgpack.encode(("id-1", (("key", "key 1"),), 1_700_000_001.5))
    blob = struct.pack("<BBI", 1, 0, zlib.crc32(payload)) + payload
    assert decode_record(blob) == purge(1)
