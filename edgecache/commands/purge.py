"""`edgecache purge`"""

import sys
import time
from typing import Annotated, Any
from urllib.parse import quote

import msgspec
import typer
from rich.table import Table

from edgecache.client import PREVIEW, AdminClient, Refused
from edgecache.commands.console import Admin, Config, Json, fail, out, settings_of, show
from edgecache.commands.standing import count, nodes, warned, watch

KINDS = "--tag, --id, --url, --similar, --user, --route, --model and --all"


class Call(msgspec.Struct, frozen=True):
    """One call of the purge API, and in words what it takes."""

    path: str
    what: str
    body: dict[str, Any] | None = None


def purge(
    tag: Annotated[list[str] | None, typer.Option("--tag", "-t", help="A surrogate key; repeat for more.")] = None,
    entry: Annotated[str, typer.Option("--id", help="One answer, by its X-Edgecache-Id.")] = "",
    url: Annotated[str, typer.Option("--url", help="Every answer of a path (/...), or of a URL's path.")] = "",
    similar: Annotated[str, typer.Option("--similar", help="Answers to questions like this one; with --radius.")] = "",
    user: Annotated[str, typer.Option("--user", help="What was filled for this end user.")] = "",
    route: Annotated[str, typer.Option("--route", help="Every answer of a rule.")] = "",
    model: Annotated[str, typer.Option("--model", help="Every answer of a model.")] = "",
    everything: Annotated[bool, typer.Option("--all", help="Everything; of one scope with --scope.")] = False,
    radius: Annotated[float | None, typer.Option(help="Cosine distance, from 0 (the same) to 1.")] = None,
    scope: Annotated[str, typer.Option(help="Only what this tenant's callers asked.")] = "",
    service: Annotated[str, typer.Option(help="A service id, if not the settings'.")] = "",
    soft: Annotated[bool, typer.Option("--soft", help="Let it turn stale instead.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would go. Nothing is purged.")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Until all nodes have applied it.")] = True,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before everything is purged.")] = False,
    config: Config = None,
    admin: Admin = "",
    as_json: Json = False,
) -> None:
    """Take answers back. What this names is served no more, by no node, when the command returns."""
    named = {"id": entry, "url": url, "similar": similar, "user": user, "route": route, "model": model}
    _check({**named, "tag": tag, "all": everything}, radius, scope, service)
    settings = settings_of(config)
    call = _call(named, tag or [], radius, scope, service or settings.service)
    try:
        client = AdminClient.of(settings, admin)
        if dry_run:
            _preview(_hit(client, call), as_json)
            return
        if everything and not yes and sys.stdin.isatty():
            _confirm(client, call)
        _purge(client, call, soft=soft, wait=wait, as_json=as_json)
    except Refused as error:
        fail(str(error))


def _check(given: dict[str, Any], radius: float | None, scope: str, service: str) -> None:
    if sum(map(bool, given.values())) != 1:
        fail(f"Name one of {KINDS}.", 2)
    url = given["url"]
    if url and not url.startswith("/") and "://" not in url:
        fail(f"--url takes a path that begins with /, or a URL with its scheme; not {url!r}.", 2)
    if bool(given["similar"]) != (radius is not None):
        fail("--similar and --radius go together.", 2)
    if scope and not (given["similar"] or given["all"]):
        fail("--scope goes with --similar and --all.", 2)
    if service and (scope or not (given["tag"] or given["all"])):
        fail("--service goes with --tag and --all, without --scope.", 2)


def _call(named: dict[str, str], tags: list[str], radius: float | None, scope: str, service: str) -> Call:
    at = f"/service/{quote(service, safe='')}"
    if tags:
        return Call(f"{at}/purge", "these keys", {"surrogate_keys": tags})
    if named["similar"]:
        return Call("/purge/similar", "what is like it", {"text": named["similar"], "radius": radius, "scope": scope})
    if named["user"]:
        return Call("/purge/user", "what was filled for this user", {"user": named["user"]})
    if named["url"]:
        return Call(f"/purge/{quote(named['url'], safe='')}", "this path")
    for kind in ("id", "route", "model"):
        if named[kind]:
            return Call(f"/purge/{kind}/{quote(named[kind], safe='')}", f"this {kind}")
    if scope:
        return Call(f"/purge/scope/{quote(scope, safe='')}", f"everything of {scope}")
    return Call(f"{at}/purge_all", "everything")


# --- look -------------------------------------------------------------------------------------------------------------


def _confirm(client: AdminClient, call: Call) -> None:
    if not typer.confirm(f"Purge {call.what}: {_entries(_hit(client, call))}?", err=True):
        fail("Nothing was purged.")


def _hit(client: AdminClient, call: Call) -> Any:
    return client.call("POST", f"{call.path}?dry_run=1", call.body, seconds=PREVIEW)


def _preview(found: Any, as_json: bool) -> None:
    if as_json:
        out.print_json(data=found)
        return
    table = Table("id", "question", "tags", box=None)
    for example in found["examples"]:
        question = " ".join(example["question"].split())
        table.add_row(example["id"], question, " ".join(_owners(example["tags"])))
    if found["examples"]:
        show(table)
        out.print()
    out.print(f"would purge {_entries(found)}")


def _owners(tags: list[str]) -> list[str]:
    """Keys, without the tags that every entry has."""
    return [tag.removeprefix("key:") for tag in tags if tag.startswith("key:")]


def _entries(found: Any) -> str:
    if found["count"] is None:
        return "what cannot be counted now"
    least = "" if found["complete"] else "at least "
    unknown = f", and maybe {found['uncompared']:,} that are not embedded yet" if found["uncompared"] else ""
    return f"{least}{found['count']:,} {'entry' if found['count'] == 1 else 'entries'}{unknown}"


# --- purge ------------------------------------------------------------------------------------------------------------


def _purge(client: AdminClient, call: Call, *, soft: bool, wait: bool, as_json: bool) -> None:
    started = time.monotonic()
    answer = client.call("POST", call.path, call.body, {"Fastly-Soft-Purge": "1"} if soft else None)
    identity = answer["id"] if "id" in answer and not _is_of_keys(call) else next(iter(answer.values()))
    told = answer if not _is_of_keys(call) else {"status": "ok", "id": identity}
    if not as_json:
        out.print(f"purged, id {identity}" + (f": {_entries(told)}" if "count" in told else ""))
    if wait:
        standing = watch(client, identity, started)
        milliseconds = 1_000 * (time.monotonic() - started)
        told = {**told, **nodes(standing), "ms": round(milliseconds, 1)}
        if not as_json:
            out.print(f"{count(standing)}, {milliseconds:.0f} ms{warned(standing)}")
    if as_json:
        out.print_json(data=told)


def _is_of_keys(call: Call) -> bool:
    """Then the answer is key -> id, and a key may be called `id`."""
    return call.body is not None and "surrogate_keys" in call.body
