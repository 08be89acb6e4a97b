"""An event loop whose time passes at once when nobody has anything to do.

    run_virtual(main())     # an hour of sleeping takes no time, and the same seed gives the same order of everything

Threads and sockets have no part in it: what would run in a thread runs at once.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Leap(selectors.DefaultSelector):
    """Instead of waiting for a timer, moves the clock to it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("everybody waits for something that will not come")
        self.now += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """`time()` is in seconds and begins at 0."""

    def __init__(self) -> None:
        self._leap = _Leap()
        super().__init__(self._leap)

    def time(self) -> float:
        return self._leap.now

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> "asyncio.Future[T]":  # type: ignore[override]
        future = self.create_future()
        future.set_result(func(*args))
        return future


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """As `asyncio.run`."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
