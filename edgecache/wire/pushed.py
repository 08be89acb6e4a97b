"""Answers that are pushed before anyone asks: how an owner writes them down, as a chat request and its answer."""

import reprlib
from typing import Annotated, Any, Literal

import msgspec

from edgecache.core.canonical import IDENTITY_HEADERS
from edgecache.core.entry import Framing
from edgecache.core.freshness import MAX_TTL
from edgecache.core.messages import Text
from edgecache.core.reply import Choice, Reply, Usage
from edgecache.core.tags import MAX_KEY_BYTES, fits
from edgecache.core.units import Duration, read_table
from edgecache.errors import BadRequest
from edgecache.wire.chat import CHAT
from edgecache.wire.chat.neutral import from_reply
from edgecache.wire.dialect import Summary

PATH = "/v1/chat/completions"
MOST = 256
"""Answers of one call."""


class Pushed(msgspec.Struct, frozen=True, kw_only=True):
    """One answer. The question is a text with the `model` it is asked of, maybe after a `system` message, or a whole
    `request`; the answer a text, or a `chat.completion` as a provider sends it. `path` is where it will be asked, with
    its query; `headers` those of its request that are identity. `scope` and `ttl` (seconds) may be left to others;
    `id` is the owner's own name for it.
    """

    answer: str | dict[str, Any]
    question: str | None = None
    system: str | None = None
    request: dict[str, Any] | None = None
    model: str | None = None
    path: str = PATH
    headers: dict[str, str] = {}
    scope: str | None = None
    tags: tuple[str, ...] = ()
    ttl: Duration | None = None
    id: str | int | None = None


class _Message(msgspec.Struct):
    role: Literal["assistant"]


class _Choice(msgspec.Struct):
    index: int
    message: _Message
    finish_reason: str


class _Completion(msgspec.Struct):
    """What clients rely on in a `chat.completion`; its other fields are kept as they are."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: Annotated[list[_Choice], msgspec.Meta(min_length=1)]


def read(item: object) -> Pushed:
    """
    Raises:
        BadRequest: with everything that is wrong with it, each as `key: what is wrong`.
    """
    if not isinstance(item, dict):
        raise BadRequest(f"an answer is an object, not {reprlib.repr(item)}")
    problems: list[str] = []
    found = read_table(item, Pushed, "", problems)
    if found is not None:
        problems += [*_question_problems(found), *_limits(found)]
    if found is None or problems:
        raise BadRequest("; ".join(problem.removeprefix(".") for problem in problems))
    return found


def _question_problems(found: Pushed) -> list[str]:
    if found.request is None:
        told = ["question: required, or `request`"] if found.question is None else []
        return told + (["model: required"] if found.model is None else [])
    twice = [name for name in ("question", "system") if getattr(found, name) is not None]
    told = [f"{name}: is part of `request` already" for name in twice]
    if found.model is not None and found.request.get("model", found.model) != found.model:
        told.append("model: `request` names another one")
    return told


def _limits(found: Pushed) -> list[str]:
    told = [f"tags: {tag[:40]!r} has not 1 to {MAX_KEY_BYTES} bytes of UTF-8" for tag in found.tags if not fits(tag)]
    if found.ttl is not None and not 0 < found.ttl <= MAX_TTL:
        told.append(f"ttl: more than 0 and at most {MAX_TTL // 86_400} days")
    unknown = [name for name in found.headers if name.lower() not in IDENTITY_HEADERS]
    told.extend(f"headers: `{name[:40]}` makes no other question; {', '.join(IDENTITY_HEADERS)} do" for name in unknown)
    return told


def chat_body(pushed: Pushed) -> bytes:
    """The body of the request that is answered."""
    if pushed.request is not None:
        return msgspec.json.encode({**({"model": pushed.model} if pushed.model else {}), **pushed.request})
    system = [{"role": "system", "content": pushed.system}] if pushed.system is not None else []
    messages = [*system, {"role": "user", "content": pushed.question}]
    return msgspec.json.encode({"model": pushed.model, "messages": messages})


def completion(pushed: Pushed, *, name: str, created: int, model: str) -> tuple[bytes, Summary]:
    """The answer as a `chat.completion`. `name` becomes the id of one that is made from text; it tells no usage, for
    no model was used.

    Raises:
        BadRequest: it is none, or none that may be stored.
    """
    if isinstance(pushed.answer, str):
        body = msgspec.json.encode(_made(name, created, model, pushed.answer))
    else:
        body = _checked(pushed.answer)
    summary = CHAT.summarise(Framing.JSON, body)
    if summary.why_not_stored is not None:
        raise BadRequest(f"answer: cannot be stored: {summary.why_not_stored}")
    return body, summary


def _made(name: str, created: int, model: str, text: str) -> dict[str, Any]:
    choice = Choice(parts=(Text(text=text),), finish="stop")
    return from_reply(Reply(id=name, model=model, created=created, choices=(choice,), usage=Usage()))


def _checked(answer: dict[str, Any]) -> bytes:
    try:
        msgspec.convert(answer, _Completion)
    except msgspec.ValidationError as error:
        raise BadRequest(f"answer: no chat.completion: {error}") from None
    return msgspec.json.encode(answer)
