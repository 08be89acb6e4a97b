"""Frames as they pass by (RFC 6455 section 5): what is given on, and what ends a connection."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Close, Frame, Opcode

from edgecache.wire.websocket import Code, Ending, Frames, accept, close_frame, is_key

LIMIT = 100_000
MASK = b"\x01\x02\x03\x04"


def written(opcode: Opcode, payload: bytes, *, masked: bool, final: bool = True) -> bytes:
    """As another library writes it."""
    return bytes(Frame(opcode, payload, final).serialize(mask=masked))


def messages(masked: bool) -> bytes:
    """Every opcode, every size of a length, fragments with a ping between them; the close frame is the last."""
    pieces = [
        written(Opcode.TEXT, b"", masked=masked),
        written(Opcode.TEXT, b"a" * 125, masked=masked),
        written(Opcode.BINARY, b"b" * 126, masked=masked, final=False),
        written(Opcode.PING, b"ping", masked=masked),
        written(Opcode.CONT, b"c" * 70_000, masked=masked, final=False),
        written(Opcode.CONT, b"", masked=masked),
        written(Opcode.PONG, b"", masked=masked),
        written(Opcode.CLOSE, Close(1000, "done").serialize(), masked=masked),
    ]
    return b"".join(pieces)


@pytest.mark.parametrize("masked", [True, False])
def test_bytes_are_given_on_however_they_are_cut(masked: bool) -> None:
    content = messages(masked)
    for size in (1, 2, 3, 7, 1_000, len(content)):
        frames = Frames(masked=masked, limit=LIMIT)
        given_on = b"".join(frames.feed(content[at : at + size]) for at in range(0, len(content), size))
        assert given_on == content
        assert (frames.closed, frames.gave_close, frames.fault) == (True, True, None)


@given(st.booleans(), st.lists(st.integers(0, 80_000), max_size=8), st.integers(0, 80_000))
def test_stopped_means_whole_frames(masked: bool, cuts: list[int], stop: int) -> None:
    """Wherever the bytes are cut, and whenever it is told to stop: what was given on ends with a frame."""
    content = messages(masked)
    edges = sorted({0, len(content), *(cut for cut in cuts if cut < len(content))})
    frames, given_on, last = Frames(masked=masked, limit=LIMIT), b"", 0
    for begin, end in pairwise(edges):
        if begin >= stop:
            frames.stop()
        given_on += frames.feed(content[begin:end])
        assert content.startswith(given_on)
        if frames.stopped:
            last = last or len(given_on)
            assert len(given_on) == last
    whole = Frames(masked=masked, limit=LIMIT)
    whole.feed(given_on)
    whole.stop()
    assert whole.stopped or not frames.stopped
    assert frames.closed


def test_nothing_follows_a_close_frame() -> None:
    close = written(Opcode.CLOSE, b"", masked=False)
    frames = Frames(masked=False, limit=LIMIT)
    assert frames.feed(close + written(Opcode.TEXT, b"more", masked=False)) == close
    assert frames.feed(b"and more") == b""


def test_after_a_stop_only_the_answer_to_ours_is_looked_for() -> None:
    first, second = written(Opcode.TEXT, b"x" * 10, masked=True), written(Opcode.TEXT, b"y" * 10, masked=True)
    frames = Frames(masked=True, limit=LIMIT)
    assert frames.feed(first[:8]) == first[:8]
    frames.stop()
    assert not frames.stopped
    assert frames.feed(first[8:] + second + written(Opcode.CLOSE, b"", masked=True)) == first[8:]
    assert (frames.stopped, frames.closed, frames.gave_close) == (True, True, False)


@pytest.mark.parametrize(
    ("masked", "content"),
    [
        (True, b"\x81\x00"),
        (False, b"\x81\x80"),
        (True, b"\x83\x80"),
        (True, b"\x8b\x80"),
        (True, b"\x89\xfe"),
        (True, b"\x09\x80"),
        (True, b"\x80\x80"),
        (False, b"\x01\x00\x81\x00"),
        (False, b"\x01\x00\x02\x00"),
    ],
)
def test_what_is_no_frame_is_given_to_nobody(masked: bool, content: bytes) -> None:
    good = written(Opcode.TEXT, b"good", masked=masked)
    frames = Frames(masked=masked, limit=LIMIT)
    assert frames.feed(good + content)[: len(good)] == good
    assert frames.fault is not None and frames.fault.code is Code.PROTOCOL_ERROR
    assert frames.stopped
    assert frames.feed(good) == b""


@pytest.mark.parametrize("sizes", [[11], [6, 5], [10, 1], [0, 11], [1 << 40]])
def test_a_message_has_a_largest_size(sizes: list[int]) -> None:
    """Known when the header of the frame is there that goes over it."""
    good = written(Opcode.BINARY, b"x" * 10, masked=False)
    frames = Frames(masked=False, limit=10)
    assert frames.feed(good) == good
    for number, size in enumerate(sizes):
        opcode = 0x2 if number == 0 else 0x0
        final = 0x80 if number == len(sizes) - 1 else 0
        frames.feed(bytes((opcode | final, 127)) + size.to_bytes(8, "big") + b"x" * (size if size < 100 else 5))
    assert frames.fault == Ending(Code.TOO_BIG, "a message is over 10 bytes")
    assert frames.feed(good) == b""


@pytest.mark.parametrize("mask", [b"", MASK])
@pytest.mark.parametrize("reason", ["", "bye", "ü" * 61 + "x", "x" + "ü" * 62, "x" * 500])
def test_a_close_frame_is_read_by_others(mask: bytes, reason: str) -> None:
    """Its reason is cut where a character ends."""
    frame = close_frame(Ending(Code.GOING_AWAY, reason), mask)
    passing = Frames(masked=bool(mask), limit=LIMIT)
    assert passing.feed(frame) == frame
    assert passing.closed
    payload = frame[6:] if mask else frame[2:]
    plain = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload)) if mask else payload
    read = Close.parse(plain)
    assert read.code == 1001
    assert reason.startswith(read.reason)
    assert len(read.reason.encode()) >= min(122, len(reason.encode()))


def test_the_handshake_of_the_rfc() -> None:
    """Section 1.3."""
    assert accept("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.mark.parametrize(
    ("value", "good"),
    [
        ("dGhlIHNhbXBsZSBub25jZQ==", True),
        ("", False),
        ("dGhlIHNhbXBsZSBub25j", False),
        ("dGhlIHNhbXBsZSBub25jZQ= ", False),
        ("dGhlIHNhbXBsZSBub25jZW1v", False),
        ("dGhlIHNhbXBsZSBub25jZ\u00fc==", False),
    ],
)
def test_what_can_be_a_key(value: str, good: bool) -> None:
    assert is_key(value) is good
