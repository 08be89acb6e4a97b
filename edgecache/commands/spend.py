"""`edgecache spend`"""

from collections.abc import Sequence
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.table import Table

from edgecache.commands.console import Admin, Config, Json, call, out, show


def spend(
    day: Annotated[str, typer.Option("--day", help="Scopes of this UTC day, as 2026-11-20, not since ever.")] = "",
    days: Annotated[int, typer.Option("--days", min=0, max=400, help="How many of the last days, by route.")] = 7,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000, help="Scopes, the costliest first.")] = 20,
    config: Config = None,
    admin: Admin = "",
    as_json: Json = False,
) -> None:
    """What answers cost, and what those from cache saved, by scope, route and day."""
    told = call(config, admin, "GET", f"/spend?day={quote(day, safe='')}&days={days}&limit={limit}")
    if as_json:
        out.print_json(data=told)
        return
    show(_table(told["scopes"], "scope", "route"))
    if told["of"] > len(told["scopes"]):
        out.print(f"and {told['of'] - len(told['scopes'])} more: --limit")
    if told["days"]:
        out.print()
        show(_table(told["days"], "day", "route"))
    if told["unpriced"]:
        out.print(f"\nno price, so no money: {', '.join(told['unpriced'])}")


def _table(rows: Sequence[Any], *names: str) -> Table:
    table = Table(*names, "asked", "tokens", "spent", "from cache", "tokens", "saved", box=None)
    for row in rows:
        table.add_row(*(row[name] for name in names), *_cells(row["spent"], row), *_cells(row["saved"], row))
    return table


def _cells(of: Any, row: Any) -> tuple[str, str, str]:
    money = "-" if of["money"] is None else f"{of['money']:,.4f} {row['currency']}"
    return f"{of['answers']:,}", f"{of['prompt_tokens'] + of['completion_tokens']:,}", money
