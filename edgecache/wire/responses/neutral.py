"""A whole answer in the words of no dialect."""

from collections.abc import Iterator, Mapping
from typing import Any

from edgecache.core.entry import Framing
from edgecache.core.reply import Begin, Closing, Delta, Finish, Reply, TextDelta, ThinkingDelta, ToolBegin, ToolDelta
from edgecache.wire.dialect import Untellable
from edgecache.wire.responses.answer import BROKEN, is_finished, read_answer, to_usage
from edgecache.wire.responses.thoughts import MADE_HERE, from_item
from edgecache.wire.steps import Gatherer


def to_reply(framing: Framing, body: bytes) -> Reply:
    """See `Dialect.reply`."""
    gatherer = Gatherer()
    try:
        for step in _steps(read_answer(framing, body).fields):
            gatherer.feed(step)
    except BROKEN as error:
        raise Untellable(f"not a response: {error}") from None
    return gatherer.reply()


def _steps(response: Mapping[str, Any]) -> Iterator[Delta]:
    yield begin(response)
    yield from output_steps(response)
    yield from end_steps(response)


def output_steps(response: Mapping[str, Any]) -> Iterator[Delta]:
    at = 0
    for item in response["output"]:
        yield from item_steps(item, at)
        at += item.get("type") == "function_call"


def begin(response: Mapping[str, Any]) -> Begin:
    created = response.get("created_at")
    created = int(created) if isinstance(created, int | float) and 0 <= created < 1 << 53 else 0
    return Begin(id=to_text(response.get("id") or ""), model=to_text(response.get("model") or ""), created=created)


def end_steps(response: Mapping[str, Any], *, calls: bool = False) -> Iterator[Delta]:
    """`calls` says that calls were told before."""
    if not is_finished(response):
        raise Untellable("the answer did not come to its end")
    yield Finish(finish=_finish(response, calls))
    yield Closing(usage=to_usage(response.get("usage")))


def _finish(response: Mapping[str, Any], calls: bool) -> str:
    if response["status"] == "incomplete":
        details = response.get("incomplete_details") or {}
        return "content_filter" if details.get("reason") == "content_filter" else "length"
    calls = calls or any(item.get("type") == "function_call" for item in response.get("output") or ())
    return "tool_calls" if calls else "stop"


def to_text(value: Any) -> str:
    if not isinstance(value, str):
        raise Untellable("a text is none")
    return value


def item_steps(item: Mapping[str, Any], at: int) -> Iterator[Delta]:
    """All of one item, of which a call is the `at`th."""
    kind = item["type"]
    if kind == "message":
        for part in item["content"]:
            yield _part(part)
    elif kind == "reasoning":
        yield from thought(item)
    elif kind == "function_call":
        yield call(item, at)
        yield ToolDelta(at=at, arguments=to_text(item["arguments"]))
    else:
        raise Untellable(f"other dialects have no output of type {kind!r}")


def _part(part: Mapping[str, Any]) -> TextDelta:
    check(part)
    if part["type"] == "refusal":
        return TextDelta(text=to_text(part["refusal"]), refusal=True)
    if part["type"] != "output_text":
        raise Untellable(f"other dialects have no content of type {part['type']!r}")
    return TextDelta(text=to_text(part["text"]))


def check(part: Mapping[str, Any]) -> None:
    """
    Raises:
        Untellable: a text says more than its words.
    """
    for name in ("annotations", "logprobs"):
        if part.get(name):
            raise Untellable(f"other dialects have no {name}")


def thought(item: Mapping[str, Any]) -> Iterator[ThinkingDelta]:
    thought = from_item({**item, "id": MADE_HERE})
    if thought is None:
        raise Untellable("reasoning is not made as described")
    if thought.text or thought.data or thought.signature:
        yield ThinkingDelta(text=thought.text, signature=thought.signature, data=thought.data)


def call(item: Mapping[str, Any], at: int) -> ToolBegin:
    for name in ("namespace", "caller"):
        if item.get(name) is not None:
            raise Untellable(f"other dialects have no {name} of a call")
    return ToolBegin(at=at, id=to_text(item["call_id"]), name=to_text(item["name"]))
