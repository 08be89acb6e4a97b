"""RFC 9111 as pure rules: what may be stored, how long it is fresh, what tells requests apart, what a 304 updates."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecache.core.freshness import MAX_TTL, Lifetime
from edgecache.core.reuse import (
    KEPT_STALE,
    MAX_NAMES,
    Said,
    confirms,
    freshened,
    freshness,
    grace,
    initial_age,
    lifetime,
    nominate,
    seconds,
    united,
    why_not_stored,
)
from edgecache.wire.http_dates import format_date
from edgecache.wire.http_response import read_response

NOW = 1_800_000_000.0
HOUR = Lifetime(3_600.0)
STATUSES = st.sampled_from([200, 203, 301, 302, 404, 410, 500, 503, 599])
TIMES = st.integers(0, 2_000_000_000).map(float)


def said(status: int = 200, /, **headers: str) -> Said:
    return read_response(status, {name.replace("_", "-"): value for name, value in headers.items()}, NOW)


def fresh(said_status: int = 200, /, **headers: str) -> float:
    return freshness(said(said_status, **headers), NOW, HOUR.ttl)


class TestStoring:
    """RFC 9111 section 3."""

    @pytest.mark.parametrize("control", ["max-age=60", "s-maxage=60", "public", "MAX-AGE=60", 'max-age="60"'])
    def test_an_explicit_word_is_enough_for_any_final_status(self, control: str) -> None:
        assert why_not_stored(said(299, cache_control=control), authorized=False) is None

    def test_expires_is_an_explicit_word(self) -> None:
        assert why_not_stored(said(500, expires=format_date(NOW + 60)), authorized=False) is None

    @pytest.mark.parametrize("status", [201, 202, 302, 403, 502, 503, 599])
    def test_without_a_word_only_statuses_that_allow_a_guess(self, status: int) -> None:
        assert why_not_stored(said(status), authorized=False) == f"status {status}"
        assert why_not_stored(said(200), authorized=False) is None

    @pytest.mark.parametrize("status", [100, 206, 304])
    def test_what_is_not_whole_is_not_stored(self, status: int) -> None:
        assert why_not_stored(said(status, cache_control="max-age=60"), authorized=False) == f"status {status}"

    @pytest.mark.parametrize("word", ["no-store", "No-StOrE", "private", "private=x", "max-age=9, private"])
    def test_what_forbids_it(self, word: str) -> None:
        """Section 5.2.2.5 and 5.2.2.7; the form with names is read as the whole (allowed, and stricter)."""
        why = why_not_stored(said(cache_control=word), authorized=False)
        assert why is not None and why.startswith("cache-control: ")

    def test_must_understand(self) -> None:
        """Section 5.2.2.3: for a status that is known it takes back no-store, for others it forbids."""
        assert why_not_stored(said(599, cache_control="max-age=9, must-understand"), authorized=False) is not None
        both = said(200, cache_control="max-age=9, must-understand, no-store")
        assert why_not_stored(both, authorized=False) is None
        private = said(200, cache_control="max-age=9, must-understand, private")
        assert why_not_stored(private, authorized=False) == "cache-control: private"

    @pytest.mark.parametrize("vary", ["*", "Foo, *", ", *", ",".join(f"a{n}" for n in range(MAX_NAMES + 1))])
    def test_what_nothing_can_tell_apart(self, vary: str) -> None:
        """Section 4.1."""
        assert why_not_stored(said(cache_control="max-age=9", vary=vary), authorized=False) is not None

    @pytest.mark.parametrize(
        ("control", "stored"),
        [("max-age=9", False), ("", False), ("public", True), ("s-maxage=9", True), ("must-revalidate", True)],
    )
    def test_requests_with_authorization(self, control: str, stored: bool) -> None:
        """Section 3.5."""
        assert (why_not_stored(said(cache_control=control), authorized=True) is None) is stored

    def test_cookies_of_one_are_not_set_for_others(self) -> None:
        """Section 7.3 leaves it to caches; ours wants the origin's explicit word."""
        assert why_not_stored(said(cache_control="max-age=9", set_cookie="a=b"), authorized=False) == "set-cookie"
        assert why_not_stored(said(cache_control="public, max-age=9", set_cookie="a=b"), authorized=False) is None


