"""The items of an answer as it is written, each with its events. Source: the OpenAI API description, schemas
`OutputMessage`, `ReasoningItem`, `FunctionToolCall` and `ResponseStreamEvent`.
"""

from typing import Any

from edgecache.core.reply import ThinkingDelta
from edgecache.wire.responses.events import Numbered
from edgecache.wire.responses.thoughts import sealed


class _Item:
    """`index` is its place in the output."""

    def __init__(self, event: Numbered, name: str, index: int) -> None:
        self.index = index
        self._event = event
        self._name = name
        self._where = {"item_id": name, "output_index": index}

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self._name}>"

    def _added(self, item: dict[str, Any]) -> bytes:
        return self._event("response.output_item.added", output_index=self.index, item=item)

    def _done(self, item: dict[str, Any]) -> bytes:
        return self._event("response.output_item.done", output_index=self.index, item=item)


class MessageItem(_Item):
    """Texts and refusals, a part for each run of either."""

    def __init__(self, event: Numbered, name: str, index: int) -> None:
        super().__init__(event, name, index)
        self._content: list[dict[str, Any]] = []
        self._pieces: list[str] = []
        self._refusal: bool | None = None

    def more(self, text: str, *, refusal: bool) -> bytes:
        told = b""
        if self._refusal is not refusal:
            told = self._end_part() if self._refusal is not None else self._added(self._item("in_progress"))
            self._refusal = refusal
            told += self._of_part("response.content_part.added", part=_part("", refusal=refusal))
        self._pieces.append(text)
        if refusal:
            return told + self._of_part("response.refusal.delta", delta=text)
        return told + self._of_part("response.output_text.delta", delta=text, logprobs=[])

    def end(self, status: str) -> tuple[bytes, dict[str, Any]]:
        told, item = self._end_part(), self._item(status)
        return told + self._done(item), item

    def _end_part(self) -> bytes:
        text, refusal = "".join(self._pieces), bool(self._refusal)
        if refusal:
            told = self._of_part("response.refusal.done", refusal=text)
        else:
            told = self._of_part("response.output_text.done", text=text, logprobs=[])
        part = _part(text, refusal=refusal)
        told += self._of_part("response.content_part.done", part=part)
        self._content.append(part)
        self._pieces = []
        return told

    def _of_part(self, kind: str, **fields: Any) -> bytes:
        return self._event(kind, **self._where, content_index=len(self._content), **fields)

    def _item(self, status: str) -> dict[str, Any]:
        content = list(self._content)
        return {"id": self._name, "type": "message", "status": status, "role": "assistant", "content": content}


def _part(text: str, *, refusal: bool) -> dict[str, Any]:
    if refusal:
        return {"type": "refusal", "refusal": text}
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


class Reasoning(_Item):
    """One thought: what is shown of it is its summary."""

    def __init__(self, event: Numbered, name: str, index: int) -> None:
        super().__init__(event, name, index)
        self._pieces: list[str] = []
        self._begun = False
        self._sealed: str | None = None

    def more(self, delta: ThinkingDelta) -> bytes:
        told = b"" if self._begun else self._added(self._item([]))
        self._begun = True
        self._sealed = sealed(delta.signature, delta.data) or self._sealed
        if not delta.text:
            return told
        if not self._pieces:
            told += self._of_part("response.reasoning_summary_part.added", part=_summary(""))
        self._pieces.append(delta.text)
        return told + self._of_part("response.reasoning_summary_text.delta", delta=delta.text)

    def end(self, status: str) -> tuple[bytes, dict[str, Any]]:
        if not self._pieces:
            item = self._item([])
            return self._done(item), item
        text = "".join(self._pieces)
        told = self._of_part("response.reasoning_summary_text.done", text=text)
        told += self._of_part("response.reasoning_summary_part.done", part=_summary(text))
        item = self._item([_summary(text)])
        return told + self._done(item), item

    def _of_part(self, kind: str, **fields: Any) -> bytes:
        return self._event(kind, **self._where, summary_index=0, **fields)

    def _item(self, summary: list[dict[str, Any]]) -> dict[str, Any]:
        item = {"id": self._name, "type": "reasoning", "summary": summary}
        return item if self._sealed is None else {**item, "encrypted_content": self._sealed}


def _summary(text: str) -> dict[str, Any]:
    return {"type": "summary_text", "text": text}


class Call(_Item):
    """A call of the application's function."""

    def __init__(self, event: Numbered, name: str, index: int, call_id: str, function: str) -> None:
        super().__init__(event, name, index)
        self._call_id = call_id
        self._function = function
        self._pieces: list[str] = []

    def begin(self) -> bytes:
        return self._added(self._item("", "in_progress"))

    def more(self, arguments: str) -> bytes:
        if not arguments:
            return b""
        self._pieces.append(arguments)
        return self._event("response.function_call_arguments.delta", **self._where, delta=arguments)

    def end(self, status: str) -> tuple[bytes, dict[str, Any]]:
        arguments = "".join(self._pieces)
        kind = "response.function_call_arguments.done"
        told = self._event(kind, **self._where, name=self._function, arguments=arguments)
        item = self._item(arguments, status)
        return told + self._done(item), item

    def _item(self, arguments: str, status: str) -> dict[str, Any]:
        said = {"call_id": self._call_id, "name": self._function, "arguments": arguments}
        return {"id": self._name, "type": "function_call", "status": status, **said}
