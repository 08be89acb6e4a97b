"""The table of what an attempt's end says, and how long `Retry-After` is."""

import pytest

from edgecache.upstream.verdict import Verdict, of_failure, of_opening, of_status, retry_after
from edgecache.wire.overload import Sign

NOW = 1_795_000_000.0


@pytest.mark.parametrize("own_key", [True, False])
@pytest.mark.parametrize("status", [200, 304, 400, 404, 408, 409, 422, 499])
def test_an_answer_is_an_answer(status: int, own_key: bool) -> None:
    assert of_status(status, None, own_key=own_key, ours=True) == Verdict(again=False, ok=True)


@pytest.mark.parametrize("status", [502, 503, 504, 529])
def test_overloads_go_on_and_count_and_cool_where_they_say_so(status: int) -> None:
    assert of_status(status, None, own_key=False, ours=False) == Verdict(again=True, ok=False)
    assert of_status(status, 9.0, own_key=False, ours=False) == Verdict(again=True, ok=False, cools=True, seconds=9.0)


def test_a_limit_cools_only_the_key_that_is_ours() -> None:
    assert of_status(429, 9.0, own_key=True, ours=True) == Verdict(again=True, ok=True, cools=True, seconds=9.0)
    assert of_status(429, 9.0, own_key=False, ours=True) == Verdict(again=True, ok=True, cools=False, seconds=9.0)


def test_a_key_of_ours_that_is_refused_goes_on_and_a_callers_does_not() -> None:
    assert of_status(401, None, own_key=True, ours=True) == Verdict(again=True, ok=True, cools=True)
    assert of_status(403, None, own_key=True, ours=True) == Verdict(again=True, ok=True)
    for status in (401, 403):
        assert of_status(status, None, own_key=False, ours=True) == Verdict(again=False, ok=True)


@pytest.mark.parametrize("status", [500, 501, 520, 524])
def test_errors_of_a_server_are_answers_and_count_where_the_request_was_read_here(status: int) -> None:
    assert of_status(status, None, own_key=True, ours=True) == Verdict(again=False, ok=False)
    assert of_status(status, None, own_key=True, ours=False) == Verdict(again=False, ok=True)


def test_no_answer() -> None:
    assert of_failure(reached=False) == Verdict(again=True, ok=False)
    assert of_failure(reached=True) == Verdict(again=False, ok=False)


def test_openings() -> None:
    assert of_opening(Sign.OVERLOADED, own_key=True) == Verdict(again=True, ok=False)
    assert of_opening(Sign.LIMITED, own_key=True) == Verdict(again=True, ok=True, cools=True)
    assert of_opening(Sign.LIMITED, own_key=False) == Verdict(again=True, ok=True)
    for sign in (Sign.CONTENT, Sign.OPENING):
        assert of_opening(sign, own_key=True) == Verdict(again=False, ok=True)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 7 ", 7.0),
        ("Wed, 18 Nov 2026 08:27:40 GMT", 1_794_990_460.0),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("9" * 12, None),
        ("\u0661", None),
    ],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    expected = seconds if seconds is None or seconds < 1e6 else max(0.0, seconds - NOW)
    assert retry_after([("retry-AFTER", value)], NOW) == expected


def test_a_date_ahead_is_the_time_until_then() -> None:
    assert retry_after([("Retry-After", "Wed, 18 Nov 2026 11:06:50 GMT")], NOW) == 10.0
    assert retry_after([], NOW) is None
