"""Surrogate keys under all their names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecache.core.entry import MAX_TAGS
from edgecache.core.tags import MAX_HEADER_BYTES, MAX_KEY_BYTES, fits
from edgecache.wire.surrogate import TAG_HEADERS, problems, response_keys, split_keys


@pytest.mark.parametrize(
    ("name", "value", "keys"),
    [
        ("surrogate-key", "a b  c\td", ("a", "b", "c", "d")),
        ("surrogate-key", "a,b c", ("a,b", "c")),
        ("surrogate-key", "  ", ()),
        ("cache-tag", "a, b ,c,,", ("a", "b", "c")),
        ("cache-tag", "a b,c", ("a b", "c")),
        ("edge-cache-tag", "a,b", ("a", "b")),
        ("xkey", "a b,c", ("a", "b", "c")),
        ("cache-groups", '"a", "b c";x=1', ("a", "b c")),
        ("cache-groups", '"a\\"b", "a\\"b"', ('a"b',)),
        ("cache-groups", 'a, "b", 1, ("c" "d"), ?1, :aGk=:', ("b",)),
        ("cache-groups", '"a" "b"', ()),
        ("cache-groups", '"a", "b', ()),
        ("cache-groups", '"\u00e9"', ()),
        ("cache-groups", "", ()),
        ("x-other", "a", ()),
    ],
)
def test_each_header_is_read_in_its_own_way(name: str, value: str, keys: tuple[str, ...]) -> None:
    """Cache-Groups: RFC 9875 section 2, a list of strings; other members are not groups."""
    assert response_keys({name: value}) == keys


def test_all_headers_count_together_without_repetition() -> None:
    headers = {
        "xkey": "a e",
        "surrogate-key": "b a",
        "cache-tag": "c",
        "edge-cache-tag": "d",
        "cache-groups": '"f", "a"',
    }
    assert sorted(response_keys(headers)) == ["a", "b", "c", "d", "e", "f"]


def test_what_cannot_be_a_key_is_left_out() -> None:
    long = "x" * (MAX_KEY_BYTES + 1)
    assert response_keys({"surrogate-key": f"a {long} b {'y' * MAX_KEY_BYTES}"}) == ("a", "b", "y" * MAX_KEY_BYTES)


@pytest.mark.parametrize("name", TAG_HEADERS[:4])
def test_bytes_that_are_not_utf8_make_no_key(name: str) -> None:
    """Neither here nor in a purge, so that no key is one thing here and another there."""
    separator = "," if "tag" in name else " "
    assert response_keys({name: separator.join(["a", "caf\udce9", "b"])}) == ("a", "b")
    assert not fits("caf\udce9")


@pytest.mark.parametrize("name", TAG_HEADERS)
def test_more_keys_than_an_entry_has_are_one_more(name: str) -> None:
    """Which tells that the response cannot be stored with all of them; all 9,600 took 3 ms, and 60 ms at each hit."""
    quote = '"' if name == "cache-groups" else ""
    separator = " " if name == "surrogate-key" else ","
    for many in (MAX_TAGS + 1, 300, 3_000):
        value = separator.join(f"{quote}key-{number:05}{quote}" for number in range(many))
        assert len(response_keys({name: value})) == MAX_TAGS + 1
    value = separator.join(f"{quote}key-{number:05}{quote}" for number in range(MAX_TAGS))
    assert response_keys({name: value}) == tuple(f"key-{number:05}" for number in range(MAX_TAGS))


def test_no_key_of_a_long_header_is_lost() -> None:
    """Those beyond 16,384 bytes were, and the answer was stored without them."""
    many = [f"{number:03}{'x' * 1_000}" for number in range(20)]
    assert response_keys({"surrogate-key": " ".join(many)}) == tuple(many)


def test_a_header_that_just_fits_counts_whole() -> None:
    keys = ["x" * 1_023] * 15 + ["y" * 1_024]
    value = " ".join(f"{number:02}{key[2:]}" for number, key in enumerate(keys))
    assert len(value) == MAX_HEADER_BYTES
    assert len(response_keys({"surrogate-key": value})) == 16


def test_keys_of_a_purge() -> None:
    assert split_keys(" b a  b\tc ") == ("b", "a", "c")
    assert split_keys("") == ()


@given(st.text(min_size=1, max_size=10).filter(lambda key: not set(key) & set(" \t")))
def test_a_key_is_the_same_on_a_response_and_in_a_purge(key: str) -> None:
    assert response_keys({"surrogate-key": f"a {key}"}) == split_keys(f"a {key}")


@pytest.mark.parametrize(
    ("keys", "length", "says"),
    [
        (("a", "b"), 3, []),
        (("x" * 1_024,), 1_024, []),
        (("x" * 1_025,), 1_025, ["key of 1025 bytes, at most 1024"]),
        (("\u00e9" * 513,), 1_026, ["key of 1026 bytes, at most 1024"]),
        (("",), 0, ["key of 0 bytes, at least 1"]),
        (("caf\udce9",), 4, ["key that is not UTF-8"]),
        (("a",), MAX_HEADER_BYTES, []),
        ([str(number) for number in range(257)], 1_000, ["257 surrogate keys, at most 256"]),
        (("a",), MAX_HEADER_BYTES + 1, ["Surrogate-Key header of 16385 bytes, at most 16384"]),
    ],
)
def test_why_keys_cannot_be_used(keys: tuple[str, ...], length: int, says: list[str]) -> None:
    assert problems(keys, length=length) == says


@given(st.sampled_from(TAG_HEADERS), st.text(alphabet=st.characters(exclude_categories=()), max_size=40))
def test_any_header_gives_keys_that_fit(name: str, value: str) -> None:
    found = response_keys({name: value})
    assert all(fits(key) for key in found)
    assert len(set(found)) == len(found)


@given(st.text(alphabet='"\\,;=() ?:%@a1*-.\u00e9\x00', max_size=30))
def test_any_cache_groups_give_keys_that_fit(value: str) -> None:
    assert all(fits(key) for key in response_keys({"cache-groups": value}))
