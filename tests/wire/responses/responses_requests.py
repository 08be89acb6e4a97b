"""Requests of this API, in parts."""

import json
from typing import Any

from edgecache.core.entry import Framing
from edgecache.core.messages import (
    Conversation,
    Foreign,
    Message,
    Part,
    ToolUse,
)
from edgecache.wire.dialect import Request
from edgecache.wire.responses import RESPONSES

FUNCTION = {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": False}
CLOSED = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
USER = {"role": "user", "content": "hi"}


def asked(**fields: Any) -> Request:
    return RESPONSES.read(json.dumps({"model": "m", "input": "hi", **fields}).encode(), "/v1/responses")


def streamed(answer: dict[str, Any], **fields: Any) -> bytes:
    return RESPONSES.render(Framing.JSON, json.dumps(answer).encode(), asked(stream=True, **fields))


def conversation(**fields: Any) -> Conversation:
    found = asked(**fields).conversation
    assert found is not None
    return found


def messages(*items: Any) -> tuple[Message, ...]:
    return conversation(input=list(items)).messages


def user(*parts: Part) -> Message:
    return Message(role="user", parts=parts)


def foreign(value: Any) -> Foreign:
    return Foreign(dialect="openai.responses", value=value)


CALL = {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": "{}", "status": "completed"}
USE = ToolUse(id="c", name="f", arguments="{}")
