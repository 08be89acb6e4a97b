"""What can be ordered, up to each limit and one beyond, in every spelling."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecache.core.entry import Scope
from edgecache.core.tags import EVERYTHING, Kind, Tag, keys
from edgecache.errors import BadRequest
from edgecache.purge import orders


def test_up_to_256_keys_of_up_to_1024_bytes() -> None:
    assert orders.by_keys([f"k{n}" for n in range(256)]) == keys(f"k{n}" for n in range(256))
    assert orders.by_keys(["x" * 1_024]) == keys(["x" * 1_024])
    assert orders.by_keys(["é" * 512]) == keys(["é" * 512])
    assert orders.by_keys(["a", "b", "a"]) == keys(["a", "b"])


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ([], "No surrogate keys"),
        ([f"k{n}" for n in range(257)], "257 surrogate keys"),
        (["x" * 1_025], "this one 1025"),
        (["é" * 513], "this one 1026"),
        (["fine", ""], "this one 0"),
        (["\udcff"], "1 to 1024 bytes"),
    ],
)
def test_what_cannot_be_ordered_by_key(values: list[str], why: str) -> None:
    with pytest.raises(BadRequest, match=why):
        orders.by_keys(values)


def test_an_id_is_what_answers_carry() -> None:
    name = bytes(range(16)).hex()
    assert orders.by_id(name) == (Tag(Kind.ID, name),)
    for wrong in ("", name[:-1], name + "0", name.upper(), "g" * 32, " " + name[1:]):
        with pytest.raises(BadRequest, match="32 hexadecimal digits"):
            orders.by_id(wrong)


CHAT = "/v1/chat/completions"


@pytest.mark.parametrize(
    "target",
    [
        CHAT,
        "example.com" + CHAT,
        "example.com:8080" + CHAT,
        "https://example.com" + CHAT,
        "HTTP://user@example.com:81" + CHAT,
        "example.com" + CHAT + "?stream=1",
        "example.com/v1/chat/%63ompletions",
        quote(CHAT, safe=""),
        quote("example.com" + CHAT, safe=""),
        quote("https://example.com" + CHAT, safe=""),
        quote("https://example.com" + CHAT),
        quote("https://example.com" + CHAT, safe="").lower(),
    ],
)
def test_a_url_in_every_spelling_is_its_path(target: str) -> None:
    assert orders.by_url(target) == (Tag(Kind.URL, CHAT),)


@given(st.text(min_size=1, max_size=20).filter(lambda text: text.isprintable()))
def test_a_path_quoted_by_a_client_is_the_path_that_requests_named(text: str) -> None:
    path = "/" + quote(text)  # as a request's target has it
    tag = orders.url_tag(path)
    assert tag in orders.intrinsic(scope=Scope("s"), route="r", model="m", path=path)
    assert orders.by_path(path) == (tag,)
    assert orders.by_url("host" + path) == (tag,)
    assert orders.by_url(quote("host" + path, safe="")) == (tag,)
    assert orders.by_url(quote("https://host" + path, safe="")) == (tag,)


@pytest.mark.parametrize("path", ["/a%2520b", "/a%3Fb", "/proxy/https://other/v1", "//double", "/%ff", "/"])
def test_a_path_is_unquoted_once(path: str) -> None:
    """A second time made another path of it: PURGE took something else back, or nothing."""
    assert orders.by_path(path) == (orders.url_tag(path),)
    assert orders.by_url("host" + path) == (orders.url_tag(path),)
    assert orders.by_url(quote("host" + path, safe="")) == (orders.url_tag(path),)


def test_bytes_that_are_not_utf8_are_one_path_in_both_spellings() -> None:
    raw = b"/caf\xe9".decode("utf-8", "surrogateescape")
    assert orders.url_tag(raw) == orders.url_tag("/caf%e9") == orders.url_tag("/caf%E9")
    raw.encode("utf-8", "surrogateescape")
    orders.url_tag(raw).value.encode()  # fit for the log


def test_a_query_is_not_part_of_it() -> None:
    assert orders.url_tag("/a?b=/c") == Tag(Kind.URL, "/a")


def test_nothing_named_purges_nothing() -> None:
    with pytest.raises(BadRequest, match="host and path"):
        orders.by_url("")


def test_everything_is_a_tag_that_no_owner_can_name() -> None:
    assert orders.everything() == (EVERYTHING,)
    assert EVERYTHING not in orders.by_keys(["all", "*"])


@pytest.mark.parametrize("kind", [Kind.ROUTE, Kind.MODEL, Kind.SCOPE])
def test_by_name(kind: Kind) -> None:
    assert orders.by_name(kind, "a b/é") == (Tag(kind, "a b/é"),)
    for wrong in ("", "x" * 1_025, "\udcff"):
        with pytest.raises(BadRequest, match=f"Name the {kind}"):
            orders.by_name(kind, wrong)


def test_a_users_tag_tells_nothing_and_depends_on_the_secret() -> None:
    tags = [orders.user_tag(user, secret) for user in ("ada", "bob", "ada ") for secret in (b"one", b"two")]
    assert len(set(tags)) == len(tags)
    assert tags[0] == orders.user_tag("ada", b"one")
    assert orders.by_user("ada", b"one") == (tags[0],)
    assert {tag.kind for tag in tags} == {Kind.USER}
    assert {len(tag.value) for tag in tags} == {32}
    orders.user_tag("\udcff", b"x")


def test_a_users_tag_is_the_same_in_every_version() -> None:
    """What is stored carries it."""
    assert orders.user_tag("Ada Lovelace", b"one").value == "be705b7bad29303ceb29c35ee0d59399"


def test_all_of_a_long_secret_counts() -> None:
    one, two = (orders.user_tag("ada", b"x" * 64 + end) for end in (b"1", b"2"))
    assert one != two


def test_nobody_is_no_user() -> None:
    with pytest.raises(BadRequest, match="Name the user"):
        orders.by_user("", b"one")
