"""Entries, log records and lines of the audit log as bytes, for every store alike.

A sealed blob is one version byte, one method byte (0 as it is, 1 Zstandard), the CRC-32 of the rest (4 bytes,
little-endian), and the rest. An entry is two of them: the head (everything but the body, MessagePack), which is all
that rebuilding an index reads, and the body, compressed where that pays.
"""

import asyncio
import hashlib
import struct
import threading
import zlib
from collections.abc import Callable
from typing import NamedTuple, ParamSpec, TypeVar

import msgspec
import zstandard

from edgecache.core.entry import Entry
from edgecache.core.ports import AuditLine
from edgecache.core.purges import PurgeRecord
from edgecache.errors import StoreUnavailable

VERSION = 2
"""Of entries, records and lines of the audit log alike. What an older edgecache wrote of entries is not read: it knew
nothing of soft purges and purges by meaning."""
RECORD_VERSIONS = (1, VERSION)
_PLAIN, _ZSTD = 0, 1
_PREFIX = struct.Struct("<BBI")

_SMALLEST_COMPRESSED = 256
"""Bytes; below this a frame's own header eats the gain."""
_QUICK = 32_768
"""Bytes that can be compressed on the event loop: about a tenth of a millisecond."""

_ENTRY = msgspec.msgpack.Decoder(Entry)
_RECORD = msgspec.msgpack.Decoder(PurgeRecord)
_LINE = msgspec.msgpack.Decoder(AuditLine)

P = ParamSpec("P")
T = TypeVar("T")


class Blobs(NamedTuple):
    """One entry, sealed."""

    head: bytes
    body: bytes


class Codec:
    """Entry <-> blobs, from any thread. Counts what it could not read: such an entry counts as absent."""

    def __init__(self) -> None:
        self._contexts = _Contexts()
        self._counting = threading.Lock()
        self._unreadable = 0

    def __repr__(self) -> str:
        return f"<Codec version {VERSION}, {self._unreadable} unreadable>"

    @property
    def unreadable(self) -> int:
        """Blobs that were damaged, or written by a newer version."""
        return self._unreadable

    def encode(self, entry: Entry) -> Blobs:
        """
        Raises:
            StoreUnavailable: a text of the entry is not Unicode (a lone surrogate).
        """
        try:
            head = msgspec.msgpack.encode(msgspec.structs.replace(entry, body=b""))
        except UnicodeEncodeError as error:
            raise StoreUnavailable(f"entry {entry.id} cannot be stored: {error}") from error
        return Blobs(_seal(head), self._seal_body(entry.body))

    def decode(self, blobs: Blobs, compared_to: int = 0) -> Entry | None:
        """None where either blob cannot be read. `compared_to` is what the store knows of it beside the head."""
        try:
            entry = _ENTRY.decode(_open(blobs.head)[1])
            body = self._open_body(blobs.body)
        except (_UnreadableError, msgspec.DecodeError, zstandard.ZstdError):
            self._count()
            return None
        return msgspec.structs.replace(entry, body=body, compared_to=max(entry.compared_to, compared_to))

    def decode_head(self, head: bytes, compared_to: int = 0) -> Entry | None:
        """As `decode`, with an empty body."""
        try:
            entry = _ENTRY.decode(_open(head)[1])
        except (_UnreadableError, msgspec.DecodeError):
            self._count()
            return None
        newer = compared_to > entry.compared_to
        return msgspec.structs.replace(entry, compared_to=compared_to) if newer else entry

    def _seal_body(self, body: bytes) -> bytes:
        if len(body) >= _SMALLEST_COMPRESSED:
            compressed = self._contexts.compressor.compress(body)
            if len(compressed) < 0.9 * len(body):
                return _seal(compressed, _ZSTD)
        return _seal(body)

    def _open_body(self, blob: bytes) -> bytes:
        method, body = _open(blob)
        return self._contexts.decompressor.decompress(body) if method == _ZSTD else body

    def _count(self) -> None:
        with self._counting:
            self._unreadable += 1


class _Contexts(threading.local):
    """Zstandard contexts, one pair for each thread: they must not be used by two at once."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(level=3)
        self.decompressor = zstandard.ZstdDecompressor()


class _UnreadableError(Exception):
    """Not a sealed blob of a version known here, or a damaged one."""


def _seal(payload: bytes, method: int = _PLAIN) -> bytes:
    return _PREFIX.pack(VERSION, method, zlib.crc32(payload)) + payload


def _open(blob: bytes, versions: tuple[int, ...] = (VERSION,)) -> tuple[int, bytes]:
    """Method and payload."""
    if len(blob) < _PREFIX.size:
        raise _UnreadableError("cut short")
    version, method, checksum = _PREFIX.unpack_from(blob)
    payload = blob[_PREFIX.size :]
    if version not in versions or method not in (_PLAIN, _ZSTD):
        raise _UnreadableError(f"version {version}, method {method}")
    if zlib.crc32(payload) != checksum:
        raise _UnreadableError("damaged")
    return method, payload


def encode_record(record: PurgeRecord) -> bytes:
    """
    Raises:
        StoreUnavailable: a text of the record is not Unicode (a lone surrogate).
    """
    try:
        return _seal(msgspec.msgpack.encode(record))
    except UnicodeEncodeError as error:
        raise StoreUnavailable(f"purge {record.id} cannot be logged: {error}") from error


def decode_record(blob: bytes) -> PurgeRecord | None:
    """None where it cannot be read: damaged, or written by a newer version."""
    try:
        return _RECORD.decode(_open(blob, RECORD_VERSIONS)[1])
    except (_UnreadableError, msgspec.DecodeError):
        return None


def encode_line(line: AuditLine) -> bytes:
    """
    Raises:
        StoreUnavailable: a text of the line is not Unicode (a lone surrogate).
    """
    try:
        return _seal(msgspec.msgpack.encode(line))
    except UnicodeEncodeError as error:
        raise StoreUnavailable(f"line {line.id} of the audit log cannot be written: {error}") from error


def decode_line(blob: bytes, hit: int) -> AuditLine | None:
    """With what was `hit` since it was written; None where it cannot be read."""
    try:
        line = _LINE.decode(_open(blob)[1])
    except (_UnreadableError, msgspec.DecodeError):
        return None
    return msgspec.structs.replace(line, entries=line.entries + hit)


def mark(entry: Entry) -> bytes:
    """8 bytes that tell states of one version apart: its tags, in whatever order they come, and those pending."""
    tags = (sorted(set(entry.tags)), sorted(set(entry.pending)))
    return hashlib.blake2b(msgspec.msgpack.encode(tags), digest_size=8).digest()


async def off_loop(size: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Codec work on about `size` bytes: where it would hold up the event loop, in a thread."""
    if size <= _QUICK:
        return work(*args, **kwargs)
    return await asyncio.to_thread(work, *args, **kwargs)
