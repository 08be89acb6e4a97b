"""Streams cut and split at every byte, as codecs see them."""

import pytest
from cassettes import Exchange, exchanges
from short_streams import short_streams

from edgecache.core.entry import Framing
from edgecache.core.reply import Closing
from edgecache.wire import sse
from edgecache.wire.dialect import Untellable
from edgecache.wire.dialects import BY_NAME

SHORT = short_streams()
STREAMS = [exchange for exchange in exchanges() if exchange.streamed]
ENDINGS = {"LF": b"\n", "CR LF": b"\r\n", "CR": b"\r"}


def named(exchange: Exchange) -> str:
    return exchange.name


@pytest.mark.parametrize("stream", SHORT, ids=named)
def test_a_cut_stream_is_not_stored(stream: Exchange) -> None:
    """At every byte; and the whole one is, so that it is the cut that counts."""
    codec = BY_NAME[str(stream.dialect)]
    assert codec.summarise(Framing.SSE, stream.answer).why_not_stored is None
    end = len(stream.answer)
    summaries = [codec.summarise(Framing.SSE, stream.answer[:cut]) for cut in range(end)]
    assert [cut for cut, summary in enumerate(summaries) if summary.why_not_stored is None] == []
    assert [cut for cut, summary in enumerate(summaries) if summary.finished] == []


@pytest.mark.parametrize("stream", STREAMS, ids=named)
def test_no_reader_sees_an_end_before_the_last_events(stream: Exchange) -> None:
    """Usage and `[DONE]` may follow the end."""
    if stream.dialect not in BY_NAME:
        return
    codec = BY_NAME[stream.dialect]
    reader = codec.reader()
    told: list[object] = []
    events = sse.EventSplitter().feed(stream.answer)
    for number, event in enumerate(events, 1):
        try:
            told += reader.feed(event)
        except Untellable:
            return
        assert number >= len(events) - 2 or not any(isinstance(delta, Closing) for delta in told)


@pytest.mark.parametrize("stream", SHORT, ids=named)
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_split_stream_reads_the_same(stream: Exchange, ending: str) -> None:
    """In two pieces, cut at every byte."""
    body = stream.answer.replace(b"\n", ENDINGS[ending])
    expected = sse.EventSplitter().feed(body + b"\n")  # a stream that ends in CR waits for a line feed
    for cut in range(len(body) + 1):
        splitter = sse.EventSplitter()
        assert splitter.feed(body[:cut]) + splitter.feed(body[cut:] + b"\n") == expected


@pytest.mark.parametrize("stream", STREAMS, ids=named)
def test_a_stream_that_comes_byte_by_byte_reads_the_same(stream: Exchange) -> None:
    splitter = sse.EventSplitter()
    pieces = (splitter.feed(stream.answer[at : at + 1]) for at in range(len(stream.answer)))
    assert [event for events in pieces for event in events] == sse.EventSplitter().feed(stream.answer)
    assert splitter.rest == b""
