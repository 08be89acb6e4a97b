"""The command line: serve, purge, policy, token, models, doctor."""

import asyncio
import logging
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn
from urllib.parse import quote

import typer
from rich.console import Console
from rich.table import Table

from edgecache import __version__
from edgecache.client import AdminClient, Refused
from edgecache.doctor import examine
from edgecache.errors import EdgecacheError, InvalidPolicy, InvalidSettings, Problems
from edgecache.logs import configure
from edgecache.models.progress import Bars
from edgecache.policy_book import read_policies
from edgecache.settings import Settings, load

app = typer.Typer(
    help="A CDN in front of LLM APIs.", no_args_is_help=True, pretty_exceptions_enable=False, add_completion=True
)
policy = typer.Typer(help="The rules of what is cached, and how.", no_args_is_help=True)
token = typer.Typer(help="Tokens for callers and for purging.", no_args_is_help=True)
models = typer.Typer(help="The models that run on this node.", no_args_is_help=True)
app.add_typer(policy, name="policy")
app.add_typer(token, name="token")
app.add_typer(models, name="models")

out = Console(markup=False, highlight=False, soft_wrap=True)
err = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)

Config = Annotated[Path | None, typer.Option("--config", "-c", envvar="EDGECACHE_CONFIG", help="Settings file.")]
Admin = Annotated[str, typer.Option("--admin", help="Admin address, if not the settings'.")]


def _fail(message: str, code: int = 1) -> NoReturn:
    err.print(message, style="red")
    raise typer.Exit(code)


def _show(table: Table) -> None:
    """As wide as it needs to be: a path that is cut short says nothing."""
    needed = out.measure(table, options=out.options.update(max_width=10_000)).maximum
    Console(width=needed, markup=False, highlight=False).print(table)


def _settings(config: Path | None) -> Settings:
    try:
        return load(config)
    except InvalidSettings as error:
        _fail("The settings cannot be used:\n  " + "\n  ".join(error.problems), 2)


@app.command()
def serve(config: Config = None) -> None:
    """Serve requests until SIGTERM or Ctrl-C."""
    settings = _settings(config)
    configure(settings.log)
    from edgecache import app as node  # here, so that other commands start without the models' libraries
    from edgecache.weights import cache_folder, preparations

    try:
        with Bars(err) as bars:
            for prepare in preparations(settings.embedding, settings.local, cache_folder(), bars):
                prepare()
        _run(node.run(settings, Bars(err)))
    except Problems as error:
        _fail("Cannot start:\n  " + "\n  ".join(error.problems), 2)
    except EdgecacheError as error:
        _fail(f"Cannot start: {error}")


def _run(main: Any) -> None:
    if sys.platform == "win32":
        asyncio.run(main)
        return
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)


@app.command()
def purge(
    tag: Annotated[list[str] | None, typer.Option("--tag", "-t", help="A surrogate key; repeat for more.")] = None,
    entry: Annotated[str, typer.Option("--id", help="One answer, by its X-Edgecache-Id.")] = "",
    url: Annotated[str, typer.Option("--url", help="Every answer of a path (/...), or of a URL's path.")] = "",
    everything: Annotated[bool, typer.Option("--all", help="Everything.")] = False,
    config: Config = None,
    admin: Admin = "",
) -> None:
    """Take answers back. What this names is served no more when the command returns."""
    if sum(map(bool, (tag, entry, url, everything))) != 1:
        _fail("Name one of --tag, --id, --url and --all.", 2)
    if url and not url.startswith("/") and "://" not in url:
        _fail(f"--url takes a path that begins with /, or a URL with its scheme; not {url!r}.", 2)
    settings = _settings(config)
    try:
        identity = AdminClient.of(settings, admin).purge(keys=tag or [], entry=entry, url=url)
    except Refused as error:
        _fail(str(error))
    out.print(f"purged, id {identity}")


