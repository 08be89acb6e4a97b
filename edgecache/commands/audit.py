"""`edgecache audit`"""

import time
from typing import Annotated, Any

import typer
from rich.table import Table

from edgecache.commands.console import Admin, Config, Json, call, out, show


def audit(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000, help="Lines, the newest first.")] = 100,
    entry: Annotated[str, typer.Option("--id", help="The line of one purge.")] = "",
    config: Config = None,
    admin: Admin = "",
    as_json: Json = False,
) -> None:
    """Who purged or pushed what and when, and how many entries it has hit by now."""
    if entry:
        lines = [call(config, admin, "GET", f"/admin/audit/{entry}")]
    else:
        lines = call(config, admin, "GET", f"/admin/audit?limit={limit}")["lines"]
    if as_json:
        out.print_json(data=lines)
        return
    table = Table("when", "who", "what", "effect", "entries", "log", "id", box=None)
    for line in lines:
        table.add_row(*_row(line))
    show(table)


def _row(line: Any) -> tuple[str, ...]:
    more = line["of"] - len(line["what"])
    what = ", ".join(line["what"]) + (f" and {more} more" if more > 0 else "")
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(line["at"]))
    log = str(line["sequence"]) if line["sequence"] else "not known"
    return when, line["who"], what, line["effect"], str(line["entries"]), log, line["id"]
