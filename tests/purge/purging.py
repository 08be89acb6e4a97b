"""Purge calls to a node, and tokens for them."""

from typing import Any

import msgspec

from edgecache.testing.node import Node, Reply

PURGE_ALL = "/service/edgecache/purge_all"
KEYS = "/service/edgecache/purge"
SIMILAR = "/purge/similar"


async def call(
    node: Node, path: str, *, method: str = "POST", body: Any = None, admin: bool = False, **headers: str
) -> Reply:
    """By the node's admin token, unless `Fastly_Key` names another."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    content = body if isinstance(body, bytes) or body is None else msgspec.json.encode(body)
    return await node.ask(method, path, content, headers={"Fastly-Key": node.admin_token, **named}, admin=admin)


async def purged(node: Node, path: str, **options: Any) -> Any:
    """What a call answered that went well."""
    reply = await call(node, path, **options)
    assert reply.status == 200, reply
    return reply.json()


async def refused(node: Node, status: int, reply: Reply, told: str, *, applied: int = 0) -> None:
    """An error in Fastly's shape, and nothing was purged: not in the ledger, the log, or the audit log."""
    assert reply.status == status, reply
    assert set(reply.json()) == {"msg", "detail"}
    assert told in reply.json()["detail"], reply
    assert (await node.statistics())["ledger"]["applied"] == applied
    assert len(await node.app.storage.log.read(0)) == applied
    assert len(await node.app.storage.audit.lines()) == applied


async def token(node: Node, name: str, *grants: str, **limits: list[str]) -> str:
    """A new token's secret; its scope is its name."""
    made = await node.manage("POST", "/admin/tokens", {"name": name, "scope": name, "grants": grants, **limits})
    assert made.status == 201, made
    return str(made.json()["token"])


async def fill(node: Node, question: str, *tags: str, by: str = "", **fields: Any) -> str:
    """Ask and have the answer stored; its id. `by` is a token of ours."""
    headers = {"Surrogate-Key": " ".join(tags)} if tags else {}
    headers |= {"Authorization": f"Bearer {by}"} if by else {}
    reply = await node.chat(question, headers=headers, **fields)
    assert reply.headers["X-Cache"] == "MISS", reply
    await node.landed()
    return str(reply.headers["X-Edgecache-Id"])


async def outcome(node: Node, question: str, *, by: str = "", **fields: Any) -> str:
    """HIT or MISS."""
    headers = {"Authorization": f"Bearer {by}"} if by else {}
    return str((await node.chat(question, headers=headers, **fields)).headers["X-Cache"])
