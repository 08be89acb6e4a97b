"""How long an answer may be served. Each case names the rule."""

import math

import pytest

from edgecache.core.demands import NOTHING, Demands
from edgecache.core.freshness import MAX_TTL, Lifetime
from edgecache.wire.freshness import LONGEST, demands, lifetime, parse_directives

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


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ('a="x,y", b', {"a": "x,y", "b": ""}),
        (r'a="x\",y", b=1', {"a": r"x\",y", "b": "1"}),
        ('a="never closed, b', {"a": "never closed, b"}),
        ('a="ends in a backslash\\', {"a": "ends in a backslash\\"}),
        (", ,a,,", {"a": ""}),
        ("A=1, a=2", {"a": "1"}),
        ('"quoted, as a whole"', {'"quoted, as a whole"': ""}),
    ],
)
def test_directives_are_apart_where_no_quotes_hold_them_together(value: str, found: dict[str, str]) -> None:
    """RFC 9110 section 5.6.4."""
    assert parse_directives(value) == found


@pytest.mark.parametrize("filler", ["a,", '"', '"\\', "a=", 'a",', ", "])
@pytest.mark.parametrize("field", ["cache-control", "pragma"])
def test_a_field_too_long_to_read_is_never_as_if_it_were_not_there(filler: str, field: str) -> None:
    """Reading it would hold up everybody, and what it forbids could stand anywhere in it."""
    found = demands({field: filler * (LONGEST + 1)})
    assert found.no_cache
    assert found.no_store == (field == "cache-control")


@pytest.mark.parametrize("field", ["cdn-cache-control", "surrogate-control", "cache-control"])
def test_an_answer_whose_field_is_too_long_is_not_stored(field: str) -> None:
    found = of({field: "max-age=60" + ", a" * LONGEST}, obey=True)
    assert (found.ttl, found.forbidden is None) == (0, False)


@pytest.mark.parametrize("filler", ["a", '"a', '"\\', "a=", 'a"', '"', '\\"', "\\"])
def test_no_field_takes_longer_than_its_length(filler: str) -> None:
    """What is read at all, as long as it can be: a pattern that goes back would not come to an end."""
    value = filler * (LONGEST // len(filler))
    parse_directives(value)
    of({"surrogate-control": value})


@pytest.mark.parametrize(
    ("value", "asked"),
    [
        ("max-stale", Demands(max_stale=math.inf)),
        ("max-stale=5", Demands(max_stale=5)),
        ("max-stale=inf", Demands(max_stale=0)),
        ("max-age=inf", Demands(max_age=0)),
        ("min-fresh=inf", NOTHING),
        ("no-store, no-cache", Demands(no_store=True, no_cache=True)),
    ],
)
def test_what_is_no_number_of_seconds_is_read_in_the_stricter_way(value: str, asked: Demands) -> None:
    """RFC 9111 section 1.2.2."""
    assert demands({"cache-control": value}) == asked
