"""What an owner sends, and what callers see of it."""

from typing import Any

import msgspec

from edgecache.testing.node import Node, Reply

QUESTION = "How do I enable dark mode?"
OTHER_WORDS = "How can I enable dark mode?"
NEVER_FORWARDED = {"Cache-Control": "only-if-cached"}


def answer(text: str = "Press the moon.", **fields: Any) -> dict[str, Any]:
    return {"question": QUESTION, "model": "gpt-4o", "answer": text, "scope": "local", **fields}


async def call(
    node: Node, content: Any, *, query: str = "", token: str | None = None, admin: bool = False, **headers: str
) -> Reply:
    body = content if isinstance(content, bytes) else msgspec.json.encode(content)
    named = {"Authorization": f"Bearer {node.admin_token if token is None else token}", **headers}
    return await node.ask("POST", f"/push{query}", body, headers=named, admin=admin)


async def push(node: Node, *answers: Any, token: str | None = None) -> Any:
    """All in place, on all nodes; what the node told."""
    reply = await call(node, {"answers": list(answers)}, query="?wait=all", token=token)
    assert reply.status == 200, reply
    told = reply.json()
    assert told["refused"] == 0, told
    return told


async def limited(node: Node, name: str, **limits: Any) -> str:
    """A token that may push."""
    made = await node.manage("POST", "/admin/tokens", {"name": name, "scope": name, "grants": ["push"], **limits})
    assert made.status == 201, made
    return str(made.json()["token"])
