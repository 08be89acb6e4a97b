"""A request as the local model's prompt. Here we are the provider, so what it would refuse is refused."""

from typing import Annotated, Any, Literal

import msgspec

from edgecache.core.generation import Prompt, Sampling, Turn
from edgecache.errors import BadRequest
from edgecache.wire.openai_local import Positive, Probability, refusal, refuse, turn_role


class TextPart(msgspec.Struct):
    type: Literal["input_text", "output_text"]
    text: str


class Message(msgspec.Struct):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]
    type: Literal["message"] = "message"


class LocalRequest(msgspec.Struct):
    """The fields that the local model obeys."""

    model: str
    input: str | Annotated[list[Message], msgspec.Meta(min_length=1)]
    instructions: str | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    top_p: Probability | None = None
    max_output_tokens: Positive | None = None
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None


UNSUPPORTED = {
    "tools": "call tools",
    "previous_response_id": "go on with a response",
    "conversation": "keep conversations",
    "background": "work in the background",
    "prompt": "use prompt templates",
    "top_logprobs": "return log probabilities",
    "moderation": "moderate",
    "context_management": "compact a conversation",
}


def to_prompt(fields: Any) -> Prompt:
    """Raises BadRequest, naming the field, for whatever the local model cannot do as asked."""
    if not isinstance(fields, dict):
        raise BadRequest("The body must be a JSON object with `model` and `input`.")
    refuse(fields, UNSUPPORTED)
    _check_form(fields)
    try:
        request = msgspec.convert(fields, LocalRequest)
    except msgspec.ValidationError as error:
        raise refusal(error) from None
    return Prompt((*_instructions(request), *_turns(request.input)), _sampling(request))


def _check_form(fields: dict[str, Any]) -> None:
    text = fields.get("text")
    form = text.get("format") if isinstance(text, dict) else text
    if form is not None and (not isinstance(form, dict) or form.get("type") != "text"):
        raise BadRequest("The local model answers in text only: leave out `text.format`.", param="text.format")
    include = fields.get("include")
    if isinstance(include, list) and "message.output_text.logprobs" in include:
        raise BadRequest("The local model cannot return log probabilities: leave out `include`.", param="include")


def _instructions(request: LocalRequest) -> tuple[Turn, ...]:
    return (Turn("system", request.instructions),) if request.instructions else ()


def _turns(said: str | list[Message]) -> tuple[Turn, ...]:
    if isinstance(said, str):
        return (Turn("user", said),)
    return tuple(Turn(turn_role(message.role), _text(message)) for message in said)


def _text(message: Message) -> str:
    if isinstance(message.content, str):
        return message.content
    return "".join(part.text for part in message.content)


def _sampling(request: LocalRequest) -> Sampling:
    """A small model is at its best when greedy, so that is what no temperature means here."""
    return Sampling(
        temperature=request.temperature if request.temperature is not None else 0.0,
        top_p=request.top_p if request.top_p is not None else 1.0,
        max_tokens=request.max_output_tokens,
    )
