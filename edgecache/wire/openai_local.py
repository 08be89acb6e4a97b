"""The local model's events as an OpenAI answer, streamed or whole."""

from typing import Any

import msgspec

from edgecache.core.generation import Finished
from edgecache.wire import sse


class Envelope(msgspec.Struct, frozen=True):
    """What every chunk of one answer repeats. `created` is Unix time in whole seconds."""

    id: str
    created: int
    model: str

    def _head(self, kind: str) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": f"edgecache-{self.model}",
        }

    def _chunk(self, delta: dict[str, Any], finish: str | None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return _event({**self._head("chat.completion.chunk"), "choices": [choice], "usage": None})

    def opening(self) -> bytes:
        return self._chunk({"role": "assistant", "content": "", "refusal": None}, None)

    def piece(self, text: str) -> bytes:
        return self._chunk({"content": text}, None)

    def closing(self, end: Finished) -> tuple[bytes, ...]:
        """Finish reason, usage and `[DONE]`, an event each."""
        usage = {**self._head("chat.completion.chunk"), "choices": [], "usage": _usage(end)}
        return self._chunk({}, end.reason), _event(usage), sse.DONE

    def whole(self, text: str, end: Finished) -> bytes:
        """One `chat.completion`."""
        message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None, "annotations": []}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": end.reason}
        answer = {**self._head("chat.completion"), "choices": [choice], "usage": _usage(end)}
        return msgspec.json.encode(answer)


def _event(fields: dict[str, Any]) -> bytes:
    return sse.event(msgspec.json.encode(fields))


def _usage(end: Finished) -> dict[str, int]:
    total = end.prompt_tokens + end.completion_tokens
    return {"prompt_tokens": end.prompt_tokens, "completion_tokens": end.completion_tokens, "total_tokens": total}
