"""Server-sent events as bytes (WHATWG HTML, section 9.2): cut into events, never changed."""

import re

_END = re.compile(rb"(?>\r\n|[\r\n])(?>\r\n|[\r\n])")
_LINES = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"


class EventSplitter:
    """Cuts a byte stream into events, wherever its chunks happen to end. Each event keeps its bytes, blank line
    included.
    """

    def __init__(self, max_event: int = 16 << 20) -> None:
        self._rest = bytearray()
        self._max_event = max_event

    def feed(self, chunk: bytes) -> list[bytes]:
        """The events that `chunk` completes.

        Raises:
            ValueError: an event is longer than `max_event` bytes.
        """
        searched = max(0, len(self._rest) - 3)
        self._rest += chunk
        events = []
        start = 0
        while (end := _END.search(self._rest, searched)) and not self._may_grow(end):
            events.append(bytes(self._rest[start : end.end()]))
            start = searched = end.end()
        del self._rest[:start]
        if len(self._rest) > self._max_event:
            raise ValueError(f"an event is longer than {self._max_event} bytes")
        return events

    def _may_grow(self, end: re.Match[bytes]) -> bool:
        """A blank line that ends in CR at the end of what came may be the first half of CR LF."""
        return end.end() == len(self._rest) and self._rest.endswith(b"\r")

    @property
    def rest(self) -> bytes:
        """Bytes after the last whole event; not empty at the end of a stream that was cut."""
        return bytes(self._rest)


def events(whole: bytes) -> list[bytes]:
    """Whole events, cut apart."""
    return EventSplitter(len(whole) + 1).feed(whole)


def data(event: bytes) -> bytes | None:
    """The event's data, lines joined by a line feed; None for a comment or an event without data."""
    lines = [line.partition(b":") for line in _lines(event)]
    return b"\n".join(value.removeprefix(b" ") for name, _, value in lines if name == b"data") or None


def name(event: bytes) -> bytes:
    """The event's type; empty where it has none, which means `message`."""
    names = [
        value.removeprefix(b" ")
        for field, _, value in (line.partition(b":") for line in _lines(event))
        if field == b"event"
    ]
    return names[-1] if names else b""


def with_data(event: bytes, payload: bytes) -> bytes:
    """The event with other data; its other fields stay."""
    others = [line for line in _lines(event) if line and line.partition(b":")[0] != b"data"]
    lines = [*others, *(b"data: " + line for line in _LINES.split(payload))]
    return b"\n".join(lines) + b"\n\n"


def _lines(event: bytes) -> list[bytes]:
    """A byte order mark may stand before the first event of a stream."""
    return _LINES.split(event.removeprefix(_BOM))


def event(payload: bytes) -> bytes:
    """One event whose data is `payload` (a single line)."""
    return b"data: " + payload + b"\n\n"


DONE = event(b"[DONE]")
