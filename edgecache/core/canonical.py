"""The canonical request: what makes two requests the same question, and what only makes them alike.

Everything that changes what a right answer is goes, exactly, into the *partition*. Only the last user text is fuzzy;
the exact key is a digest of partition and normalised text. Both are keyed (BLAKE2b, RFC 7693) with the deployment's
secret, so that nobody outside can tell from an id what was asked.
"""

import hashlib
from collections.abc import Mapping

import msgspec

from edgecache.core.entry import Scope

RULES = "identity/3"
"""Changes whenever what is written below does: entries made by other rules are not found."""

IDENTITY_HEADERS = (
    "anthropic-beta",
    "anthropic-version",
    "openai-beta",
    "openai-organization",
    "openai-project",
    "api-version",
)
"""Request headers that change the answer."""
_AS_GOOD_AS_NONE = {"anthropic-version": ("2023-06-01", "2026-10-21")}
"""What the SDKs of one dialect send always, and no other one has. These versions differ in what they refuse and not in
their answers."""
_QUERY_AS_GOOD_AS_NONE = "beta=true"
"""Sent by Anthropic's SDK for its beta calls; which betas is in `anthropic-beta`."""

_encode = msgspec.json.Encoder(order="deterministic").encode


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """A request as its dialect's codec read it.

    `fields` is all that is identity, under neutral names, with `text` taken out in such a way that no other request
    has the same `fields`. `text` is the last user text, empty where there is none to be fuzzy about. `model` is the
    one asked for. `exact_only` and `uncacheable` say why, where it is so; `of_agent` that the history holds calls or
    results of tools. `apart` tells it from others that ask the same.
    """

    operation: str
    model: str
    fields: Mapping[str, object]
    text: str
    exact_only: str | None = None
    uncacheable: str | None = None
    of_agent: bool = False
    apart: str = ""


class Identity(msgspec.Struct, frozen=True):
    """`key` and `partition` are 16 bytes each; `text` is normalised."""

    scope: Scope
    partition: bytes
    key: bytes
    text: str


def identify(
    question: Question,
    scope: Scope,
    headers: Mapping[str, str],
    query: str,
    *,
    path: str,
    rules: tuple[str, ...],
    secret: bytes,
) -> Identity:
    """The identity of a question asked by `scope`. `headers` are looked up by lower-case name, `path` and `query` are
    as they came: some providers name the model there. `rules` is what of the operator's rule changes who answers.
    """
    counted = {name: _bytes(headers[name]) for name in IDENTITY_HEADERS if name in headers}
    counted = {name: value for name, value in counted.items() if headers[name] not in _AS_GOOD_AS_NONE.get(name, ())}
    query = "" if query == _QUERY_AS_GOOD_AS_NONE else query
    text = normalise(question.text)
    asked = (question.operation, question.model, question.fields, question.apart)
    whole = (RULES, scope, asked, counted, _bytes(path), _bytes(query), [_bytes(rule) for rule in rules])
    partition = _digest(_encode(whole), secret, b"partition")
    key = _digest(partition + _bytes(text), secret, b"key")
    return Identity(scope, partition, key, text)


def normalise(text: str) -> str:
    """The same text however a client ends its lines and pads it. Nothing inside a line is touched."""
    return text.replace("\r\n", "\n").strip()


def _bytes(text: str) -> bytes:
    """Also of what was not UTF-8 in a request's head: HTTP libraries hand that over as lone surrogates."""
    return text.encode(errors="surrogatepass")


def _digest(content: bytes, secret: bytes, purpose: bytes) -> bytes:
    """BLAKE2b takes keys of up to 64 bytes; a longer secret is hashed first, as HMAC does (RFC 2104 section 2)."""
    key = secret if len(secret) <= 64 else hashlib.blake2b(secret).digest()
    return hashlib.blake2b(content, digest_size=16, key=key, person=purpose).digest()
