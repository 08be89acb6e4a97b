"""A Messages request as a prompt of the local model. Here we are the provider, so what it would refuse is refused."""

import re
from typing import Annotated, Any, Literal

import msgspec

from edgecache.core.generation import Prompt, Sampling, Turn
from edgecache.errors import BadRequest

_AT = re.compile(r"(.*) - at `\$\.?(.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(\w+)`")

Probability = Annotated[float, msgspec.Meta(ge=0, le=1)]


class TextBlock(msgspec.Struct):
    type: Literal["text"]
    text: str


class Message(msgspec.Struct):
    role: Literal["user", "assistant", "system"]
    content: str | list[TextBlock]


class LocalRequest(msgspec.Struct):
    """The fields that the local model obeys."""

    model: str
    messages: Annotated[list[Message], msgspec.Meta(min_length=1)]
    max_tokens: Annotated[int, msgspec.Meta(ge=1, le=1 << 31)]
    system: str | list[TextBlock] | None = None
    temperature: Probability | None = None
    top_p: Probability | None = None
    stop_sequences: list[str] | None = None
    stream: bool | None = None


UNSUPPORTED = {
    "tools": "call tools",
    "mcp_servers": "call tools",
    "container": "run code",
    "top_k": "sample by `top_k`",
    "context_management": "manage its context",
    "compaction": "summarize a conversation",
    "thread": "hold a conversation",
    "output_format": "keep to a format",
}


def to_prompt(fields: Any) -> Prompt:
    """
    Raises:
        BadRequest: naming the field that the local model cannot obey.
    """
    if not isinstance(fields, dict):
        raise BadRequest("The body must be a JSON object with `model`, `messages` and `max_tokens`.")
    for name, what in UNSUPPORTED.items():
        if fields.get(name):
            raise _refused(name, f"the local model cannot {what}; leave it out")
    _check_inner(fields)
    try:
        request = msgspec.convert(fields, LocalRequest)
    except msgspec.ValidationError as error:
        raise _refusal(error) from None
    if request.messages[-1].role == "assistant":
        place = f"messages.{len(request.messages) - 1}.role"
        raise _refused(place, "the local model does not continue the assistant's words; let the user's be the last")
    system = (Turn("system", _text(request.system)),) if request.system else ()
    turns = tuple(Turn(message.role, _text(message.content)) for message in request.messages)
    return Prompt((*system, *turns), _sampling(request))


def _check_inner(fields: dict[str, Any]) -> None:
    thinking, config = fields.get("thinking"), fields.get("output_config")
    if isinstance(thinking, dict) and thinking.get("type") not in ("disabled", "adaptive"):
        raise _refused("thinking.type", "the local model does not think; send `disabled` or leave it out")
    if isinstance(config, dict) and config.get("format"):
        raise _refused("output_config.format", "the local model cannot keep to a format; leave it out")


def _refused(place: str, why: str) -> BadRequest:
    """As Anthropic words it: the place, a colon, what is wrong there."""
    return BadRequest(f"{place}: {why}" if place else why, param=place or None)


def _refusal(error: msgspec.ValidationError) -> BadRequest:
    found = _AT.fullmatch(str(error))
    problem, place = found.groups() if found else (str(error), "")
    place = re.sub(r"\[(\d+)\]", r".\1", place)
    if missing := _MISSING.fullmatch(problem):
        return _refused(f"{place}.{missing[1]}".lstrip("."), "this field is required")
    return _refused(place, problem)


def _text(content: str | list[TextBlock]) -> str:
    return content if isinstance(content, str) else "".join(block.text for block in content)


def _sampling(request: LocalRequest) -> Sampling:
    """A small model is at its best when greedy, so that is what no temperature means here."""
    return Sampling(
        temperature=request.temperature if request.temperature is not None else 0.0,
        top_p=request.top_p if request.top_p is not None else 1.0,
        stop=tuple(text for text in request.stop_sequences or () if text),
        max_tokens=request.max_tokens,
    )