class TestFreshness:
    """RFC 9111 section 4.2.1 and 4.2.2."""

    def test_the_order_of_what_counts(self) -> None:
        expires = format_date(NOW + 30)
        assert fresh(cache_control="max-age=10, s-maxage=20", expires=expires) == 20
        assert fresh(cache_control="max-age=10", expires=expires) == 10
        assert fresh(expires=expires, date=format_date(NOW)) == 30
        assert fresh(expires=expires, date=format_date(NOW + 10)) == 20
        assert fresh(expires=expires, date="not a date") == 30

    @pytest.mark.parametrize("expires", ["0", "", "Thu, 18 Aug 2050 02:01:18 AEST", format_date(NOW - 1)])
    def test_what_is_no_date_has_passed(self, expires: str) -> None:
        """Section 5.3."""
        assert fresh(expires=expires, last_modified=format_date(NOW - 1_000)) == 0

    @pytest.mark.parametrize("value", ["'60'", "-60", "60.0", "60a", "", "a60", "６０"])
    def test_an_age_that_is_none_is_stale(self, value: str) -> None:
        assert fresh(cache_control=f"max-age={value}") == 0

    def test_a_guess_is_a_tenth_and_bounded_by_the_route(self) -> None:
        assert fresh(date=format_date(NOW), last_modified=format_date(NOW - 1_000)) == 100
        assert fresh(date=format_date(NOW), last_modified=format_date(NOW - 1_000_000)) == HOUR.ttl
        assert fresh(599, last_modified=format_date(NOW - 1_000)) == 0
        assert fresh(599, cache_control="public", last_modified=format_date(NOW - 1_000)) == 100

    def test_fields_for_this_cache_come_first(self) -> None:
        """RFC 9213 section 2.2: they take the place of Cache-Control and Expires; the most specific first."""
        both = {"cache_control": "max-age=1", "expires": format_date(NOW + 5)}
        assert fresh(cdn_cache_control="max-age=60", surrogate_control="max-age=70", **both) == 60
        assert fresh(surrogate_control="max-age=70", **both) == 70
        assert fresh(surrogate_control="max-age=70;edgecache", **both) == 70
        assert fresh(surrogate_control="max-age=70;another", **both) == 1
        assert fresh(cdn_cache_control="max-age=", **both) == 1  # no Structured Field: as if it were not there
        assert why_not_stored(said(cdn_cache_control="no-store", cache_control="max-age=9"), authorized=False)
        assert not why_not_stored(said(cdn_cache_control="max-age=9", cache_control="no-store"), authorized=False)

    @pytest.mark.parametrize("word", ["must-revalidate", "proxy-revalidate", "s-maxage=9", "no-cache"])
    def test_who_is_never_served_stale(self, word: str) -> None:
        """Section 4.2.4."""
        assert lifetime(said(cache_control=f"max-age=9, {word}"), NOW, HOUR).strict
        assert not lifetime(said(cache_control="max-age=9"), NOW, HOUR).strict

    def test_no_cache_is_stored_to_be_validated(self) -> None:
        """Section 5.2.2.4."""
        life = lifetime(said(cache_control="no-cache, max-age=60", etag='"1"'), NOW, HOUR)
        assert life.ttl == 0 and life.strict

    def test_stale_windows_are_the_responses_own_or_the_routes(self) -> None:
        """RFC 5861 sections 3 and 4."""
        route = Lifetime(60, None, 5, 6)
        own = lifetime(said(cache_control="max-age=1, stale-while-revalidate=7, stale-if-error=8"), NOW, route)
        assert (own.stale_while_revalidate, own.stale_if_error) == (7, 8)
        routes = lifetime(said(cache_control="max-age=1"), NOW, route)
        assert (routes.stale_while_revalidate, routes.stale_if_error) == (5, 6)

    @given(st.text())
    def test_any_text_is_a_number_of_seconds_or_stale(self, value: str) -> None:
        """Section 1.2.2."""
        assert 0 <= seconds(value, 5.0) <= MAX_TTL
        assert seconds("9" * 30, 0) == MAX_TTL

    @given(STATUSES, st.text(), st.text(), st.text(), st.text())
    def test_no_header_breaks_a_rule(self, status: int, control: str, expires: str, age: str, vary: str) -> None:
        found = said(status, cache_control=control, expires=expires, age=age, vary=vary)
        life = lifetime(found, NOW, HOUR)
        assert 0 <= life.ttl <= MAX_TTL
        assert 0 <= initial_age(found, NOW - 1, NOW) <= 2 * MAX_TTL


