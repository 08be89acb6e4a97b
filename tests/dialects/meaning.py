"""What an answer says, as the official SDKs read it: the same for every framing and dialect that says it."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import anthropic._models
import openai._models
from anthropic.lib.streaming._beta_messages import accumulate_event
from anthropic.types.beta import BetaMessage, BetaRawMessageStreamEvent
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types import Completion, CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import BaseModel, TypeAdapter

CHAT: Final = "openai.chat"
RESPONSES: Final = "openai.responses"
MESSAGES: Final = "anthropic.messages"
COMPLETIONS: Final = "openai.completions"
EMBEDDINGS: Final = "openai.embeddings"

CONVERSING: Final = (CHAT, RESPONSES, MESSAGES)
"""Dialects in which the same question can be asked."""
SHAPES: Final[dict[str, type[BaseModel]]] = {
    CHAT: ChatCompletion,
    RESPONSES: Response,
    MESSAGES: BetaMessage,
    COMPLETIONS: Completion,
    EMBEDDINGS: CreateEmbeddingResponse,
}
_STOPS: Final = {"end_turn": "stop", "stop_sequence": "stop", "tool_use": "tool_calls", "max_tokens": "length"}
_EVENTS: Final[dict[str, TypeAdapter[Any]]] = {
    CHAT: TypeAdapter(ChatCompletionChunk),
    RESPONSES: TypeAdapter(ResponseStreamEvent),
    MESSAGES: TypeAdapter(BetaRawMessageStreamEvent),
    COMPLETIONS: TypeAdapter(Completion),
}


@dataclass(frozen=True)
class Choice:
    """`calls` are of the application's tools: name and arguments."""

    text: str
    refusal: str
    calls: tuple[tuple[str, Any], ...]
    finish: str | None


@dataclass(frozen=True)
class Meaning:
    """`tokens` are of prompt and completion, None where nothing was told."""

    choices: tuple[Choice, ...]
    tokens: tuple[int, int] | None
    model: str


def data_of(body: bytes) -> list[Any]:
    """The JSON of a stream's events, `[DONE]` left out. A plain reader, for streams with a `data` line per event."""
    lines = [line.partition(b":")[2].strip() for line in body.splitlines() if line.startswith(b"data:")]
    return [json.loads(line) for line in lines if line != b"[DONE]"]


def events_of(body: bytes) -> list[Any]:
    """Those that make the answer."""
    return [event for event in data_of(body) if event.get("type") not in ("ping", "keepalive")]


def _made(kind: Any, value: Any) -> Any:
    """As leniently as the SDKs do."""
    models = anthropic._models if kind in (BetaMessage, BetaRawMessageStreamEvent) else openai._models
    return models.construct_type(type_=kind, value=value)


def whole(dialect: str, body: bytes, *, streamed: bool) -> Any:
    """The SDK's object of a whole answer, as the SDK itself would make it."""
    if not streamed and dialect == CHAT:
        return _unnumbered(json.loads(body))
    if not streamed:
        return _made(SHAPES[dialect], json.loads(body))
    return {CHAT: _chat, RESPONSES: _responses, MESSAGES: _messages, COMPLETIONS: _completions}[dialect](
        events_of(body)
    )


def problems(dialect: str, body: bytes, *, streamed: bool) -> str | None:
    """Why a body is none that the provider's description allows; None where it is one."""
    try:
        if not streamed:
            SHAPES[dialect].model_validate_json(body)
        for event in events_of(body) if streamed else ():
            _EVENTS[dialect].validate_python(event)
    except ValueError as error:
        return str(error)
    return None


def meaning(dialect: str, body: bytes, *, streamed: bool) -> Meaning:
    return {CHAT: _of_chat, RESPONSES: _of_responses, MESSAGES: _of_messages}[dialect](
        whole(dialect, body, streamed=streamed)
    )


# --- streams, gathered --------------------------------------------------------------------------------------------