@policy.command("check")
def policy_check(
    folder: Annotated[Path | None, typer.Argument(help="A folder of *.toml; the settings' if not given.")] = None,
    config: Config = None,
) -> None:
    """Report every mistake in the policy files, with file and key."""
    from edgecache.core.policy import parse_policy

    settings = _settings(config)
    if folder is not None and not folder.is_dir():
        _fail(f"There is no folder {folder}.", 2)
    try:
        found = parse_policy(read_policies(folder or Path(settings.policies)), tuple(u.name for u in settings.upstream))
    except InvalidPolicy as error:
        _fail("\n".join(error.problems))
    table = Table("rule", "path", "models", "mode", "tiers", "ttl", box=None)
    for route in found.routes:
        tiers = " then ".join(route.tiers)
        table.add_row(route.name, route.path, " ".join(route.models), route.mode, tiers, f"{route.ttl:g} s")
    _show(table)
    out.print(f"{len(found.routes)} rules, no mistakes, digest {found.digest}")


@policy.command("reload")
def policy_reload(config: Config = None, admin: Admin = "") -> None:
    """Put the policy files in force without a restart."""
    try:
        answer = AdminClient.of(_settings(config), admin).call("POST", "/admin/policy/reload")
    except Refused as error:
        _fail(str(error))
    out.print(f"in force: {answer['in_force']}, {answer['routes']} rules")


@token.command("create")
def token_create(
    name: str,
    scope: Annotated[str, typer.Option(help="Callers of one scope share answers; by default the token's name.")] = "",
    grant: Annotated[list[str] | None, typer.Option(help="traffic, purge, admin; repeat for more.")] = None,
    config: Config = None,
    admin: Admin = "",
) -> None:
    """Make a token; it is shown once."""
    wanted = {"name": name, "scope": scope or name, "grants": grant or ["traffic"]}
    try:
        answer = AdminClient.of(_settings(config), admin).call("POST", "/admin/tokens", wanted)
    except Refused as error:
        _fail(str(error))
    out.print(answer["token"])


@token.command("list")
def token_list(config: Config = None, admin: Admin = "") -> None:
    """All tokens, without their secrets."""
    try:
        answer = AdminClient.of(_settings(config), admin).call("GET", "/admin/tokens")
    except Refused as error:
        _fail(str(error))
    table = Table("name", "scope", "grants", box=None)
    for found in answer["tokens"]:
        table.add_row(found["name"], found["scope"], " ".join(found["grants"]))
    _show(table)


@token.command("revoke")
def token_revoke(name: str, config: Config = None, admin: Admin = "") -> None:
    """In force on this node when the command returns, on others within two seconds."""
    try:
        AdminClient.of(_settings(config), admin).call("DELETE", f"/admin/tokens/{quote(name, safe='')}")
    except Refused as error:
        _fail(str(error))
    out.print(f"revoked {name}")


@models.command("prepare")
def models_prepare(config: Config = None) -> None:
    """Fetch, check and convert the models now, so that the first start needs no network."""
    settings = _settings(config)
    configure(settings.log)
    from edgecache.weights import cache_folder, preparations

    try:
        with Bars(err) as bars:
            folders = [prepare() for prepare in preparations(settings.embedding, settings.local, cache_folder(), bars)]
    except EdgecacheError as error:
        _fail(str(error))
    for folder in folders:
        out.print(str(folder))


@models.command("list")
def models_list(config: Config = None) -> None:
    """What the callers may call the local model, and where models are kept."""
    from edgecache.weights import cache_folder, local_names

    settings = _settings(config)
    out.print(f"local model: {', '.join(local_names(settings.local)) or 'none'}")
    out.print(f"embedding: {settings.embedding.model or 'all-MiniLM-L6-v2'} ({settings.embedding.backend})")
    out.print(f"kept in {cache_folder()}")


@app.command()
def doctor(config: Config = None) -> None:
    """Look at settings, policy, store, models and the running node, and say what is wrong."""
    settings = _settings(config)
    findings = asyncio.run(examine(settings))
    for finding in findings:
        out.print(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.what}: {finding.detail}")
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


@app.callback(invoke_without_command=True)
def version(
    show: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    if show:
        out.print(__version__)
        raise typer.Exit


def main() -> None:
    """Entry point of the command `edgecache`."""
    logging.captureWarnings(True)
    app()
