"""Streams: some written here, and those recorded from a provider (pydantic-ai, MIT; Envoy AI Gateway, Apache-2.0)."""

import json
from typing import Any

import pytest
from shared_data import data_folder


def chunk(*choices: dict[str, Any], **more: Any) -> bytes:
    head = {"id": "c1", "object": "chat.completion.chunk", "created": 7, "model": "m-1"}
    return b"data: " + json.dumps({**head, "choices": list(choices), **more}).encode() + b"\n\n"


def delta(index: int = 0, finish: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"index": index, "delta": fields, "logprobs": None, "finish_reason": finish}


def call(index: int, arguments: str, **more: Any) -> dict[str, Any]:
    return {"index": index, "function": {"arguments": arguments, **more.pop("function", {})}, **more}


DONE = b"data: [DONE]\n\n"
USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}

TEXT = (
    chunk(delta(role="assistant", content="", refusal=None), usage=None)
    + chunk(delta(content="Hel"), usage=None)
    + chunk(delta(content="lo \u2713"), usage=None)
    + chunk(delta(finish="stop"), usage=None)
    + chunk(usage=USAGE)
    + DONE
)
TOOLS = (
    chunk(delta(role="assistant", content=None))
    + chunk(delta(tool_calls=[call(0, "", id="a", type="function", function={"name": "f"})]))
    + chunk(delta(tool_calls=[call(0, '{"x"', id=None, type=None)]))
    + chunk(delta(tool_calls=[call(1, "", id="b", type="function", function={"name": "g"})]))
    + chunk(delta(tool_calls=[call(0, ":1}"), call(1, "{}", id="")]))
    + chunk(delta(finish="tool_calls"))
    + DONE
)
TWO = (
    chunk(delta(role="assistant", content="A"), delta(1, role="assistant", content="x"))
    + chunk(delta(1, content="y"))
    + chunk(delta(content="B"))
    + chunk(delta(1, "stop"))
    + chunk(delta(finish="stop"))
    + DONE
)


def logprob(token: str) -> dict[str, Any]:
    return {"token": token, "logprob": -0.5, "bytes": list(token.encode()), "top_logprobs": []}


LOGPROBS = (
    chunk({**delta(role="assistant", content="A"), "logprobs": {"content": [logprob("A")], "refusal": None}})
    + chunk({**delta(content="B"), "logprobs": {"content": [logprob("B")], "refusal": None}})
    + chunk(delta(finish="stop"))
    + DONE
)
REFUSAL = (
    chunk(delta(role="assistant", content=None, refusal=""))
    + chunk(delta(refusal="No."))
    + chunk(delta(finish="stop"))
    + DONE
)
WRITTEN = {"text": TEXT, "tools": TOOLS, "two choices": TWO, "logprobs": LOGPROBS, "refusal": REFUSAL}


def recorded() -> dict[str, bytes]:
    """Name -> body of each recorded chat stream."""
    yaml = pytest.importorskip("yaml", reason="PyYAML reads the recordings")
    found = {}
    for path in sorted(data_folder("cassettes").rglob("*.yaml")):
        text = path.read_text()
        if "chat.completion.chunk" not in text:
            continue
        for number, interaction in enumerate(yaml.safe_load(text)["interactions"]):
            body = interaction["response"]["body"]
            body = body if isinstance(body, str) else (body or {}).get("string") or ""
            if "chat.completion.chunk" in body:
                found[f"{path.stem}-{number}"] = body.encode()
    return found
