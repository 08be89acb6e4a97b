"""What an answer says of its way: Cache-Status in the forms of RFC 9211, Age, X-Cache and our own headers."""

from typing import Any

import http_sf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecache.core.entry import Source
from edgecache.core.trace import Trace
from edgecache.wire.cache_status import ID_HEADER, cache_status, explain


def trace(**told: Any) -> Trace:
    return Trace(route="r", **told)


def hit(**told: Any) -> Trace:
    return trace(id="ab", source=Source.UPSTREAM, model="m", hit=True, age=24, ttl=376, **told)


def miss(**told: Any) -> Trace:
    return trace(**{"id": "ab", "source": Source.UPSTREAM, "model": "m", "fwd": "miss", "fwd_status": 200, **told})


FORMS = {
    "exact": (hit(), "edgecache; hit; ttl=376"),
    "semantic": (hit(detail="semantic 0.962"), 'edgecache; hit; ttl=376; detail="semantic 0.962"'),
    "stored": (miss(stored=True), "edgecache; fwd=miss; fwd-status=200; stored"),
    "not stored": (
        miss(stored=False, detail="purged"),
        "edgecache; fwd=miss; fwd-status=200; stored=?0; detail=purged",
    ),
    "not known yet": (miss(), "edgecache; fwd=miss; fwd-status=200"),
    "collapsed": (miss(collapsed=True, fwd_status=0), "edgecache; fwd=miss; collapsed"),
    "collapsed and stored": (
        miss(collapsed=True, stored=True),
        "edgecache; fwd=miss; fwd-status=200; stored; collapsed",
    ),
    "bypass": (
        trace(fwd="bypass", fwd_status=200, detail="mode off"),
        'edgecache; fwd=bypass; fwd-status=200; detail="mode off"',
    ),
    "error": (miss(fwd_status=503), "edgecache; fwd=miss; fwd-status=503"),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms(form: str) -> None:
    told, header = FORMS[form]
    assert cache_status(told) == header
    assert explain(told, "node-1")["Cache-Status"] == header
    assert list(parsed(header)) == [name.partition("=")[0] for name in header.split("; ")[1:]]


@pytest.mark.parametrize(
    ("told", "name", "word"),
    [
        (hit(), "exact", "HIT"),
        (hit(detail="semantic 0.962"), "semantic", "HIT"),
        (miss(), "miss", "MISS"),
        (miss(detail="semantic 0.900 below 0.950"), "miss", "MISS"),
        (miss(collapsed=True), "collapsed", "MISS"),
        (miss(source=Source.LOCAL), "local", "MISS"),
        (miss(source=Source.LOCAL, collapsed=True), "collapsed", "MISS"),
        (miss(fwd_status=399), "miss", "MISS"),
        (miss(fwd_status=400), "error", "MISS"),
        (miss(fwd_status=503, collapsed=True), "error", "MISS"),
        (trace(fwd="bypass", fwd_status=200), "bypass", "BYPASS"),
        (trace(fwd="bypass", fwd_status=500), "bypass", "BYPASS"),
    ],
)
def test_names_for_metrics_and_the_word_for_people(told: Trace, name: str, word: str) -> None:
    assert told.name == name
    assert explain(told, "node-1")["X-Cache"] == word


def test_headers_of_a_hit() -> None:
    assert explain(hit(), "node-1") == {
        "X-Cache": "HIT",
        "X-Served-By": "node-1",
        ID_HEADER: "ab",
        "Age": "24",
        "Cache-Status": "edgecache; hit; ttl=376",
    }


def test_a_miss_has_no_age_and_a_bypass_no_id() -> None:
    assert "Age" not in explain(miss(), "node-1")
    assert explain(miss(), "node-1")[ID_HEADER] == "ab"
    assert ID_HEADER not in explain(trace(fwd="bypass"), "node-1")


def test_what_was_generated_here_was_in_no_cache() -> None:
    headers = explain(miss(source=Source.LOCAL, model="smollm2"), "node-1")
    assert headers["Edge-Source"] == "slm/smollm2"
    assert "Cache-Status" not in headers


def test_what_was_generated_here_and_stored_is_a_hit() -> None:
    headers = explain(trace(id="ab", source=Source.LOCAL, model="smollm2", hit=True, ttl=9), "node-1")
    assert headers["Edge-Source"] == "slm/smollm2"
    assert headers["Cache-Status"] == "edgecache; hit; ttl=9"


@pytest.mark.parametrize(
    ("detail", "written"),
    [
        ('say "hi"', r'"say \"hi\""'),
        ("a\\b", r'"a\\b"'),
        ("caf\u00e9 \u2713", '"caf? ?"'),
        ("a\r\nSet-Cookie: x\x7f\t", '"a??Set-Cookie: x??"'),
        ("\udcff", '"?"'),
        ("x" * 300, f'"{"x" * 200}"'),
        ('"' * 300, '"' + r"\"" * 200 + '"'),
    ],
)
def test_a_detail_is_quoted(detail: str, written: str) -> None:
    header = cache_status(miss(stored=False, detail=detail))
    assert header == f"edgecache; fwd=miss; fwd-status=200; stored=?0; detail={written}"


@given(st.text(st.characters(), max_size=300))
def test_any_detail_is_a_string_of_structured_fields(detail: str) -> None:
    found = parsed(cache_status(hit(detail=detail))).get("detail", "")
    assert found == "".join(one if " " <= one <= "~" else "?" for one in detail[:200])


def parsed(header: str) -> dict[str, Any]:
    """The parameters of the only member, read by the structured fields library (RFC 9651)."""
    [(name, parameters)] = http_sf.parse(header.encode("ascii"), tltype="list")
    assert str(name) == "edgecache"
    return dict(parameters)
