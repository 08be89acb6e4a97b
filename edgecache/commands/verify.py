"""`edgecache verify`"""

import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import IO, Annotated

import msgspec
import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from edgecache.client import AdminClient, Refused
from edgecache.commands.console import Admin, Config, err, fail, out, settings_of
from edgecache.settings import Settings, address
from edgecache.verify import report
from edgecache.verify.cluster import Node
from edgecache.verify.findings import Findings, Summary, Violation, as_json
from edgecache.verify.run import NAME, Run, Wish

BROKEN, UNSEEN, INTERRUPTED = 1, 2, 130
"""Exit codes: violations; no violation, but not everything could be looked at; Ctrl-C."""


def verify(
    node: Annotated[
        list[str] | None, typer.Option(help="A node's traffic address; repeat. Else the settings'.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Of each canary: pushed, looked for, taken back.")] = 8,
    seconds: Annotated[float, typer.Option(min=0, help="For so long, instead of a number of rounds.")] = 0,
    concurrency: Annotated[int, typer.Option(min=1, max=64, help="Canaries at a time.")] = 4,
    lease: Annotated[float, typer.Option(min=0, help="The nodes' lease in seconds: wait=all may take as long.")] = 5.0,
    patience: Annotated[float, typer.Option(min=0, help="Seconds in which a push must be found everywhere.")] = 1.0,
    model: Annotated[str, typer.Option(help="The model that canaries are asked of: a rule must match it.")] = NAME,
    token: Annotated[str, typer.Option(help="May read, push and purge in --scope; else one is made.")] = "",
    scope: Annotated[str, typer.Option(help="The tenant of --token.")] = "",
    as_json_: Annotated[bool, typer.Option("--json", help="Print what was seen as JSON.")] = False,
    to: Annotated[Path | None, typer.Option("--out", help="Append each violation, as a line of JSON.")] = None,
    metrics: Annotated[Path | None, typer.Option(help="Write a *.prom file for node_exporter.")] = None,
    config: Config = None,
    admin: Admin = "",
) -> None:
    """Push, purge and re-read canaries on a running cluster, and see whether an older answer is served anywhere. Exits
    with 1 where one was, with 2 where not everything could be looked at.
    """
    if bool(token) != bool(scope):
        fail("--token and --scope go together.", UNSEEN)
    settings = settings_of(config)
    wish = Wish(
        canaries=concurrency, rounds=rounds, seconds=seconds or None, lease=lease, patience=patience, model=model,
        service=settings.service, token=token, scope=scope,
    )  # fmt: skip
    try:
        with to.open("ab") if to is not None else nullcontext() as file:
            nodes = [Node(url, settings.listen.tls_certificate) for url in node or [_own(settings)]]
            client = AdminClient.of(settings, admin) if not token else None
            run = Run(wish, nodes, client, Findings(_writer(file), time.time))
            code = _carry_out(run)
            summary = run.summary()
        if metrics is not None:
            report.export(summary, metrics, time.time())
    except (Refused, ValueError) as error:
        fail(str(error), UNSEEN)
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}", UNSEEN)
    _show(summary, as_json_)
    raise typer.Exit(BROKEN if summary.broken else code or (UNSEEN if summary.failures or not summary.rounds else 0))


def _own(settings: Settings) -> str:
    host, port = address(settings.listen.traffic)
    scheme = "https" if settings.listen.tls_certificate else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _carry_out(run: Run) -> int:
    columns = (TextColumn("verifying"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bars:
        task = bars.add_task("verifying", total=1.0)
        try:
            run(lambda share: bars.update(task, completed=share))
        except KeyboardInterrupt:
            return INTERRUPTED
    return 0


def _show(summary: Summary, as_json_: bool) -> None:
    if as_json_:
        out.print_json(data=as_json(summary))
        return
    for line in report.lines(summary):
        out.print(line, style="red" if line.startswith("VIOLATION") else None)


def _writer(file: IO[bytes] | None) -> Callable[[Violation], None]:
    """Violations as lines of a file, each as it is seen; nothing where there is no file."""

    def write(violation: Violation) -> None:
        if file is not None:
            file.write(msgspec.json.encode(violation) + b"\n")
            file.flush()

    return write
