"""`edgecache token`"""

import time
from typing import Annotated
from urllib.parse import quote

import typer
from rich.table import Table

from edgecache.commands.console import Admin, Config, Json, call, out, show

token = typer.Typer(help="Tokens for callers, for purging and for pushing.", no_args_is_help=True)

GRANTS = "traffic, purge, purge_select, purge_all, push, admin; repeat for more."


@token.command("create")
def create(
    name: str,
    scope: Annotated[str, typer.Option(help="Callers of one scope share answers; by default the token's name.")] = "",
    grant: Annotated[list[str] | None, typer.Option(help=GRANTS)] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Surrogate keys it may touch, as 'docs-*'; repeat.")] = None,
    tenant: Annotated[list[str] | None, typer.Option(help="Scopes whose answers it may touch; repeat.")] = None,
    config: Config = None,
    admin: Admin = "",
) -> None:
    """Make a token; it is shown once."""
    wanted = {
        "name": name,
        "scope": scope or name,
        "grants": grant or ["traffic"],
        "tags": tag or [],
        "tenants": tenant or [],
    }
    out.print(call(config, admin, "POST", "/admin/tokens", wanted)["token"])


@token.command("list")
def listing(config: Config = None, admin: Admin = "", as_json: Json = False) -> None:
    """All tokens, without their secrets."""
    answer = call(config, admin, "GET", "/admin/tokens")
    if as_json:
        out.print_json(data=answer)
        return
    table = Table("name", "scope", "grants", "tags", "tenants", "created", box=None)
    for found in answer["tokens"]:
        limits = [" ".join(found.get(limit, ())) or "all" for limit in ("tags", "tenants")]
        created = time.strftime("%Y-%m-%d %H:%M", time.localtime(found["created"]))
        table.add_row(found["name"], found["scope"], " ".join(found["grants"]), *limits, created)
    show(table)


@token.command("revoke")
def revoke(name: str, config: Config = None, admin: Admin = "") -> None:
    """In force on this node when the command returns, on others within two seconds."""
    call(config, admin, "DELETE", f"/admin/tokens/{quote(name, safe='')}")
    out.print(f"revoked {name}")
