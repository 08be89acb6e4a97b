"""A provider of embeddings, scripted: every text has its own."""

import asyncio
import base64
import hashlib
import json
import struct
from typing import Any

from edgecache.testing.node import JSON, Node, Reply
from edgecache.testing.scripted_upstream import Answer, Received, ScriptedUpstream, refusal

PATH = "/v1/embeddings"
RULE = """
[[route]]
name = "embeddings"
path = "/v1/embeddings"
ttl = "1h"
tags = ["of-the-rule"]
request_tags = true
stale_if_error = "10m"
controls = ["mode", "ttl", "key"]
"""


def numbers(value: Any, dimensions: int = 4) -> tuple[float, ...]:
    """The embedding of an input, told apart from those of all others. Each is exact in float32."""
    digest = hashlib.shake_128(json.dumps(value).encode()).digest(dimensions)
    return tuple((byte - 128) / 64 for byte in digest)


def told(value: Any, asked: dict[str, Any]) -> Any:
    found = numbers(value, asked.get("dimensions", 4))
    if asked.get("encoding_format") == "base64":
        return base64.b64encode(struct.pack(f"<{len(found)}f", *found)).decode()
    return list(found)


def tokens(value: Any) -> int:
    return len(value) if isinstance(value, list) else len(value.split())


def inputs_of(asked: dict[str, Any]) -> list[Any]:
    value = asked["input"]
    single = isinstance(value, str) or isinstance(value[0], int)
    return [value] if single else value


def embed(request: Received) -> Answer:
    """With white space that no JSON library would write, so that bytes tell who wrote them."""
    if not request.path.endswith("/embeddings"):
        return refusal(404, "not here")
    asked = json.loads(request.body)
    inputs = inputs_of(asked)
    items = [{"object": "embedding", "index": at, "embedding": told(one, asked)} for at, one in enumerate(inputs)]
    count = sum(map(tokens, inputs))
    usage = {"prompt_tokens": count, "total_tokens": count}
    answer = {"object": "list", "data": items, "model": asked["model"], "usage": usage}
    return Answer(body=json.dumps(answer, separators=(" ,  ", " :  ")).encode())


async def ask(node: Node, value: Any, *, headers: dict[str, str] | None = None, path: str = PATH, **more: Any) -> Reply:
    body = json.dumps({"model": "e-3", "input": value, **more}).encode()
    return await node.ask("POST", path, body, headers={**JSON, **(headers or {})})


def embeddings(reply: Reply) -> list[Any]:
    """In their order, which has to be that of their numbers."""
    assert reply.status == 200, reply.body
    data = reply.json()["data"]
    assert [one["index"] for one in data] == list(range(len(data)))
    return [tuple(one["embedding"]) for one in data]


def asked_for(request: Received) -> Any:
    return json.loads(request.body)["input"]


def holding(upstream: ScriptedUpstream, count: int = 1) -> asyncio.Event:
    """The next answers wait for it."""
    gate, script, left = asyncio.Event(), upstream._script, [None] * count

    def answer(request: Received) -> Answer:
        told = script(request)
        if not left:
            return told
        left.pop()
        return Answer(status=told.status, headers=told.headers, body=told.body, before_head=gate)

    upstream._script = answer
    return gate
