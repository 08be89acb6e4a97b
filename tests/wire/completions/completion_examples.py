"""Completions written here, and those recorded from a provider (Envoy AI Gateway, Apache-2.0)."""

import json
from dataclasses import dataclass
from typing import Any

import pytest
from shared_data import data_folder

from edgecache.core.entry import Framing
from edgecache.wire.completions import COMPLETIONS
from edgecache.wire.dialect import Request

PATH = "/v1/completions"
USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
DONE = b"data: [DONE]\n\n"


def asked(prompt: Any = "Once upon a time", **fields: Any) -> Request:
    return COMPLETIONS.read(json.dumps({"model": "m", "prompt": prompt, **fields}).encode(), PATH)


def piece(text: str, index: int = 0, finish: str | None = None, **more: Any) -> dict[str, Any]:
    return {"text": text, "index": index, "logprobs": None, "finish_reason": finish, **more}


def chunk(*choices: dict[str, Any], **more: Any) -> bytes:
    head = {"id": "cmpl-1", "object": "text_completion", "created": 7, "model": "m-1"}
    return b"data: " + json.dumps({**head, "choices": list(choices), **more}).encode() + b"\n\n"


def whole(*choices: dict[str, Any], **more: Any) -> bytes:
    return chunk(*choices, **more).removeprefix(b"data: ").strip()


def logprobs(*tokens: str) -> dict[str, Any]:
    return {
        "tokens": list(tokens),
        "token_logprobs": [-0.5] * len(tokens),
        "top_logprobs": [{token: -0.5, "index": 7} for token in tokens],
        "text_offset": [0] * len(tokens),
    }


TEXT = (
    chunk(piece("Hel"), usage=None)
    + chunk(piece("lo \u2713"), usage=None)
    + chunk(piece("", finish="stop"), usage=None)
    + chunk(usage=USAGE)
    + DONE
)
TWO = chunk(piece("x", 1)) + chunk(piece("A"), piece("y", 1, "stop")) + chunk(piece("B", finish="stop")) + DONE
LOGPROBS = (
    chunk(piece("A", logprobs=logprobs("A")))
    + chunk(piece("B", logprobs=logprobs("B")))
    + chunk(piece("", finish="stop"))
    + DONE
)
STREAMS = {"text": TEXT, "two": TWO, "logprobs": LOGPROBS}


@dataclass(frozen=True)
class Recorded:
    name: str
    asked: bytes
    status: int
    framing: Framing
    body: bytes

    def __repr__(self) -> str:
        return self.name


def recorded() -> list[Recorded]:
    """Every recorded exchange of `POST /v1/completions`."""
    yaml = pytest.importorskip("yaml", reason="PyYAML reads the recordings")
    found = []
    for path in sorted(data_folder("cassettes").rglob("*.yaml")):
        text = path.read_text()
        if PATH not in text:
            continue
        for number, one in enumerate(yaml.safe_load(text)["interactions"]):
            if one["request"]["url"].endswith(PATH):
                body = one["response"]["body"]
                framing = Framing.SSE if body.startswith("data:") else Framing.JSON
                name = f"{path.stem}-{number}"
                found.append(
                    Recorded(name, one["request"]["body"].encode(), one["response"]["code"], framing, body.encode())
                )
    return found