class TestAge:
    """RFC 9111 section 4.2.3."""

    @given(st.integers(0, 10**9), TIMES, st.floats(0, 60), st.integers(-(10**6), 10**6))
    def test_the_corrected_initial_age(self, age: int, asked_at: float, delay: float, skew: int) -> None:
        answered_at = asked_at + delay
        date = math.floor(answered_at) - skew
        found = Said(
            status=200, field="", directives={}, age=float(age), date=float(date), expires=None, last_modified=None,
            validated=False, vary=(), sets_cookie=False,
        )  # fmt: skip
        corrected = initial_age(found, asked_at, answered_at)
        assert corrected >= min(age, 2 * MAX_TTL)  # never younger than a cache before this one said
        assert corrected >= min(max(0, skew), 2 * MAX_TTL)  # nor than its date
        assert corrected <= max(age + (answered_at - asked_at), abs(skew) + 1)

    def test_the_answers_way_counts(self) -> None:
        assert initial_age(said(age="10"), NOW - 2, NOW) == 12
        assert initial_age(said(age="10", date=format_date(NOW - 60)), NOW - 2, NOW) == 60
        assert initial_age(said(date=format_date(NOW + 60)), NOW, NOW) == 0

    @pytest.mark.parametrize("age", ["abc", "-7200", "7200.0", "7200, 0", "0, 0", "7200;foo=bar", "1" * 25])
    def test_an_age_that_cannot_be_read_is_older_than_anything(self, age: str) -> None:
        """Section 5.1 would let it be ignored; whoever cannot tell asks."""
        assert initial_age(said(age=age), NOW, NOW) > MAX_TTL


class TestGrace:
    def test_what_can_be_validated_is_kept_beyond_its_lifetime(self) -> None:
        assert grace(Lifetime(60, strict=True), 0, validated=True) == KEPT_STALE
        assert grace(Lifetime(60, strict=True), 0, validated=False) == 0
        assert grace(Lifetime(60), 0, validated=False) == KEPT_STALE
        assert grace(Lifetime(60, None, 10 * KEPT_STALE), 0, validated=False) == 10 * KEPT_STALE

    def test_what_came_stale_is_kept_as_long(self) -> None:
        assert grace(Lifetime(60), 100, validated=True) == KEPT_STALE + 40


class TestVary:
    """RFC 9111 section 4.1."""

    @pytest.mark.parametrize(("one", "other"), [("1, 2", "1,2"), (" 1 ,  2 ", "1,2"), ("", ""), ('"a,  b"', '"a,  b"')])
    def test_space_around_commas_tells_nothing_apart(self, one: str, other: str) -> None:
        assert nominate(("foo",), {"foo": one}) == nominate(("foo",), {"foo": other})

    @pytest.mark.parametrize(("one", "other"), [("1", "2"), ("a", "A"), ("1,2", "2,1"), ('"a,  b"', '"a, b"')])
    def test_all_else_does(self, one: str, other: str) -> None:
        assert nominate(("foo",), {"foo": one}) != nominate(("foo",), {"foo": other})
        assert nominate(("foo",), {"foo": one}) != nominate(("foo",), {})

    def test_case_means_nothing_in_languages_and_codings(self) -> None:
        assert nominate(("accept-language",), {"accept-language": "eN, De"}) == (("accept-language", b"en,de"),)

    @given(st.lists(st.sampled_from("abc")), st.lists(st.sampled_from("abc")))
    def test_names_come_together_in_one_order(self, some: list[str], more: list[str]) -> None:
        assert united(tuple(some), tuple(more)) == united(tuple(more), tuple(some)) == tuple(sorted({*some, *more}))


class TestUpdates:
    """RFC 9111 sections 3.2 and 4.3.4."""

    def test_a_304_replaces_fields_but_those_of_the_bytes(self) -> None:
        stored = (("ETag", '"1"'), ("X-A", "1"), ("X-A", "2"), ("Content-Encoding", "gzip"), ("X-B", "1"))
        new = (("x-a", "3"), ("Content-Encoding", "br"), ("Content-Length", "0"), ("X-C", "9"), ("etag", '"2"'))
        kept = (("ETag", '"1"'), ("Content-Encoding", "gzip"), ("X-B", "1"), ("x-a", "3"), ("X-C", "9"))
        assert freshened(stored, new) == kept

    @pytest.mark.parametrize(
        ("stored", "new", "same"),
        [('"1"', '"1"', True), ('"1"', None, True), (None, '"1"', True), ('"1"', '"2"', False), ('W/"1"', '"1"', True)],
    )
    def test_a_304_with_another_validator_is_about_another_response(
        self, stored: str | None, new: str | None, same: bool
    ) -> None:
        assert confirms(stored, new) is same
