"""Dates, preconditions, ranges, and what a change invalidates."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecache.wire.conditional import is_unmodified, of_not_modified, wanted_range
from edgecache.wire.http_dates import format_date, parse_date
from edgecache.wire.invalidation import changed_paths

NOW = 1_800_000_000.0
ONE = datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC).timestamp()


class TestDates:
    """RFC 9110 section 5.6.7."""

    @pytest.mark.parametrize(
        "text", ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
    )
    def test_all_three_forms(self, text: str) -> None:
        assert parse_date(text, NOW) == ONE

    @pytest.mark.parametrize(
        "text",
        ["", "0", "Sun, 6 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 UTC", "Sun, 06 Nov 1994 8:49:37 GMT",
         "Sun, 31 Feb 1994 08:49:37 GMT", "Sun, 06 Nov 1994 24:00:00 GMT", "Sun, 06 Foo 1994 08:49:37 GMT"],
    )  # fmt: skip
    def test_what_is_none(self, text: str) -> None:
        assert parse_date(text, NOW) is None

    def test_two_digits_are_at_most_fifty_years_ahead(self) -> None:
        assert (
            parse_date("Thursday, 18-Aug-50 02:01:18 GMT", NOW)
            == datetime(2050, 8, 18, 2, 1, 18, tzinfo=UTC).timestamp()
        )
        assert (
            parse_date("Thursday, 18-Aug-90 02:01:18 GMT", NOW)
            == datetime(1990, 8, 18, 2, 1, 18, tzinfo=UTC).timestamp()
        )

    @given(st.integers(0, 4_000_000_000))
    def test_what_is_written_is_read(self, at: int) -> None:
        assert parse_date(format_date(float(at)), NOW) == at

    @given(st.text())
    def test_nothing_breaks_it(self, text: str) -> None:
        parse_date(text, NOW)


class TestPreconditions:
    """RFC 9111 section 4.3.2, RFC 9110 section 13."""

    @pytest.mark.parametrize("listed", ['"a"', 'W/"a"', '"b", "a"', '"b" , W/"a"', "*"])
    def test_if_none_match_compares_weakly(self, listed: str) -> None:
        assert is_unmodified({"if-none-match": listed}, {"etag": '"a"'}, NOW)
        assert is_unmodified({"if-none-match": listed}, {"etag": 'W/"a"'}, NOW)

    @pytest.mark.parametrize("listed", ['"b"', '"a', "a", "", '"aa"'])
    def test_if_none_match_that_does_not(self, listed: str) -> None:
        assert not is_unmodified({"if-none-match": listed}, {"etag": '"a"'}, NOW)
        assert not is_unmodified({"if-none-match": listed}, {}, NOW)

    def test_if_none_match_is_asked_alone(self) -> None:
        request = {"if-none-match": '"b"', "if-modified-since": format_date(NOW)}
        assert not is_unmodified(request, {"etag": '"a"', "last-modified": format_date(NOW - 9)}, NOW)

    def test_if_modified_since(self) -> None:
        """Without Last-Modified the date counts."""
        request = {"if-modified-since": format_date(NOW - 5)}
        assert is_unmodified(request, {"last-modified": format_date(NOW - 5)}, NOW)
        assert not is_unmodified(request, {"last-modified": format_date(NOW - 4)}, NOW)
        assert is_unmodified(request, {"date": format_date(NOW - 6)}, NOW)
        assert not is_unmodified(request, {}, NOW)
        assert not is_unmodified({"if-modified-since": "0"}, {"date": format_date(NOW - 6)}, NOW)
        assert not is_unmodified({}, {"last-modified": format_date(NOW)}, NOW)

    def test_what_a_304_says_again(self) -> None:
        """RFC 9110 section 15.4.5."""
        headers = (("ETag", '"a"'), ("Content-Length", "9"), ("Vary", "foo"), ("X-Own", "1"), ("Content-Type", "a/b"))
        assert of_not_modified(headers) == (("ETag", '"a"'), ("Vary", "foo"))


class TestRanges:
    """RFC 9110 section 14."""

    @pytest.mark.parametrize(
        ("asked", "found"),
        [
            ("bytes=0-1", range(0, 2)),
            ("bytes=9-", range(9, 10)),
            ("bytes=-3", range(7, 10)),
            ("bytes=-30", range(0, 10)),
            ("bytes=5-99", range(5, 10)),
            ("bytes=10-", range(10, 10)),
            ("bytes=-0", range(10, 10)),
            ("Bytes=0-0", range(0, 1)),
            ("bytes=0-1,3-4", None),
            ("bytes=5-4", None),
            ("bytes=-", None),
            ("lines=0-1", None),
            ("", None),
        ],
    )
    def test_the_bytes_that_are_meant(self, asked: str, found: range | None) -> None:
        assert wanted_range({"range": asked}, {}, 10) == found

    @given(st.text(), st.integers(0, 20))
    def test_nothing_reaches_beyond_the_end(self, asked: str, size: int) -> None:
        found = wanted_range({"range": f"bytes={asked}"}, {}, size)
        assert found is None or not found or 0 <= found.start < found.stop <= size

    @pytest.mark.parametrize(
        ("validator", "honoured"),
        [('"a"', True), ('"b"', False), ('W/"a"', False), (format_date(NOW), True), (format_date(NOW + 1), False)],
    )
    def test_if_range(self, validator: str, honoured: bool) -> None:
        """Section 13.1.5: the very same, else all of it."""
        response = {"etag": '"a"', "last-modified": format_date(NOW)}
        found = wanted_range({"range": "bytes=0-1", "if-range": validator}, response, 10)
        assert (found is not None) is honoured


class TestChanges:
    """RFC 9111 section 4.4."""

    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "M-SEARCH", "UNHEARD-OF"])
    def test_methods_that_may_change_something(self, method: str) -> None:
        assert changed_paths(method, "/a", {"host"}, 204, {}) == ("/a",)
        assert changed_paths(method, "/a", {"host"}, 303, {}) == ("/a",)

    @pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "SEARCH", "QUERY"])
    def test_methods_that_do_not(self, method: str) -> None:
        assert changed_paths(method, "/a", {"host"}, 200, {"location": "/b"}) == ()

    @pytest.mark.parametrize("status", [400, 404, 500])
    def test_failures_change_nothing(self, status: int) -> None:
        assert changed_paths("POST", "/a", {"host"}, status, {"location": "/b"}) == ()

    @pytest.mark.parametrize(
        ("location", "path"),
        [("/b", "/b"), ("b?x=1", "/dir/b"), ("//host/c", "/c"), ("http://HOST/c", "/c"), ("http://host", "/")],
    )
    def test_what_the_response_names_of_the_same_origin(self, location: str, path: str) -> None:
        assert changed_paths("POST", "/dir/a", {"host"}, 201, {"location": location}) == ("/dir/a", path)
        assert changed_paths("POST", "/dir/a", {"host"}, 201, {"content-location": location}) == ("/dir/a", path)

    def test_what_the_origin_calls_itself_is_the_same_origin(self) -> None:
        response = {"location": "https://origin.internal:8443/b"}
        assert changed_paths("POST", "/a", {"host", "origin.internal:8443"}, 201, response) == ("/a", "/b")

    @pytest.mark.parametrize("location", ["//other/b", "http://other/b", "http://host:81/b", "http://[", "mailto:a"])
    def test_not_of_another_origin(self, location: str) -> None:
        assert changed_paths("POST", "/a", {"host", ""}, 201, {"location": location}) == ("/a",)
        assert changed_paths("POST", "/a", {"host"}, 201, {"location": location}) == ("/a",)
