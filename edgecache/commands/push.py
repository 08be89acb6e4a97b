"""`edgecache push`"""

import io
import os
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from edgecache.client import AdminClient, Refused
from edgecache.commands.console import Admin, Config, err, fail, out, settings_of
from edgecache.core.units import parse_duration
from edgecache.pushing import Defaults, Pusher, Sent

INTERRUPTED = 130
"""Exit code after Ctrl-C, as of a command that a signal ended."""


class Report:
    """What a file of `size` bytes (None: not known) has come to so far; refused lines are told as they come."""

    def __init__(self, size: int | None) -> None:
        self._started = time.monotonic()
        self._stored = 0
        self.refused = 0
        self._nodes = ""
        told = TextColumn("{task.fields[lines]:,} answers")
        columns = (TextColumn("pushing"), BarColumn(), TaskProgressColumn(), told, TimeRemainingColumn())
        self.bars = Progress(*columns, console=err, transient=True, disable=not err.is_terminal)
        self._bar = self.bars.add_task("pushing", total=size, lines=0)

    def __repr__(self) -> str:
        return f"<Report {self.summary()}>"

    def take(self, sent: Sent) -> None:
        self._stored += sent.stored
        self.refused += len(sent.wrong)
        for wrong in sent.wrong:
            err.print(f"line {wrong.number}: {wrong.why}", style="red")
        if sent.nodes is not None:
            self._nodes = _nodes(sent.nodes["applied"], sent.nodes["blind"])
        self.bars.update(self._bar, completed=sent.consumed, lines=self._stored + self.refused)

    def summary(self) -> str:
        seconds = time.monotonic() - self._started
        refused = f"; {self.refused:,} refused" if self.refused else ""
        answers = "answer" if self._stored == 1 else "answers"
        return f"{self._stored:,} {answers} pushed in {seconds:.1f} s{self._nodes}{refused}"


def _nodes(applied: int, blind: int) -> str:
    told = f", in force on {applied} {'node' if applied == 1 else 'nodes'}"
    return told + (f" ({blind} more cut off, which serve nothing from cache)" if blind else "")


def push(
    file: Annotated[Path, typer.Argument(help="JSON lines, gzipped or not; - is the standard input.")],
    scope: Annotated[
        str, typer.Option(help="Whose answers they are where a line does not say; else the token's.")
    ] = "",
    model: Annotated[str, typer.Option(help="The model asked for where a line does not say.")] = "",
    tag: Annotated[list[str] | None, typer.Option("--tag", "-t", help="A surrogate key of all; repeat.")] = None,
    ttl: Annotated[str, typer.Option(help="How long they are served where a line does not say, as 90s or 7d.")] = "",
    wait: Annotated[bool, typer.Option(help="Until no node serves what stood there before.")] = True,
    config: Config = None,
    admin: Admin = "",
) -> None:
    """Put answers on every node before anyone asks. A line is {"question": ..., "answer": ..., "model": ...}, and maybe
    "system", "tags", "ttl", "scope"; or {"request": {...}, "answer": ...}. An answer that is there is replaced.
    """
    defaults = Defaults(scope=scope, model=model, ttl=_duration(ttl), tags=tuple(tag or ()))
    try:
        pusher = Pusher(AdminClient.of(settings_of(config), admin), defaults, wait=wait)
        with _opened(file) as source:
            report = Report(os.fstat(source.fileno()).st_size or None)
            _push(pusher, source, report)
    except Refused as error:
        fail(str(error))
    except OSError as error:
        fail(f"{file}: {error.strerror}", 2)
    out.print(report.summary())
    if report.refused:
        raise typer.Exit(1)


def _opened(file: Path) -> AbstractContextManager[io.BufferedReader]:
    return nullcontext(sys.stdin.buffer) if str(file) == "-" else file.open("rb")  # type: ignore[arg-type]


def _push(pusher: Pusher, source: io.BufferedReader, report: Report) -> None:
    """Whatever ends it early, what is in place by then is told."""
    try:
        with report.bars:
            for sent in pusher.push(source):
                report.take(sent)
    except Refused as error:
        fail(f"{error}\n{report.summary()} before that")
    except KeyboardInterrupt:
        fail(f"interrupted; {report.summary()} before that", INTERRUPTED)


def _duration(text: str) -> str:
    try:
        parse_duration(text or 0)
    except ValueError as error:
        fail(f"--ttl: {error}", 2)
    return text
