"""Many answers from a file to a node, in batches: what `edgecache push` does."""

import gzip
import io
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from edgecache.client import Refused
from edgecache.errors import BadRequest
from edgecache.wire.bodies import decode

BATCH = 100
"""Answers of one call."""
BATCH_BYTES = 2 << 20
"""Bytes of the lines of one call; a longer line goes alone."""
LONGEST = 3 << 20
"""Bytes of the longest line; what a node reads is 4 MiB."""
_GZIP = b"\x1f\x8b"


class Node(Protocol):
    """What answers a call with status and body."""

    def fetch(self, method: str, path: str, content: bytes = b"") -> tuple[int, bytes]: ...


class Defaults(msgspec.Struct, frozen=True, kw_only=True):
    """What a line gets that does not say it itself; `tags` come to its own."""

    scope: str = ""
    model: str = ""
    ttl: str = ""
    tags: tuple[str, ...] = ()

    def complete(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        missing = {name: getattr(self, name) for name in ("scope", "ttl") if getattr(self, name)}
        request = fields.get("request")
        if self.model and not (isinstance(request, dict) and "model" in request):
            missing["model"] = self.model
        tags = fields.get("tags", [])
        if self.tags and isinstance(tags, list):
            missing["tags"] = tags = list(dict.fromkeys([*tags, *self.tags]))
        return {**missing, **fields, **({"tags": tags} if "tags" in missing else {})}


class Line(msgspec.Struct, frozen=True):
    """One that can be sent; `number` counts from 1."""

    number: int
    content: bytes


class Wrong(msgspec.Struct, frozen=True):
    """One that was refused, here or by the node, and why."""

    number: int
    why: str


class Sent(msgspec.Struct, frozen=True):
    """What came of one batch. `lines` and `consumed` bytes of the file are behind it; `nodes` as the node told them."""

    lines: int
    stored: int
    wrong: Sequence[Wrong]
    consumed: int
    nodes: Mapping[str, int] | None = None


class Pusher:
    """Sends a file's lines to a node, a batch at a time; each is in place, or refused, when the next is read."""

    def __init__(self, node: Node, defaults: Defaults, *, wait: bool) -> None:
        self._node = node
        self._defaults = defaults
        self._path = "/push?wait=all" if wait else "/push"

    def __repr__(self) -> str:
        return f"<Pusher {self._path} {self._node!r}>"

    def push(self, file: io.BufferedReader) -> Iterator[Sent]:
        """
        Raises:
            Refused: the file cannot be read on, or the node took a batch not at all.
        """
        for batch in _batches(self._read(file)):
            sent = self._send([line for line in batch if isinstance(line, Line)])
            wrong = [line for line in batch if isinstance(line, Wrong)]
            consumed = file.tell() if file.seekable() else 0
            ordered = sorted([*wrong, *sent.wrong], key=lambda line: line.number)
            yield msgspec.structs.replace(sent, lines=len(batch), wrong=ordered, consumed=consumed)

    def _read(self, file: io.BufferedReader) -> Iterator[Line | Wrong]:
        for number, content in enumerate(_lines(file), 1):
            if not content.strip():
                continue
            try:
                yield Line(number, self._completed(content))
            except BadRequest as error:
                yield Wrong(number, error.message)

    def _completed(self, content: bytes) -> bytes:
        if len(content) > LONGEST:
            raise BadRequest(f"the line has over {LONGEST:,} bytes")
        fields, problem = decode(content)
        if problem is not None or not isinstance(fields, dict):
            raise BadRequest(problem or "an answer is a JSON object on a line of its own")
        return msgspec.json.encode(self._defaults.complete(fields))

    def _send(self, lines: Sequence[Line]) -> Sent:
        if not lines:
            return Sent(0, 0, (), 0)
        status, content = self._node.fetch(
            "POST", self._path, b'{"answers":[%s]}' % b",".join(n.content for n in lines)
        )
        told = _object(content)
        answers = told.get("answers")
        if not isinstance(answers, list) or len(answers) != len(lines):
            raise Refused(f"lines {lines[0].number} to {lines[-1].number}: {_reason(told, status)}")
        pairs = zip(lines, answers, strict=True)
        wrong = [Wrong(line.number, str(answer["status"])) for line, answer in pairs if answer["status"] != "ok"]
        return Sent(len(lines), len(lines) - len(wrong), wrong, 0, told.get("nodes"))


def _lines(file: io.BufferedReader) -> Iterator[bytes]:
    """Unpacked if the file is gzipped. Of a line over `LONGEST` so much that this can be seen."""
    source = gzip.GzipFile(fileobj=file) if file.peek(2).startswith(_GZIP) else file
    try:
        while line := source.readline(LONGEST + 2):
            rest = line
            while len(rest) == LONGEST + 2 and not rest.endswith(b"\n"):
                rest = source.readline(LONGEST + 2)
            yield line
    except (OSError, EOFError, zlib.error) as error:
        raise Refused(f"the file cannot be read on: {error}") from None


def _batches(lines: Iterable[Line | Wrong]) -> Iterator[list[Line | Wrong]]:
    batch: list[Line | Wrong] = []
    size = 0
    for line in lines:
        length = len(line.content) if isinstance(line, Line) else 0
        if batch and (len(batch) == BATCH or size + length > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += length
    if batch:
        yield batch


def _object(content: bytes) -> dict[str, Any]:
    try:
        told = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    return told if isinstance(told, dict) else {}


def _reason(told: Mapping[str, Any], status: int) -> str:
    return str(told.get("detail") or f"status {status} from something that is no edgecache")
