"""Which answers of a canary break the promise."""

from edgecache.verify.history import History


def test_nothing_is_forbidden_before_anything_was_acknowledged() -> None:
    assert History().broken(1, 5.0) is None


def test_a_request_that_began_after_the_acknowledgement() -> None:
    history = History()
    history.forbid(2, 10.0, "the purge")
    assert history.broken(2, 10.5) is not None
    assert history.broken(1, 10.5) is not None
    assert history.broken(3, 10.5) is None


def test_a_request_that_was_on_its_way_may_be_answered_with_either() -> None:
    history = History()
    history.forbid(2, 10.0, "the purge")
    for begun in (9.0, 10.0):
        assert history.broken(1, begun) is None


def test_each_request_is_held_against_what_it_could_know() -> None:
    history = History()
    for version in range(100):
        history.forbid(version, float(version), f"purge {version}")
    for begun in range(1, 100):
        newest = history.broken(0, begun + 0.5)
        assert newest is not None and newest.why == f"purge {begun}"
        assert history.broken(begun, begun - 0.5) is None
