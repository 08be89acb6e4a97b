"""`edgecache doctor`"""

import asyncio

import typer

from edgecache.commands.console import Config, out, settings_of
from edgecache.doctor import examine


def doctor(config: Config = None) -> None:
    """Look at settings, policy, store, models and the running node, and say what is wrong."""
    findings = asyncio.run(examine(settings_of(config)))
    for finding in findings:
        out.print(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.what}: {finding.detail}")
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)
