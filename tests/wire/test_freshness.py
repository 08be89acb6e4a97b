"""How long an answer may be served. Each case names the rule."""

import pytest

from edgecache.core.freshness import MAX_TTL, Lifetime
from edgecache.wire.freshness import lifetime, parse_directives

DEFAULT = 100.0


def of(headers: dict[str, str], *, obey: bool = False) -> Lifetime:
    return lifetime(headers, default=Lifetime(DEFAULT), provider_cache_control=obey)


@pytest.mark.parametrize(
    ("headers", "ttl"),
    [
        ({}, DEFAULT),
        ({"cdn-cache-control": "max-age=60"}, 60),
        ({"cdn-cache-control": "max-age=60", "surrogate-control": "max-age=5", "cache-control": "no-store"}, 60),
        ({"surrogate-control": "max-age=5", "cache-control": "no-store"}, 5),
        ({"cdn-cache-control": "public"}, DEFAULT),
        ({"cdn-cache-control": "s-maxage=7, max-age=60"}, 7),
        ({"cdn-cache-control": " max-age=60 ,  must-revalidate"}, 60),
        ({"cdn-cache-control": "max-age=99999999999999"}, MAX_TTL),
    ],
)
def test_the_most_targeted_field_decides(headers: dict[str, str], ttl: float) -> None:
    """RFC 9213 section 2.2: the first field of the target list that is there, and no other."""
    assert of(headers).ttl == ttl


@pytest.mark.parametrize(
    "malformed",
    ["", "  ", ",", "max-age=60,", "=60", "max-age=", "no-store, =", '"no-store"', 'a="b', "Max-Age=60", "a b"],
)
def test_a_targeted_field_that_is_empty_or_malformed_is_as_if_it_were_not_there(malformed: str) -> None:
    """RFC 9213 section 2.1."""
    assert of({"cdn-cache-control": malformed}).ttl == DEFAULT
    assert of({"cdn-cache-control": malformed, "surrogate-control": "max-age=5"}).ttl == 5


@pytest.mark.parametrize(
    ("value", "ttl"),
    [
        ("max-age=10, max-age=60", 60),
        ("max-age=60;foo=bar", 60),
        ('max-age=60;foo="a, b", x=(1 2 "c,d");y', 60),
        ("no-store=?0, max-age=60", 60),
        ('ext="no-store, max-age=1", max-age=60', 60),
        ('ext="a \\", no-store, \\"", max-age=60', 60),
    ],
)
def test_a_targeted_field_is_a_dictionary(value: str, ttl: float) -> None:
    """RFC 9651 section 3.2: the last of a repeated key counts, parameters are apart, strings hold anything."""
    assert of({"cdn-cache-control": value}).ttl == ttl


@pytest.mark.parametrize("directive", ["no-store", "private", "no-cache", "no-store=?1", "max-age=60, no-store"])
@pytest.mark.parametrize("field", ["cdn-cache-control", "surrogate-control", "cache-control"])
def test_what_forbids_storing_names_who_did(field: str, directive: str) -> None:
    found = of({field: directive}, obey=True)
    assert found.ttl == 0
    assert (found.forbidden or "").startswith(f"{field}: ")


@pytest.mark.parametrize("value", ["no-cache", "no-store", "max-age=0", "private", "max-age=1"])
def test_a_providers_cache_control_is_asked_only_where_the_route_says_so(value: str) -> None:
    assert of({"cache-control": value}).ttl == DEFAULT
    assert of({"cache-control": value}, obey=True).ttl <= 1


@pytest.mark.parametrize("value", ["max-age=0", "max-age=x", "max-age=-5", "max-age=1.5", "s-maxage=, max-age=9"])
def test_no_or_an_invalid_freshness_is_stale(value: str) -> None:
    """RFC 9111 section 4.2.1: encouraged to consider responses with invalid freshness information stale."""
    found = of({"cache-control": value}, obey=True)
    assert found.ttl == 0
    assert found.forbidden == f"cache-control: {value}"


@pytest.mark.parametrize(
    ("value", "ttl"),
    [
        ("max-age=60", 60),
        ('Max-Age="60"', 60),
        ("MAX-AGE=60", 60),
        ("max-age=60, max-age=10", 60),
        ("public, , max-age=60,", 60),
        ('ext="x, no-store", max-age=60', 60),
        ('ext="x \\" no-store, private", max-age=60', 60),
        ("s-maxage=5, max-age=60", 5),
        ("", DEFAULT),
    ],
)
def test_cache_control_of_a_provider(value: str, ttl: float) -> None:
    """RFC 9111 section 5.2: names in any case, arguments as token or quoted, empty members of the list ignored."""
    assert of({"cache-control": value}, obey=True).ttl == ttl


@pytest.mark.parametrize("value", ['private="x-a, x-b", max-age=60', 'max-age=60, no-cache="set-cookie, x"'])
def test_a_qualified_directive_counts_as_an_unqualified_one(value: str) -> None:
    """RFC 9111 sections 5.2.2.4 and 5.2.2.7 allow that; it stores less, never more."""
    assert of({"cache-control": value}, obey=True).forbidden is not None


@pytest.mark.parametrize(
    ("value", "ttl"),
    [
        ("max-age=3600+600", 3600),
        ('content="ESI/1.0, x", max-age=30', 30),
        ("max-age=60, max-age=30;us", 60),
        ("max-age=30;us, max-age=60", 60),
        ("no-store;us", DEFAULT),
    ],
)
def test_surrogate_control(value: str, ttl: float) -> None:
    """Edge Architecture (W3C note) section 2.3: `max-age=fresh+stale`; what names a surrogate is not for us."""
    assert of({"surrogate-control": value}).ttl == ttl


def test_reading_directives() -> None:
    assert parse_directives('a, B=1 , c="x, y", a=2') == {"a": "", "b": "1", "c": "x, y"}
    assert parse_directives("") == {}
