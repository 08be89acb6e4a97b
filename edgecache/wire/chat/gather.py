"""An OpenAI chat stream gathered into one answer. Time grows with the stream's length, however it is numbered."""

from collections.abc import Iterable
from typing import Any

import msgspec

from edgecache.wire import sse

MAX_NUMBERED = 1_024
"""Items told apart by `index` in one list: tool calls, content parts. No model makes as many."""
_SAID_ONCE = ("index", "type", "role", "id")


class Numbered(list[Any]):
    """A list whose items are told in pieces: those that carry the same `index` are one."""

    def __init__(self) -> None:
        super().__init__()
        self._by_number: dict[Any, dict[str, Any]] = {}

    def gather(self, items: Iterable[Any]) -> None:
        """
        Raises:
            ValueError: more than MAX_NUMBERED items carry an index.
            TypeError: an index is an object or a list.
        """
        for item in items:
            number = item.get("index") if isinstance(item, dict) else None
            if number is not None and number in self._by_number:
                merge(self._by_number[number], item)
                continue
            if number is not None:
                self._by_number[number] = item
            if len(self._by_number) > MAX_NUMBERED:
                raise ValueError(f"more than {MAX_NUMBERED} numbered items")
            self.append(item)


def events(body: bytes) -> list[bytes]:
    """The events of a whole stream up to its `[DONE]`; what follows that is read by nobody.

    Raises:
        ValueError: there is none: the stream was cut.
    """
    found: list[bytes] = []
    for event in sse.EventSplitter(max_event=len(body) + 1).feed(body):
        if b"[DONE]" in event and sse.data(event) == b"[DONE]":
            return found
        found.append(event)
    raise ValueError("cut before its end")


def gather(events: Iterable[bytes]) -> dict[str, Any]:
    """One `chat.completion` from the events of a stream.

    Raises:
        ValueError, TypeError, AttributeError, KeyError, RecursionError: it is not made as chunks of an answer are.
    """
    answer: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    for payload in filter(None, map(sse.data, events)):
        chunk = msgspec.json.decode(payload)
        for choice in chunk.pop("choices", None) or []:
            _merge_choice(choices.setdefault(choice.get("index", 0), {"index": choice.get("index", 0)}), choice)
        answer.update({name: value for name, value in chunk.items() if value is not None or name not in answer})
    answer.pop("obfuscation", None)  # padding that hides how long each chunk is
    answer["object"] = "chat.completion"
    answer["choices"] = [_finished(choices[index]) for index in sorted(choices)]
    return answer


def _finished(choice: dict[str, Any]) -> dict[str, Any]:
    message = {"role": "assistant", "content": None, **(choice.pop("delta", None) or {})}
    for call in message.get("tool_calls") or []:
        call.pop("index", None)
    return {"index": choice.pop("index"), "message": message, "logprobs": None, **choice}


def _merge_choice(total: dict[str, Any], choice: dict[str, Any]) -> None:
    """Beside the delta, lists grow and objects merge; their texts and numbers are the newest, as such things as
    filters' results are told again whole.
    """
    for name, value in choice.items():
        old = total.get(name)
        if name in ("delta", "logprobs") and isinstance(value, dict):
            total[name] = merge(old if isinstance(old, dict) else {}, value)
        elif isinstance(old, list) and isinstance(value, list):
            old.extend(value)
        elif isinstance(old, dict) and isinstance(value, dict):
            _overlay(old, value)
        elif value is not None or name not in total:
            total[name] = value


def _overlay(total: dict[str, Any], newer: dict[str, Any]) -> None:
    for name, value in newer.items():
        old = total.get(name)
        if isinstance(old, dict) and isinstance(value, dict):
            _overlay(old, value)
        elif value is not None or name not in total:
            total[name] = value


def merge(total: dict[str, Any], delta: dict[str, Any]) -> dict[str, Any]:
    """Strings grow, numbered lists merge by `index`, other lists grow, everything else is replaced. What is said once
    stays when a provider repeats it as null or empty.
    """
    for name, value in delta.items():
        old = total.get(name)
        if isinstance(value, list) and (old is None or isinstance(old, list)):
            total[name] = _grown(old, value)
        elif old is None:
            total[name] = value
        elif name in _SAID_ONCE:
            total[name] = old if value in (None, "") else value
        elif isinstance(old, str) and isinstance(value, str):
            total[name] = None  # with no other reference to it, CPython grows a text in its place
            old += value
            total[name] = old
        elif isinstance(old, dict) and isinstance(value, dict):
            total[name] = merge(old, value)
        elif value is not None:
            total[name] = value
    return total


def _grown(old: list[Any] | None, items: list[Any]) -> Numbered:
    """A list that came inside of another value is not numbered yet."""
    total = old if isinstance(old, Numbered) else Numbered()
    if total is not old:
        total.gather(old or ())
    total.gather(items)
    return total
