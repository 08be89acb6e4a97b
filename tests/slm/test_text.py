"""What may be shown, and when."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecache.slm.text import TextStream


def _feed(stream: TextStream, *pieces: bytes) -> list[str]:
    return [stream.feed(piece) for piece in pieces]


def test_half_a_character_is_kept_back() -> None:
    stream = TextStream(())
    fox = "🦊".encode()
    assert _feed(stream, b"a" + fox[:1], fox[1:3], fox[3:] + b"b") == ["a", "", "🦊b"]


def test_half_a_character_at_the_end_is_dropped() -> None:
    stream = TextStream(())
    assert _feed(stream, b"a", "é".encode()[:1]) == ["a", ""]
    assert stream.finish() == ""


def test_bytes_that_are_no_text_are_replaced() -> None:
    assert _feed(TextStream(()), b"a\xff", b"b") == ["a\ufffd", "b"]


def test_stop_string_over_pieces_never_comes_out() -> None:
    stream = TextStream(("\n\nUser:",))
    assert _feed(stream, b"Hello\n", b"\nUs", b"er", b": x") == ["Hello", "", "", ""]
    assert stream.stopped
    assert stream.finish() == ""
    assert stream.feed(b"more") == ""


def test_what_only_looked_like_a_stop_comes_out() -> None:
    stream = TextStream(("END",))
    assert _feed(stream, b"the E", b"N", b"D?"[1:], b"EN") == ["the ", "", "EN?", ""]
    assert not stream.stopped
    assert stream.finish() == "EN"


def test_earliest_of_several_stops() -> None:
    stream = TextStream(("world", "lo"))
    assert stream.feed(b"hello world") == "hel"


def test_empty_stop_stops_nothing() -> None:
    assert TextStream(("",)).feed(b"abc") == "abc"


@given(st.text(max_size=60), st.lists(st.text(min_size=1, max_size=4), max_size=3), st.data())
def test_any_cutting_gives_the_text_up_to_the_first_stop(text: str, stops: list[str], data: st.DataObject) -> None:
    raw = text.encode("utf-8", "ignore")
    text = raw.decode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=10)))
    pieces = [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    stream = TextStream(stops)
    shown = "".join(stream.feed(piece) for piece in pieces) + stream.finish()
    places = [place for place in map(text.find, stops) if place >= 0]
    # A stop that ends first wins while the text streams, so that what is shown is cut at one of the stops.
    if places:
        assert stream.stopped
        assert not any(stop in shown for stop in stops)
        assert text.startswith(shown)
    else:
        assert shown == text


@pytest.mark.parametrize("stop", ["aab", "aaab"])
def test_overlapping_prefixes(stop: str) -> None:
    stream = TextStream((stop,))
    shown = "".join(stream.feed(b"a") for _ in range(10))
    assert shown == "a" * (10 - len(stop) + 1)
    assert stream.feed(b"b") == ""
    assert stream.stopped
