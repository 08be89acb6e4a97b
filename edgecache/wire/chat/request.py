"""Reading a chat request. Source: the OpenAI API description, schema `CreateChatCompletionRequest`."""

from typing import Any

import msgspec

from edgecache.core.canonical import Question
from edgecache.wire.bodies import decode, with_fields
from edgecache.wire.chat.conversation import DIALECT, read_conversation
from edgecache.wire.dialect import Request
from edgecache.wire.identity import question_of, raw_question, uncacheable
from edgecache.wire.users import end_users

IGNORED = frozenset({"stream", "stream_options", "user", "metadata", "safety_identifier", "service_tier", "store"})
"""Fields that do not change what a right answer is. A closed list: any other field is identity."""
IGNORED_PREFIX = "prompt_cache_"
DEPLOYMENTS = "/deployments/"


def read_chat(body: bytes, path: str = "") -> Request:
    """See `Dialect.read`. `path` names the model where the body does not, as Azure's do."""
    fields, problem = decode(body)
    if not isinstance(fields, dict):
        question = uncacheable("", "the body is not an object")
        return Request(dialect=DIALECT, body=body, fields=fields, question=question, include_usage=False)
    model = deployment(path) or fields.get("model")
    identity = {name: value for name, value in fields.items() if not is_ignored(name)}
    conversation = read_conversation(identity)
    options = fields.get("stream_options")
    return Request(
        dialect=DIALECT,
        body=body,
        fields=fields,
        question=_question(fields, model, conversation, identity, problem),
        stream=fields.get("stream") is True,
        include_usage=isinstance(options, dict) and options.get("include_usage") is True,
        conversation=conversation,
        users=end_users(fields),
        bound=fields.get("store") is True,
    )


def deployment(path: str) -> str | None:
    """The model that Azure's paths name: `/openai/deployments/{deployment}/chat/completions`. Azure goes by it,
    whatever the body says.
    """
    before, found, rest = path.partition(DEPLOYMENTS)
    return rest.partition("/")[0] or None if found and before.endswith("/openai") else None


def is_ignored(name: str) -> bool:
    return name in IGNORED or name == "model" or name.startswith(IGNORED_PREFIX)


def _question(fields: dict[str, Any], model: Any, conversation: Any, identity: Any, problem: str | None) -> Question:
    if not isinstance(model, str):
        return uncacheable("", "`model` is missing")
    problem = problem or _why_uncacheable(fields)
    if problem is not None:
        return uncacheable(model, problem)
    if conversation is None:
        return raw_question(identity, dialect=DIALECT, model=model, exact_only="it holds what is not known here")
    return question_of(conversation, dialect=DIALECT, model=model, exact_only=_why_exact_only(fields["messages"]))


def _why_exact_only(messages: list[dict[str, Any]]) -> str | None:
    """Calls of functions as they were made before there were tools; of tools the conversation knows itself."""
    old = any(message.get("role") == "function" or message.get("function_call") for message in messages)
    return "the history holds tool results" if old else None


def _why_uncacheable(fields: dict[str, Any]) -> str | None:
    messages = fields.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(item, dict) for item in messages):
        return "`messages` is not a list of messages"
    if not isinstance(fields.get("stream", False), bool | None):
        return "`stream` is not a boolean"
    modalities = fields.get("modalities")
    if fields.get("audio") or (isinstance(modalities, list) and "audio" in modalities):
        return "audio output is not reused"
    if fields.get("web_search_options") is not None:
        return "a tool that the provider runs: web search"
    return None


def with_usage(body: bytes) -> bytes:
    """The same request asking for usage at the end of the stream; every other value keeps its bytes. A wrong type is
    left for the provider to refuse.
    """
    fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    try:
        options = msgspec.json.decode(fields.get("stream_options", b"{}"), type=dict[str, msgspec.Raw] | None) or {}
        msgspec.json.decode(options.get("include_usage", b"null"), type=bool | None)
    except msgspec.ValidationError:
        return body
    return with_fields(body, {"stream_options": {**options, "include_usage": True}})
