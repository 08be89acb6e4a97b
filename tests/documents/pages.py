"""Pages of an origin, and what a test asks of their answers."""

from typing import Any

from edgecache.testing.node import Clock, Node, Reply
from edgecache.testing.scripted_upstream import Answer, ScriptedUpstream
from edgecache.wire.http_dates import format_date

URL = "/pages/one"


def page(
    body: bytes = b"a page", *, status: int = 200, control: str = "max-age=60", chunks: Any = None, **headers: str
) -> Answer:
    """With these header fields, `_` for `-`. Without a date that can be read, unless a test gives one: the origin has
    not the test's clock.
    """
    own = {"Cache-Control": control} if control else {}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    fields = {"Content-Type": "text/plain", "Date": "", **own, **named}
    return Answer(status=status, headers=tuple(fields.items()), body=body, chunks=chunks)


def confirmed(**headers: str) -> Answer:
    """A 304."""
    return page(b"", status=304, control="", **headers)


async def get(node: Node, url: str = URL, **headers: str) -> Reply:
    return await node.ask("GET", url, headers={name.replace("_", "-"): value for name, value in headers.items()})


async def filled(node: Node, origin: ScriptedUpstream, answer: Answer, **headers: str) -> Reply:
    """Asked for, and stored."""
    origin.enqueue(answer)
    first = await get(node, **headers)
    await settled(node)
    assert said(first).endswith("; stored"), first
    return first


async def settled(node: Node) -> None:
    """Until no document is on its way."""
    while (await node.statistics())["documents"]["flying"]:
        pass


async def purge(node: Node, path: str, *, soft: bool = False, method: str = "POST") -> None:
    headers = {"Authorization": f"Bearer {node.admin_token}", **({"Fastly-Soft-Purge": "1"} if soft else {})}
    purged = await node.ask(method, path, headers=headers)
    assert purged.status == 200, purged


def said(reply: Reply) -> str:
    """How the answer came about."""
    return reply.headers["Cache-Status"]


def is_hit(reply: Reply) -> bool:
    return said(reply).startswith("edgecache; hit")


def at(clock: Clock, seconds: float = 0) -> str:
    """A date so many seconds from now."""
    return format_date(clock.now + seconds)


def asked(origin: ScriptedUpstream, number: int = -1) -> Any:
    return origin.requests[number]
