"""The command line: what can be typed, put together."""

import logging
from typing import Annotated

import typer

from edgecache import __version__
from edgecache.commands.audit import audit
from edgecache.commands.console import out
from edgecache.commands.doctor import doctor
from edgecache.commands.models import models
from edgecache.commands.policy import policy
from edgecache.commands.purge import purge
from edgecache.commands.push import push
from edgecache.commands.serve import serve
from edgecache.commands.spend import spend
from edgecache.commands.token import token
from edgecache.commands.verify import verify

app = typer.Typer(
    help="A CDN in front of LLM APIs.", no_args_is_help=True, pretty_exceptions_enable=False, add_completion=True
)
for command in (serve, push, purge, audit, spend, verify, doctor):
    app.command()(command)
app.add_typer(policy, name="policy")
app.add_typer(token, name="token")
app.add_typer(models, name="models")


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
