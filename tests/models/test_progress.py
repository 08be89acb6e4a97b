"""Bars for people, lines for logs."""

import io
import logging

import pytest
from rich.console import Console

from edgecache.models import Bars, Silent


def test_a_line_per_quarter_without_terminal(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with Bars(Console(file=io.StringIO(), force_terminal=False)) as bars:
        for done in range(101):
            bars.step("converting", done, 100)
    assert caplog.messages == [f"converting: {percent} %" for percent in (0, 25, 50, 75, 100)]


def test_a_bar_on_a_terminal() -> None:
    screen = io.StringIO()
    with Bars(Console(file=screen, force_terminal=True, width=80)) as bars:
        bars.step("converting", 1, 2)
        bars.step("converting", 2, 2)
        assert repr(bars) == "<Bars terminal=True labels=['converting']>"
    assert "converting" in screen.getvalue()
    assert "100%" in screen.getvalue()


def test_silence() -> None:
    Silent().step("x", 0, 0)