def _chat(events: Iterable[Any]) -> Any:
    """Usage may come before the last event, and the SDK forgets it then."""
    state = ChatCompletionStreamState()
    usage = None
    for event in events:
        usage = event.get("usage") or usage
        state.handle_chunk(_made(ChatCompletionChunk, event))
    gathered = state.current_completion_snapshot.model_dump(mode="json", warnings=False)
    return _unnumbered({**gathered, "usage": usage})


def _unnumbered(answer: dict[str, Any]) -> Any:
    """Calls of tools are numbered in streams, and by few providers in whole answers."""
    for call in (call for choice in answer.get("choices") or () for call in choice["message"].get("tool_calls") or ()):
        call.pop("index", None)
    return _made(ChatCompletion, answer)


def _responses(events: Iterable[Any]) -> Any:
    """The last event holds the whole."""
    *_, last = events
    return _made(Response, last["response"])


def _messages(events: Iterable[Any]) -> Any:
    snapshot: Any = None
    pieces: dict[int, bytes] = {}
    for event in events:
        read = _made(BetaRawMessageStreamEvent, event)
        snapshot = accumulate_event(event=read, current_snapshot=snapshot, json_bufs=pieces, request_headers={})
    assert snapshot is not None, "a stream without a message"
    return snapshot


def _completions(events: Iterable[Any]) -> Completion:
    """The SDK has no helper for these."""
    told = list(events)
    gathered: dict[int, dict[str, Any]] = {}
    for choice in (choice for event in told for choice in event["choices"]):
        before = gathered.setdefault(choice["index"], {**choice, "text": ""})
        before.update(text=before["text"] + choice["text"], finish_reason=choice["finish_reason"])
    usage = next((event["usage"] for event in told if event.get("usage")), None)
    whole = {**told[0], "choices": [gathered[index] for index in sorted(gathered)], "usage": usage}
    return Completion.model_validate(whole)


# --- what they say ------------------------------------------------------------------------------------------------


def _of_chat(answer: Any) -> Meaning:
    usage = answer.usage
    choices = tuple(_chat_choice(choice) for choice in answer.choices)
    return Meaning(choices, (usage.prompt_tokens, usage.completion_tokens) if usage else None, answer.model)


def _chat_choice(choice: Any) -> Choice:
    said = choice.message
    calls = tuple((call.function.name, _parsed(call.function.arguments)) for call in said.tool_calls or ())
    return Choice(said.content or "", said.refusal or "", calls, choice.finish_reason)


def _of_responses(answer: Any) -> Meaning:
    parts = [part for item in answer.output if item.type == "message" for part in item.content]
    calls = tuple((item.name, _parsed(item.arguments)) for item in answer.output if item.type == "function_call")
    finish = ("tool_calls" if calls else "stop") if answer.status == "completed" else answer.status
    choice = Choice(
        "".join(part.text for part in parts if part.type == "output_text"),
        "".join(part.refusal for part in parts if part.type == "refusal"),
        calls,
        finish,
    )
    usage = answer.usage
    return Meaning((choice,), (usage.input_tokens, usage.output_tokens) if usage else None, answer.model)


def _of_messages(answer: Any) -> Meaning:
    text = "".join(block.text for block in answer.content if block.type == "text")
    calls = tuple((block.name, block.input) for block in answer.content if block.type == "tool_use")
    usage = answer.usage
    read = (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0)
    choice = Choice(text, "", calls, _STOPS.get(answer.stop_reason, answer.stop_reason))
    return Meaning((choice,), (usage.input_tokens + read, usage.output_tokens), answer.model)


def _parsed(arguments: str) -> Any:
    """A model may write what is not JSON, which must stay as it is."""
    try:
        return json.loads(arguments) if arguments else {}
    except ValueError:
        return arguments


def difference(one: Any, other: Any, at: str = "") -> tuple[str, Any, Any]:
    """The first place where two documents differ, and what each has there."""
    if isinstance(one, dict) and isinstance(other, dict):
        name = next(name for name in {**one, **other} if one.get(name) != other.get(name))
        return difference(one.get(name), other.get(name), f"{at}.{name}" if at else name)
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        place = next(place for place, pair in enumerate(zip(one, other, strict=True)) if pair[0] != pair[1])
        return difference(one[place], other[place], f"{at}[{place}]")
    return at, one, other
