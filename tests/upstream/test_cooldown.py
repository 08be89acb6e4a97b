"""For how long a target is asked last."""

from asking import Clock

from edgecache.upstream.cooldown import LONGEST, Cooldown


def test_each_time_in_a_row_twice_as_long_up_to_a_limit() -> None:
    clock = Clock()
    cooldown = Cooldown(5.0, clock)
    assert cooldown.left == 0
    seconds = []
    for _ in range(9):
        cooldown.unreachable()
        seconds.append(cooldown.left)
        clock.now += cooldown.left
    assert seconds == [5, 10, 20, 40, 80, 160, LONGEST, LONGEST, LONGEST]
    cooldown.answered()
    cooldown.unreachable()
    assert (cooldown.left, repr(cooldown)) == (5, "<Cooldown 5.0 s left>")


def test_what_fails_at_the_same_time_counts_once() -> None:
    cooldown = Cooldown(5.0, Clock())
    for _ in range(50):
        cooldown.unreachable()
    assert cooldown.left == 5


def test_an_answer_ends_it_but_not_what_the_target_said_itself() -> None:
    clock = Clock()
    cooldown = Cooldown(5.0, clock)
    cooldown.unreachable()
    cooldown.answered()
    assert cooldown.left == 0
    cooldown.told(30.0)
    cooldown.answered()
    assert cooldown.left == 30
    cooldown.told(10.0)
    assert cooldown.left == 30, "the later of two words does not shorten the first"
    clock.now += 30
    cooldown.told(None)
    assert cooldown.left == 5


def test_nothing_cools_longer_than_the_limit_whatever_it_says() -> None:
    cooldown = Cooldown(5.0, Clock())
    cooldown.told(1e9)
    assert cooldown.left == LONGEST
