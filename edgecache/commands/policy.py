"""`edgecache policy`"""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from edgecache.commands.console import Admin, Config, call, fail, out, settings_of, show
from edgecache.core.policy import Route
from edgecache.errors import InvalidPolicy
from edgecache.policy_book import read_policies

policy = typer.Typer(help="The rules of what is cached, and how.", no_args_is_help=True)


@policy.command("check")
def check(
    folder: Annotated[Path | None, typer.Argument(help="A folder of *.toml; the settings' if not given.")] = None,
    config: Config = None,
) -> None:
    """Report every mistake in the policy files, with file and key."""
    from edgecache.core.policy import parse_policy

    settings = settings_of(config)
    if folder is not None and not folder.is_dir():
        fail(f"There is no folder {folder}.", 2)
    try:
        found = parse_policy(read_policies(folder or Path(settings.policies)), tuple(u.name for u in settings.upstream))
    except InvalidPolicy as error:
        fail("\n".join(error.problems))
    table = Table("rule", "path", "models", "mode", "tiers", "ttl", box=None)
    for route in found.routes:
        tiers = " then ".join(route.tiers)
        table.add_row(route.name, _paths(route), " ".join(route.models), route.mode, tiers, f"{route.ttl:g} s")
    show(table)
    out.print(f"{len(found.routes)} rules, no mistakes, digest {found.digest}")


@policy.command("reload")
def reload(config: Config = None, admin: Admin = "") -> None:
    """Put the policy files in force without a restart."""
    answer = call(config, admin, "POST", "/admin/policy/reload")
    out.print(f"in force: {answer['in_force']}, {answer['routes']} rules")


def _paths(route: Route) -> str:
    return route.path if isinstance(route.path, str) else " ".join(route.path)
