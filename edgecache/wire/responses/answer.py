"""Whole answers: what a finished one says of itself. Source: the OpenAI API description, schemas `Response`,
`OutputItem` and `ResponseStreamEvent`.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from edgecache.core.entry import Framing
from edgecache.core.reply import Usage
from edgecache.wire import sse
from edgecache.wire.dialect import UNREADABLE, Summary

ENDS: Final = frozenset({"response.completed", "response.incomplete", "response.failed", "response.cancelled"})
"""Events with which a stream ends."""
BROKEN: Final = (
    msgspec.DecodeError, UnicodeDecodeError, ValueError, TypeError, AttributeError, KeyError, RecursionError,
)  # fmt: skip
"""What reading an answer raises that is not made as described."""
_CALLS = frozenset({"function_call", "custom_tool_call", "local_shell_call", "apply_patch_call", "shell_call"})
"""Output that the application acts upon."""
_STORED = _CALLS | {"message", "reasoning", "compaction"}
_WORD = re.compile(r"[a-z_0-9.-]{1,40}")
_RAW = dict[str, msgspec.Raw]


class Answer(msgspec.Struct, frozen=True):
    """`body` is the response object as it came, `fields` the same read; `problem` tells of an error on the way."""

    body: bytes
    fields: dict[str, Any]
    problem: str | None = None


def read_answer(framing: Framing, body: bytes) -> Answer:
    """
    Raises:
        BROKEN: it was cut, or is not made as described.
    """
    return Answer(body, _object(msgspec.json.decode(body))) if framing is Framing.JSON else _end_of(body)


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError("no object")
    return value


def _end_of(body: bytes) -> Answer:
    """What follows the end of a stream is read by nobody. A provider may leave the output to the events before it."""
    done: dict[int, msgspec.Raw] = {}
    problem = None
    for event in sse.EventSplitter(max_event=len(body) + 1).feed(body):
        problem = problem or _problem(event)
        if not _matters(event):
            continue
        fields = msgspec.json.decode(sse.data(event) or b"{}", type=_RAW)
        kind = msgspec.json.decode(fields.get("type", b"null"))
        if kind == "response.output_item.done":
            done[msgspec.json.decode(fields["output_index"], type=int)] = fields["item"]
        elif kind in ENDS:
            return _ended(bytes(fields["response"]), done, problem)
    raise ValueError("cut before its end")


def _matters(event: bytes) -> bool:
    """One search for each kind of event that is read costs less than reading those that are not."""
    return b'"response.output_item.done"' in event or any(end in event for end in _END_BYTES)


_END_BYTES = tuple(sorted(f'"{end}"'.encode() for end in ENDS))


def _ended(body: bytes, done: dict[int, msgspec.Raw], problem: str | None) -> Answer:
    fields = _object(msgspec.json.decode(body))
    if fields.get("output") or not done:
        return Answer(body, fields, problem)
    output = [done[index] for index in sorted(done)]
    body = msgspec.json.encode({**msgspec.json.decode(body, type=_RAW), "output": output})
    return Answer(body, _object(msgspec.json.decode(body)), problem)


def _problem(event: bytes) -> str | None:
    """Most events are fine, which costs two searches."""
    if b'"response.audio' in event or b'"response.output_audio' in event:
        return "audio"
    if b"error" not in event:
        return None
    payload = sse.data(event)
    told = msgspec.json.decode(payload) if payload else None
    if sse.name(event) == b"error" or (isinstance(told, dict) and (told.get("type") == "error" or told.get("error"))):
        return "error in the stream"
    return None


# --- what it says of itself ---------------------------------------------------------------------------------------


def summarise(framing: Framing, body: bytes) -> Summary:
    """See `Dialect.summarise`."""
    try:
        answer = read_answer(framing, body)
        output = _output(answer.fields)
        why = answer.problem or next(_reasons(answer.fields, output), None)
        finished = answer.problem in (None, "audio") and is_finished(answer.fields)
        calls = any(item.get("type") in _CALLS for item in output)
        usage = to_usage(answer.fields.get("usage")) or Usage()
        return Summary(why_not_stored=why, finished=finished, tool_calls=calls, usage=usage)
    except BROKEN:
        return UNREADABLE


def is_finished(fields: Mapping[str, Any]) -> bool:
    return fields.get("status") in ("completed", "incomplete") and fields.get("error") is None


def _output(fields: Mapping[str, Any]) -> list[dict[str, Any]]:
    output = fields["output"]
    if not isinstance(output, list):
        raise TypeError("`output` is no list")
    return [_object(item) for item in output]


def _reasons(fields: Mapping[str, Any], output: list[dict[str, Any]]) -> Iterator[str]:
    if fields.get("error") is not None:
        yield "error in the answer"
    if fields.get("status") != "completed":
        yield f"status {_word(fields.get('status'))}"
    for item in output:
        yield from _of_item(item)
    if not any(map(_says, output)):
        yield "empty answer"


def _of_item(item: Mapping[str, Any]) -> Iterator[str]:
    kind = item.get("type")
    if kind not in _STORED or (kind == "shell_call" and _is_hosted(item)):
        yield f"tool run by the provider: {_word(kind)}"
    if item.get("status") not in (None, "completed") and (kind not in _CALLS or item["status"] == "incomplete"):
        yield f"item {_word(item['status'])}"
    for part in item["content"] if kind == "message" else ():
        if part["type"] != "output_text":
            yield "refusal" if part["type"] == "refusal" else f"content {_word(part['type'])}"


def _is_hosted(item: Mapping[str, Any]) -> bool:
    environment = item.get("environment")
    return environment is not None and environment["type"] != "local"


def _says(item: Mapping[str, Any]) -> bool:
    """A model's reasoning alone is an answer too, as it is in chat."""
    if item["type"] == "message":
        return any(part.get("text") or part.get("refusal") for part in item["content"])
    if item["type"] == "reasoning":
        return any(item.get(name) for name in ("summary", "content", "encrypted_content"))
    return True


def _word(value: Any) -> str:
    """Fit for a header, whatever a provider sent."""
    return value if isinstance(value, str) and _WORD.fullmatch(value) else "unknown"


def to_usage(told: Any) -> Usage | None:
    """None where nothing was told. Never raises: what is no number counts as 0."""
    if not isinstance(told, dict):
        return None
    prompt, completion = told.get("input_tokens_details"), told.get("output_tokens_details")
    return Usage(
        prompt=_count(told, "input_tokens"),
        completion=_count(told, "output_tokens"),
        cached=_count(prompt, "cached_tokens"),
        written=_count(prompt, "cache_write_tokens"),
        reasoning=_count(completion, "reasoning_tokens"),
    )


def _count(told: Any, name: str) -> int:
    value = told.get(name) if isinstance(told, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53 else 0
