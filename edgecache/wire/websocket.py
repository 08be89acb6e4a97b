"""WebSocket frames as they pass by (RFC 6455 section 5): where each begins and ends, and nothing of what is in them."""

import base64
import hashlib
import struct
from enum import IntEnum
from typing import Final

import msgspec

MOST_REASON: Final = 123
"""Bytes of a close frame's reason: a control frame has 125, two of them the code (section 5.5)."""

_ACCEPT_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""What the answer to a handshake is made with (section 1.3)."""
_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_KNOWN: Final = frozenset({_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG})
_SHORT = struct.Struct("!H")
_LONG = struct.Struct("!Q")


class Code(IntEnum):
    """Why a connection is closed (section 7.4.1 and IANA's registry), of the codes that are said here."""

    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    POLICY_VIOLATION = 1008
    TOO_BIG = 1009
    BAD_GATEWAY = 1014


class Ending(msgspec.Struct, frozen=True):
    """What a close frame says."""

    code: Code
    reason: str = ""


class Frames:
    """One direction of a connection. `masked`: what comes is a client's (section 5.3). `limit` is the largest message
    in bytes as they are sent: compressed, where the two ends agreed on that.

    A frame is given on from when its header is whole and allowed. Once `stopped`, what was given on are whole frames
    and nothing more is: then a frame of ours may follow. From there on only the close frame that answers it counts.
    """

    def __init__(self, *, masked: bool, limit: int) -> None:
        self.fault: Ending | None = None
        self.stopped = False
        self.closed = False
        self.gave_close = False
        self._masked = masked
        self._limit = limit
        self._held = b""
        self._left = 0
        self._stopping = False
        self._lost = False
        self._message: int | None = None

    def stop(self) -> None:
        """Give on no frame that has not begun."""
        self._stopping = True
        self.stopped = self.stopped or self._left == 0

    def feed(self, content: bytes) -> bytes:
        """What may be given on. After a `fault`, or a close frame (section 5.5.1), nothing more."""
        content = self._held + content
        at = self._skip(len(content), 0)
        end = 0 if self.stopped else at
        self.stopped = self.stopped or (self._stopping and self._left == 0)
        while self._left == 0 and not self._lost and not self.closed and at < len(content):
            header = self._header(content, at)
            if header == 0:
                break
            at = self._skip(len(content), at + header)
            end = end if self.stopped else at
        self._held = content[at:] if not self._lost and not self.closed else b""
        return content[:end]

    def _skip(self, size: int, at: int) -> int:
        """Past what there is of the current frame's payload."""
        step = min(self._left, size - at)
        self._left -= step
        return at + step

    def _header(self, content: bytes, at: int) -> int:
        """The size of the header that begins here, 0 where it is not whole, or must not be. Begins its frame."""
        if len(content) < at + 2:
            return 0
        opcode, final, length = content[at] & 0x0F, bool(content[at] & 0x80), content[at + 1] & 0x7F
        if problem := self._problem(opcode, final, bool(content[at + 1] & 0x80), length):
            self._break(problem)
            return 0
        extended = {126: 2, 127: 8}.get(length, 0)
        size = 2 + extended + (4 if self._masked else 0)
        if len(content) < at + size:
            return 0
        if extended:
            (length,) = (_SHORT if extended == 2 else _LONG).unpack_from(content, at + 2)
        self._begin(opcode, final, length)
        return size

    def _problem(self, opcode: int, final: bool, masked: bool, length: int) -> str | None:
        """The reserved bits are for the two ends to judge: extensions use them. `length` is that of the second byte."""
        if masked != self._masked:
            return "a client's frames are masked, a server's are not"
        if opcode not in _KNOWN:
            return "a frame's opcode is unknown"
        if opcode >= _CLOSE and (length > 125 or not final):
            return "a control frame is short and whole"
        if opcode < _CLOSE and (opcode == _CONTINUATION) != (self._message is not None):
            return "a message's frames are out of order"
        return None

    def _begin(self, opcode: int, final: bool, length: int) -> None:
        if opcode < _CLOSE:
            message = (self._message or 0) + length
            if message > self._limit:
                self._fail(Ending(Code.TOO_BIG, f"a message is over {self._limit:,} bytes"))
            self._message = None if final else message
        self._left = length
        self.closed = opcode == _CLOSE
        self.gave_close = self.closed and not self.stopped

    def _break(self, problem: str) -> None:
        """What comes after it cannot be read."""
        self._lost = True
        self._fail(Ending(Code.PROTOCOL_ERROR, problem))

    def _fail(self, fault: Ending) -> None:
        self.fault = self.fault or fault
        self.stopped = True

    def __repr__(self) -> str:
        state = "stopped" if self.stopped else "closed" if self.closed else f"{self._left:,} bytes left"
        return f"<Frames {'masked' if self._masked else 'plain'} {state}{f' {self.fault}' if self.fault else ''}>"


def close_frame(ending: Ending, mask: bytes = b"") -> bytes:
    """A close frame; `mask`, four bytes, for one to a server (section 5.3)."""
    payload = _SHORT.pack(ending.code) + ending.reason.encode()[:MOST_REASON].decode(errors="ignore").encode()
    if not mask:
        return bytes((0x80 | _CLOSE, len(payload))) + payload
    masked = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))
    return bytes((0x80 | _CLOSE, 0x80 | len(payload))) + mask + masked


def accept(key: str) -> str:
    """What a server answers to the client's `Sec-WebSocket-Key` (section 4.2.2)."""
    return base64.b64encode(hashlib.sha1(key.encode() + _ACCEPT_GUID).digest()).decode()


def is_key(value: str) -> bool:
    """Whether this can be a `Sec-WebSocket-Key`: 16 bytes in base64 (section 4.1)."""
    try:
        return len(value) == 24 and len(base64.b64decode(value, validate=True)) == 16
    except ValueError:
        return False
