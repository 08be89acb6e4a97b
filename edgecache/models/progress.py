"""How long work shows that it is alive."""

import logging
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

logger = logging.getLogger(__name__)


class Progress(Protocol):
    """Told by the worker how far it is; called from the thread that works."""

    def step(self, label: str, done: int, total: int) -> None:
        """`done` of `total` units of the work called `label` are behind us; finished when they are equal."""


class Silent:
    """Shows nothing."""

    def step(self, label: str, done: int, total: int) -> None:
        """Nothing."""


class Bars:
    """Bars on a terminal, a log line per quarter of the work elsewhere. A context manager: leaving it ends the bars."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._tasks: dict[str, TaskID] = {}
        self._logged: dict[str, int] = {}
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"))
        self._bars = RichProgress(*columns, TimeRemainingColumn(), console=self._console)

    def __repr__(self) -> str:
        return f"<Bars terminal={self._console.is_terminal} labels={sorted(self._tasks | self._logged)}>"

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._bars.stop()

    def step(self, label: str, done: int, total: int) -> None:
        """Move the bar called `label`, or log that another quarter of it is done."""
        if self._console.is_terminal:
            self._draw(label, done, total)
        else:
            self._log(label, done, total)

    def _draw(self, label: str, done: int, total: int) -> None:
        task = self._tasks.get(label)
        if task is None:
            task = self._tasks[label] = self._bars.add_task(label, total=total)
        self._bars.update(task, completed=done, total=total)

    def _log(self, label: str, done: int, total: int) -> None:
        quarter = 4 * done // max(total, 1)
        if quarter > self._logged.get(label, -1):
            self._logged[label] = quarter
            logger.info("%s: %d %%", label, 25 * quarter)
