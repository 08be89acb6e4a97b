"""Requests for the tests of identity."""

import json
from typing import Any

from edgecache.core.canonical import Identity, identify
from edgecache.core.entry import Scope
from edgecache.wire.chat.request import read_chat

SECRET = b"golden"


def read(fields: object) -> bytes:
    return json.dumps(fields).encode()


def identity(
    fields: object,
    scope: str = "tenant",
    headers: dict[str, str] | None = None,
    query: str = "",
    path: str = "/v1/chat/completions",
    rules: tuple[str, ...] = (),
    secret: bytes = SECRET,
) -> Identity:
    body = fields if isinstance(fields, bytes) else read(fields)
    question = read_chat(body).question
    assert question.uncacheable is None, question.uncacheable
    return identify(question, Scope(scope), headers or {}, query, path=path, rules=rules, secret=secret)


def user(content: object, **others: object) -> dict[str, object]:
    return {"role": "user", "content": content, **others}


def ask(content: object = "Why is the sky blue?", **fields: object) -> dict[str, Any]:
    return {"model": "m", "messages": [user(content)], **fields}


IMAGE = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
SYSTEM = {"role": "system", "content": "Be brief."}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
CALLED = [
    user("weather?"),
    {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f"}}]},
    {"role": "tool", "tool_call_id": "1", "content": "rain"},
    user("and tomorrow?"),
]
