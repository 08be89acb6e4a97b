"""OpenAI `POST /v1/embeddings`: a batch of inputs and the answer to each. Source: the OpenAI API description, schemas
`CreateEmbeddingRequest` and `CreateEmbeddingResponse`.

An embedding keeps the bytes in which its provider sent it. What is kept of one input is a whole answer to a request for
it alone.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any, Final, TypeGuard

import msgspec

from edgecache.core.canonical import Question
from edgecache.core.reply import Usage
from edgecache.errors import Untranslatable
from edgecache.wire.bodies import decode, with_fields
from edgecache.wire.chat.request import deployment
from edgecache.wire.dialect import Request
from edgecache.wire.identity import uncacheable
from edgecache.wire.users import end_users

DIALECT: Final = "openai.embeddings"
SUFFIX: Final = "/embeddings"
MOST: Final = 2_048
"""Inputs of one request."""
IGNORED: Final = frozenset({"user", "metadata", "safety_identifier"})
"""Fields that do not change what an embedding is. A closed list: any other field is identity."""

Input = str | list[int]
_encode = msgspec.json.encode
_EMBEDDING = re.compile(rb'\[\s*[-\d]|"[^"]')
"""How one begins that is not empty: numbers, or base64."""
_MALFORMED = (msgspec.DecodeError, UnicodeDecodeError, KeyError, RecursionError)


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """A request and its inputs, in their order: texts, or lists of tokens. The request's question is what all of them
    are asked with; there are no inputs where nothing of it may be cached.
    """

    request: Request
    inputs: tuple[Input, ...]


def read_embeddings(body: bytes, path: str = "") -> Batch:
    """What only a provider can judge is not refused, but marked as not to be cached.

    Raises:
        BadRequest: not JSON at all; the message says what to change.
    """
    fields, problem = decode(body)
    if not isinstance(fields, dict):
        question = uncacheable("", "the body is not an object")
        return Batch(request=Request(dialect=DIALECT, body=body, fields=fields, question=question), inputs=())
    inputs = _inputs(fields.get("input"))
    question = _question(fields, deployment(path) or fields.get("model"), problem or _why_uncacheable(inputs))
    request = Request(dialect=DIALECT, body=body, fields=fields, question=question, users=end_users(fields))
    return Batch(request=request, inputs=() if question.uncacheable else inputs)


def _question(fields: Mapping[str, Any], model: Any, problem: str | None) -> Question:
    if not isinstance(model, str):
        return uncacheable("", "`model` is missing")
    if problem is not None:
        return uncacheable(model, problem)
    shared = {name: value for name, value in fields.items() if name not in IGNORED and name not in ("model", "input")}
    return Question(operation=DIALECT, model=model, fields=shared, text="", exact_only="embeddings")


def _inputs(value: Any) -> tuple[Input, ...]:
    """Empty for what is none of the four kinds there are."""
    if isinstance(value, str) or _is_tokens(value):
        return (value,)
    if not isinstance(value, list):
        return ()
    same = all(isinstance(item, str) for item in value) or all(map(_is_tokens, value))
    return tuple(value) if same else ()


def _is_tokens(value: Any) -> TypeGuard[list[int]]:
    """Not empty. A boolean is no token."""
    return isinstance(value, list) and bool(value) and all(type(item) is int for item in value)


def _why_uncacheable(inputs: tuple[Input, ...]) -> str | None:
    if not inputs:
        return "`input` is not texts or tokens"
    return f"more than {MOST:,} inputs" if len(inputs) > MOST else None


def asked_as(value: Input) -> str:
    """An input in the one way in which it stands in an identity, white space and line ends protected."""
    return _encode(value).decode()


def asking(request: Request, inputs: Sequence[Input] | None, model: str) -> bytes:
    """The body that asks for these inputs only (None: for all, as they stand) of this model (empty: as named). It is
    the request's own wherever nothing must differ; else every other value keeps its bytes.

    Raises:
        Untranslatable: it is no object, so that its model cannot be named otherwise.
    """
    changes = ({} if inputs is None else {"input": inputs}) | ({"model": model} if model else {})
    try:
        return with_fields(request.body, changes) if changes else request.body
    except msgspec.DecodeError:
        raise Untranslatable("The body is no JSON object, so that its model cannot be named otherwise.") from None


# --- answers ------------------------------------------------------------------------------------------------------


class Mixed(Exception):
    """Embeddings of several models, which do not compare."""


class Part(msgspec.Struct, frozen=True):
    """The answer to one input. `usage` None where it was not told."""

    body: bytes
    usage: Usage | None


def split(body: bytes, inputs: Sequence[Input]) -> tuple[Part, ...] | None:
    """The answer to each input; None where `body` does not answer all of them, in their order. Takes milliseconds for
    a large one.
    """
    try:
        answer = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        items = msgspec.json.decode(answer["data"], type=list[dict[str, msgspec.Raw]])
        places = [msgspec.json.decode(item["index"], type=int) for item in items]
        whole = all(_EMBEDDING.match(item["embedding"]) for item in items)
    except _MALFORMED:
        return None
    if places != list(range(len(inputs))) or not whole or bytes(answer.get("error", b"null")) != b"null":
        return None
    if len(items) == 1:
        return (Part(body, _usage(_counts(answer.get("usage")))),)
    return tuple(_parts(answer, items, inputs))


def _parts(
    answer: dict[str, msgspec.Raw], items: list[dict[str, msgspec.Raw]], inputs: Sequence[Input]
) -> Iterable[Part]:
    told = _counts(answer.pop("usage", None))
    weights = [_weight(value) for value in inputs]
    shares = {name: apportioned(total, weights) for name, total in told.items()}
    for at, item in enumerate(items):
        counts = {name: share[at] for name, share in shares.items()}
        usage = {"usage": counts} if told else {}
        yield Part(_encode({**answer, "data": [{**item, "index": 0}], **usage}), _usage(counts))


def usage_of(body: bytes) -> Usage | None:
    """What an answer says that it cost; None where it says nothing, or is none."""
    try:
        return _usage(_counts(msgspec.json.decode(body, type=dict[str, msgspec.Raw]).get("usage")))
    except _MALFORMED:
        return None


def _usage(counts: Mapping[str, int]) -> Usage | None:
    return Usage(prompt=counts.get("prompt_tokens", counts.get("total_tokens", 0))) if counts else None


def _weight(value: Input) -> int:
    """What an input counts for: its tokens, or about as much as its bytes."""
    return len(value) if isinstance(value, list) else 1 + len(value.encode())


def apportioned(total: int, weights: Sequence[int]) -> list[int]:
    """Whole shares by weight (each at least 1), whose sum is `total`."""
    through = [0, *accumulate(weights)]
    ends = [total * weight // through[-1] for weight in through]
    return [end - start for start, end in pairwise(ends)]


def join(parts: Sequence[bytes]) -> bytes:
    """One answer of the answers to each input. All that is told once is the first's; usage is summed up.

    Raises:
        Mixed: they are not of one model.
    """
    if len(parts) == 1:
        return parts[0]
    answers = [msgspec.json.decode(part, type=dict[str, msgspec.Raw]) for part in parts]
    if len({bytes(answer.get("model", b"")) for answer in answers}) > 1:
        raise Mixed
    items = [msgspec.json.decode(answer["data"], type=list[dict[str, msgspec.Raw]])[0] for answer in answers]
    data = [{**item, "index": at} for at, item in enumerate(items)]
    told = [_counts(answer.pop("usage", None)) for answer in answers]
    names = dict.fromkeys(name for counts in told for name in counts)
    usage = {"usage": {name: sum(counts.get(name, 0) for counts in told) for name in names}} if names else {}
    return _encode({**answers[0], "data": data, **usage})


def _counts(usage: msgspec.Raw | None) -> dict[str, int]:
    """What is counted of the tokens; what is no count is left out."""
    try:
        told = msgspec.json.decode(usage, type=dict[str, Any]) if usage is not None else {}
    except _MALFORMED:
        return {}
    return {name: value for name, value in told.items() if type(value) is int and 0 <= value < 1 << 53}
