"""A stream read event by event into the neutral steps of an answer."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from edgecache.core.reply import Delta, TextDelta, ThinkingDelta, ToolDelta
from edgecache.wire import sse
from edgecache.wire.dialect import Untellable
from edgecache.wire.responses.answer import BROKEN
from edgecache.wire.responses.neutral import begin, call, check, end_steps, item_steps, output_steps, thought, to_text

_TEXTS = ("response.output_text.delta", "response.refusal.delta")
_SUMMARY = "response.reasoning_summary_text.delta"
_REASONING = "response.reasoning_text.delta"
_ARGUMENTS = "response.function_call_arguments.delta"
_FAILED = ("error", "response.failed", "response.cancelled")


class _Event(msgspec.Struct, frozen=True):
    type: str = ""
    output_index: int = 0
    content_index: int = 0
    summary_index: int = 0
    delta: Any = None
    logprobs: Any = None
    error: Any = None
    part: dict[str, Any] | None = None
    item: dict[str, Any] | None = None
    response: dict[str, Any] | None = None


_decode = msgspec.json.Decoder(_Event).decode


class Reader:
    """What a provider does not tell piece by piece is read where it tells the whole."""

    def __init__(self) -> None:
        self._begun = False
        self._calls: dict[int, int] = {}
        self._told: dict[int, str] = {}

    def __repr__(self) -> str:
        return f"<Reader: {len(self._told)} items told, {len(self._calls)} calls>"

    def feed(self, event: bytes) -> Sequence[Delta]:
        """See `StreamReader`."""
        payload = sse.data(event)
        if payload is None or payload == b"[DONE]":
            return ()
        try:
            return tuple(self._steps(_decode(payload)))
        except BROKEN as error:
            raise Untellable(f"not an event of a response: {error}") from None

    def _steps(self, event: _Event) -> Iterator[Delta]:
        if event.error is not None or event.type in _FAILED:
            raise Untellable("an error in the stream")
        if event.response is not None and not self._begun:
            self._begun = True
            yield begin(event.response)
        if event.type == "response.output_text.annotation.added":
            raise Untellable("other dialects have no annotations")
        if event.type.endswith(".delta"):
            yield from self._delta(event)
        elif event.part is not None and event.type.endswith("part.added"):
            yield from self._part(event, event.part)
        elif event.item is not None and event.type == "response.output_item.added":
            yield from self._added(event.output_index, event.item)
        elif event.item is not None and event.type == "response.output_item.done":
            yield from self._done(event.output_index, event.item)
        elif event.response is not None and event.type in ("response.completed", "response.incomplete"):
            if not self._told and not self._calls:
                yield from output_steps(event.response)
            yield from end_steps(event.response, calls=bool(self._calls))

    def _delta(self, event: _Event) -> Iterator[Delta]:
        if event.logprobs:
            raise Untellable("other dialects have no logprobs")
        if event.type in _TEXTS:
            yield TextDelta(text=to_text(event.delta), refusal=event.type == "response.refusal.delta")
        elif event.type == _SUMMARY or (event.type == _REASONING and self._told.get(event.output_index) != _SUMMARY):
            yield ThinkingDelta(text=to_text(event.delta))
        elif event.type == _ARGUMENTS:
            yield ToolDelta(at=self._calls[event.output_index], arguments=to_text(event.delta))
        self._told.setdefault(event.output_index, event.type)

    def _part(self, event: _Event, part: dict[str, Any]) -> Iterator[Delta]:
        """Paragraphs of a thought."""
        if event.type == "response.reasoning_summary_part.added":
            more = event.summary_index > 0
        else:
            shown = self._told.get(event.output_index) != _SUMMARY
            more = shown and part.get("type") == "reasoning_text" and event.content_index > 0
        if more:
            yield ThinkingDelta(text="\n\n")

    def _added(self, index: int, item: dict[str, Any]) -> Iterator[Delta]:
        if item.get("type") == "function_call":
            self._calls[index] = len(self._calls)
            yield call(item, self._calls[index])
        elif item.get("type") not in ("message", "reasoning"):
            raise Untellable(f"other dialects have no output of type {item.get('type')!r}")

    def _done(self, index: int, item: dict[str, Any]) -> Iterator[Delta]:
        """Seals come last: what an item says of them before may not be all."""
        told = index in self._told
        self._told.setdefault(index, "done")
        if item.get("type") == "function_call":
            yield from self._called(index, item, told)
        elif not told:
            yield from item_steps(item, 0)
        elif item.get("type") == "reasoning":
            yield from (msgspec.structs.replace(step, text="") for step in thought(item) if step.signature or step.data)
        else:
            for part in item["content"]:
                check(part)

    def _called(self, index: int, item: dict[str, Any], told: bool) -> Iterator[Delta]:
        if index not in self._calls:
            yield from self._added(index, item)
        if not told and item["arguments"]:
            yield ToolDelta(at=self._calls[index], arguments=to_text(item["arguments"]))
