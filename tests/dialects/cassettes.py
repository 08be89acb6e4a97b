"""Recorded exchanges with providers (pydantic-ai, MIT; Envoy AI Gateway, Apache-2.0), as bytes."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

ROOT: Final = Path(__file__).parents[2]
HOP_BY_HOP: Final = frozenset({"connection", "content-encoding", "content-length", "date", "host", "transfer-encoding"})
"""Headers of one connection, and those of the compression that the recordings have undone."""
SUFFIXES: Final = {
    "/chat/completions": "openai.chat",
    "/completions": "openai.completions",
    "/responses": "openai.responses",
    "/embeddings": "openai.embeddings",
    "/messages": "anthropic.messages",
}
SUFFIX_OF: Final = {name: suffix for suffix, name in SUFFIXES.items()}
Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """One request and its response. `name` is the file's and the place in it; `path` has no query."""

    name: str
    host: str
    method: str
    path: str
    query: str
    headers: Headers
    body: bytes
    status: int
    answer_headers: Headers
    answer: bytes

    def __repr__(self) -> str:
        return f"<Exchange {self.name}: {self.method} {self.host}{self.path} {self.status}>"

    @property
    def target(self) -> str:
        return f"{self.path}?{self.query}" if self.query else self.path

    @property
    def dialect(self) -> str | None:
        """None for what no cache understands."""
        if self.method != "POST":
            return None
        return next((name for suffix, name in SUFFIXES.items() if self.path.endswith(suffix)), None)

    @property
    def content_type(self) -> str:
        return next(value for name, value in self.answer_headers if name.lower() == "content-type")

    @property
    def streamed(self) -> bool:
        return self.content_type.startswith("text/event-stream")

    @cached_property
    def asked(self) -> dict[str, Any]:
        """The request's fields; empty where it has no JSON body."""
        try:
            fields = json.loads(self.body)
        except ValueError:
            return {}
        return fields if isinstance(fields, dict) else {}


def data_folder(name: str) -> Path:
    """The folder of one data set; skips the test or module where it is absent."""
    folder = Path(os.environ.get("EDGECACHE_DATA") or ROOT.parent / "shared" / "data") / name
    if not folder.is_dir():
        pytest.skip(f"no data set {name}: set EDGECACHE_DATA to the folder that holds it", allow_module_level=True)
    return folder


def exchanges() -> list[Exchange]:
    """All of them, in order of their files' names."""
    yaml = pytest.importorskip("yaml", reason="PyYAML reads the recordings")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return [
        _exchange(f"{path.stem}-{number}", interaction["request"], interaction["response"])
        for path in sorted(data_folder("cassettes").rglob("*.yaml"))
        for number, interaction in enumerate(yaml.load(path.read_text(), Loader=loader)["interactions"])
    ]


def _exchange(name: str, request: Mapping[str, Any], response: Mapping[str, Any]) -> Exchange:
    """Two recorders wrote these files: one says `uri`, the other `url`, and so on."""
    url = urlsplit(request.get("uri") or request["url"])
    status = response["status"]
    return Exchange(
        name=name,
        host=url.netloc,
        method=request["method"],
        path=url.path,
        query=url.query,
        headers=_headers(request["headers"]),
        body=_body(request, None),
        status=status["code"] if isinstance(status, dict) else response["code"],
        answer_headers=_headers(response["headers"]),
        answer=_body(response, 2),
    )


def _headers(recorded: Mapping[str, str | Sequence[str]]) -> Headers:
    listed = {name: [value] if isinstance(value, str) else value for name, value in recorded.items()}
    return tuple((name, value) for name, values in listed.items() for value in values if name.lower() not in HOP_BY_HOP)


def _body(message: Mapping[str, Any], indent: int | None) -> bytes:
    """What was recorded as parsed is written with line breaks, so that nobody can have written it again unnoticed."""
    if "parsed_body" in message:
        return json.dumps(message["parsed_body"], ensure_ascii=False, indent=indent).encode()
    body = message.get("body") or b""
    body = body["string"] if isinstance(body, dict) else body
    return body.encode() if isinstance(body, str) else bytes(body)
