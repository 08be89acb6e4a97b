"""What all commands share: where they print, how they fail, the settings."""

from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from edgecache.client import AdminClient, Refused
from edgecache.errors import InvalidSettings
from edgecache.settings import Settings, load

out = Console(markup=False, highlight=False, soft_wrap=True)
err = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)

Config = Annotated[Path | None, typer.Option("--config", "-c", envvar="EDGECACHE_CONFIG", help="Settings file.")]
Admin = Annotated[str, typer.Option("--admin", help="Admin address, if not the settings'.")]
Json = Annotated[bool, typer.Option("--json", help="Print what the node answered.")]


def fail(message: str, code: int = 1) -> NoReturn:
    err.print(message, style="red")
    raise typer.Exit(code)


def show(table: Table) -> None:
    """As wide as it needs to be: a path that is cut short says nothing."""
    needed = out.measure(table, options=out.options.update(max_width=10_000)).maximum
    Console(width=needed, markup=False, highlight=False).print(table)


def settings_of(config: Path | None) -> Settings:
    try:
        return load(config)
    except InvalidSettings as error:
        fail("The settings cannot be used:\n  " + "\n  ".join(error.problems), 2)


def call(config: Path | None, admin: str, method: str, path: str, body: Any = None) -> Any:
    """One call to the node; a refusal ends the command."""
    try:
        return AdminClient.of(settings_of(config), admin).call(method, path, body)
    except Refused as error:
        fail(str(error))
