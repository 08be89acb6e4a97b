"""How far a purge has come, as an operator sees it."""

import time
from typing import Any

from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

from edgecache.client import AdminClient
from edgecache.commands.console import err, fail

FIRST_LOOK, LONGEST_LOOK = 0.002, 0.1
"""Seconds between two looks; each is twice the one before."""
PATIENCE = 60.0
"""Seconds to wait for all nodes; a node that is cut off is waited for until its lease has run out."""


def watch(client: AdminClient, identity: str, started: float) -> Any:
    """How it stands when no node serves any more what was purged; shown meanwhile where someone looks on."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(20), TextColumn("{task.fields[late]}"))
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        shown = progress.add_task("in the log", total=None, late="")
        delay = FIRST_LOOK
        while True:
            standing = client.call("GET", f"/purge/progress/{identity}")
            late = f"waiting for {', '.join(standing['waiting'])}" if standing["waiting"] else ""
            acknowledged = len(standing["applied"])
            progress.update(shown, description=count(standing), completed=acknowledged, total=_all(standing), late=late)
            if standing["done"]:
                return standing
            if time.monotonic() - started > PATIENCE:
                fail(f"Not all nodes have applied it within {PATIENCE:g} s: {late or 'which is not known'}.")
            time.sleep(delay)
            delay = min(2 * delay, LONGEST_LOOK)


def _all(standing: Any) -> int:
    return len(standing["applied"]) + len(standing["waiting"]) + len(standing["blind"])


def count(standing: Any) -> str:
    unknown = f", {standing['unknown']}" if "unknown" in standing else ""
    return f"{len(standing['applied'])} of {_all(standing)} nodes{unknown}"


def nodes(standing: Any) -> dict[str, Any]:
    counts = {"applied": len(standing["applied"]), "blind": len(standing["blind"])}
    return {"nodes": counts, "serve_stale_routes": standing["serve_stale_routes"]}


def warned(standing: Any) -> str:
    """What nodes that are cut off do meanwhile."""
    if not standing["blind"]:
        return ""
    names, routes = ", ".join(standing["blind"]), ", ".join(standing["serve_stale_routes"])
    but = f", but by the rules {routes}, which chose to serve what may be stale" if routes else ""
    return f"; cut off: {names}: nothing is served from cache there{but}"
