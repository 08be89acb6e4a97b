"""OpenAI chat request -> prompt of the local model. Here we are the provider, so what it would refuse is refused."""

from typing import Annotated, Any, Literal

import msgspec

from edgecache.core.generation import Prompt, Sampling, Turn
from edgecache.errors import BadRequest
from edgecache.wire.openai_local import Positive, Probability, refusal, refuse, turn_role

MAX_STOPS = 4
_HINTS = {"n": "; the local model gives one answer, so 1 or nothing"}


class TextPart(msgspec.Struct):
    type: Literal["text"]
    text: str


class Message(msgspec.Struct):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]


class LocalRequest(msgspec.Struct):
    """The fields that the local model obeys."""

    model: str
    messages: Annotated[list[Message], msgspec.Meta(min_length=1)]
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    top_p: Probability | None = None
    seed: Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)] | None = None
    stop: str | Annotated[list[str], msgspec.Meta(max_length=MAX_STOPS)] | None = None
    max_tokens: Positive | None = None
    max_completion_tokens: Positive | None = None
    n: Literal[1] | None = None
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None


UNSUPPORTED = {
    "tools": "call tools",
    "functions": "call functions",
    "logprobs": "return log probabilities",
    "top_logprobs": "return log probabilities",
    "logit_bias": "use a logit bias",
    "presence_penalty": "use a presence penalty",
    "frequency_penalty": "use a frequency penalty",
    "audio": "speak",
    "prediction": "use predicted outputs",
    "web_search_options": "search the web",
}


def to_prompt(fields: Any) -> Prompt:
    """Raises BadRequest, naming the field, for whatever the local model cannot do as asked."""
    if not isinstance(fields, dict):
        raise BadRequest("The body must be a JSON object with `model` and `messages`.")
    refuse(fields, UNSUPPORTED)
    _check_text_only(fields)
    try:
        request = msgspec.convert(fields, LocalRequest)
    except msgspec.ValidationError as error:
        raise refusal(error, _HINTS) from None
    turns = tuple(Turn(turn_role(message.role), _text(message)) for message in request.messages)
    return Prompt(turns, _sampling(request))


def _check_text_only(fields: dict[str, Any]) -> None:
    wanted = fields.get("response_format")
    if wanted is not None and (not isinstance(wanted, dict) or wanted.get("type") != "text"):
        raise BadRequest("The local model answers in text only: leave out `response_format`.", param="response_format")
    if fields.get("modalities") not in (None, ["text"]):
        raise BadRequest("The local model answers in text only: leave out `modalities`.", param="modalities")


def _text(message: Message) -> str:
    if isinstance(message.content, str):
        return message.content
    return "".join(part.text for part in message.content)


def _sampling(request: LocalRequest) -> Sampling:
    """A small model is at its best when greedy, so that is what no temperature means here."""
    stop = (request.stop,) if isinstance(request.stop, str) else tuple(request.stop or ())
    return Sampling(
        temperature=request.temperature if request.temperature is not None else 0.0,
        top_p=request.top_p if request.top_p is not None else 1.0,
        seed=request.seed,
        stop=tuple(text for text in stop if text),
        max_tokens=request.max_completion_tokens or request.max_tokens,
    )
