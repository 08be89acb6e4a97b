"""Server-sent events (WHATWG HTML, section 9.2): the same events however the bytes were cut on their way."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded import WRITTEN, recorded

from edgecache.wire import sse

BOM = b"\xef\xbb\xbf"
STREAMS = {
    "LF": b"data: a\n\ndata: b\n\n",
    "CRLF": b"data: a\r\n\r\ndata: b\r\n\r\n",
    "CR": b"data: a\r\rdata: b\r\r",
    "mixed": b"data: a\n\r\ndata: b\r\n\ndata: c\r\n\rdata: d\n\rdata: e\r\r\ndata: f\n\n",
    "comments": b": ping\n\n:\n\ndata: a\n: in between\ndata: b\n\n",
    "fields": b"event: x\nid: 7\nretry: 9\ndata: a\n\n",
    "several lines": b"data: a\ndata\ndata:\ndata: b\n\ndata:\ndata\n\n",
    "no space": b"data:a\n\ndata:  b\n\n",
    "empty lines": b"\n\n\n\ndata: a\n\n\n\n",
    "mark": BOM + b"data: a\n\n",
    "unfinished": b"data: a\n\ndata: b\n",
    **WRITTEN,
}


def cut(*chunks: bytes) -> tuple[list[bytes], bytes]:
    splitter = sse.EventSplitter()
    events = [event for chunk in chunks for event in splitter.feed(chunk)]
    return events, splitter.rest


def by_the_book(stream: bytes) -> list[bytes]:
    """The algorithm of section 9.2.6 as it is written there, over a whole stream."""
    found, lines = [], []
    text = stream.removeprefix(BOM).decode().replace("\r\n", "\n").replace("\r", "\n")
    for line in text.split("\n")[:-1]:
        name, _, value = line.partition(":")
        if not line:
            if lines and "\n".join(lines):
                found.append("\n".join(lines).encode())
            lines = []
        elif name == "data":
            lines.append(value.removeprefix(" "))
    return found


def payloads(events: list[bytes]) -> list[bytes]:
    return [payload for payload in map(sse.data, events) if payload is not None]


@pytest.mark.parametrize("name", STREAMS)
def test_every_split_reads_the_same(name: str) -> None:
    stream = STREAMS[name]
    whole = cut(stream)
    assert b"".join(whole[0]) + whole[1] == stream
    for position in range(len(stream) + 1):
        assert cut(stream[:position], stream[position:]) == whole
    assert cut(*(stream[at : at + 1] for at in range(len(stream)))) == whole


@pytest.mark.parametrize("name", STREAMS)
def test_the_payloads_are_those_of_the_standard(name: str) -> None:
    events, rest = cut(STREAMS[name])
    last = [rest] if rest.endswith(b"\r\r") else []
    assert payloads(events + last) == by_the_book(STREAMS[name])


def test_recorded_streams_split_anywhere() -> None:
    streams = recorded()
    assert streams
    for stream in streams.values():
        whole = cut(stream)
        assert payloads(whole[0])[-1] == b"[DONE]"
        for position in range(0, len(stream), 7):
            assert cut(stream[:position], stream[position:]) == whole


lines = st.sampled_from(
    [b"data: x", b"data:", b"data", b": c", b"event: e", b"datax: y", b"data : z", b"", b"\xef\xbb\xbf"]
)
ends = st.sampled_from([b"\n", b"\r", b"\r\n"])


@given(st.lists(st.tuples(lines, ends)), st.lists(st.integers(0, 200)))
def test_any_stream_split_anywhere(parts: list[tuple[bytes, bytes]], cuts: list[int]) -> None:
    stream = b"".join(line + end for line, end in parts)
    at = [0, *sorted(cuts), len(stream)]
    pieces = [stream[start:stop] for start, stop in itertools.pairwise(at)]
    events, rest = cut(*pieces)
    assert b"".join(events) + rest == stream
    assert (events, rest) == cut(stream)


@given(st.lists(st.tuples(lines.filter(lambda line: BOM not in line), ends)))
def test_any_stream_is_read_as_the_standard_says(parts: list[tuple[bytes, bytes]]) -> None:
    stream = b"".join(line + end for line, end in parts) + b"\nlast: line, so that nothing is pending\n\n"
    assert payloads(cut(stream)[0]) == by_the_book(stream)


def test_an_event_without_end_is_bounded() -> None:
    splitter = sse.EventSplitter(max_event=100)
    assert splitter.feed(b"data: " + b"x" * 90) == []
    with pytest.raises(ValueError, match="longer than 100 bytes"):
        splitter.feed(b"x" * 10)


def test_whole_events_are_not_counted_together() -> None:
    splitter = sse.EventSplitter(max_event=20)
    assert len(splitter.feed(b"data: 0123456789\n\n" * 50)) == 50


def test_what_is_left_of_a_cut_stream() -> None:
    assert cut(b"data: a\n\ndata: b\n") == ([b"data: a\n\n"], b"data: b\n")


def test_an_event_written_here_is_read_back() -> None:
    assert sse.data(sse.event(b'{"a":1}')) == b'{"a":1}'
    assert cut(sse.DONE) == ([sse.DONE], b"")


@pytest.mark.parametrize(
    ("event", "name"),
    [
        (b"event: error\ndata: x\n\n", b"error"),
        (b"event:error\r\n\r\n", b"error"),
        (b"\xef\xbb\xbfevent: error\n\n", b"error"),
        (b"event: error\revent: message\r\r", b"message"),
        (b"data: event: error\n\n", b""),
        (b": event: error\n\n", b""),
        (b"event\n\n", b""),
        (b"\n", b""),
    ],
)
def test_the_name_of_an_event(event: bytes, name: bytes) -> None:
    assert sse.name(event) == name
