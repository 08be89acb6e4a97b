"""Reading a request. Source: the OpenAI API description, schema `CreateResponse`."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from edgecache.core.canonical import Question
from edgecache.core.messages import Conversation
from edgecache.wire.bodies import decode
from edgecache.wire.dialect import Request
from edgecache.wire.identity import question_of, raw_question, uncacheable
from edgecache.wire.responses.conversation import for_others, read_conversation
from edgecache.wire.responses.items import DIALECT
from edgecache.wire.users import end_users

IGNORED = frozenset({"stream", "stream_options", "user", "metadata", "safety_identifier", "service_tier", "store"})
"""Fields that do not change what a right answer is. A closed list: any other field is identity."""
IGNORED_PREFIX = "prompt_cache_"
_TOOLS = frozenset({"function", "custom", "namespace", "local_shell", "apply_patch"})
"""Tools that the application runs."""
_NEUTRAL_ITEMS = frozenset({
    "message", "reasoning", "function_call", "function_call_output", "compaction", "compaction_trigger",
})  # fmt: skip
"""Items that say nothing of tools, or say it in the words of no dialect."""
UNKNOWN_HERE = "it holds what is not known here"
_WORD = re.compile(r"[a-z_0-9.-]{1,40}")


def read_request(body: bytes) -> Request:
    """See `Dialect.read`."""
    fields, problem = decode(body)
    if not isinstance(fields, dict):
        question = uncacheable("", "the body is not an object")
        return Request(dialect=DIALECT, body=body, fields=fields, question=question, bound=True)
    identity = {name: value for name, value in fields.items() if not _is_ignored(name)}
    conversation = read_conversation(identity)
    return Request(
        dialect=DIALECT,
        body=body,
        fields=fields,
        question=_question(fields, identity, conversation, problem),
        stream=fields.get("stream") is True,
        echo=_echo(fields),
        conversation=conversation and for_others(conversation),
        users=end_users(fields),
        bound=fields.get("store") is not False,
    )


def _is_ignored(name: str) -> bool:
    return name in IGNORED or name == "model" or name.startswith(IGNORED_PREFIX)


def _echo(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What a provider would show of this request's fields that are no identity. Where an answer has no such field it
    gets none, and what a provider decides itself is shown only as far as the request says it.
    """
    metadata = fields.get("metadata")
    told: dict[str, Any] = {"metadata": metadata if isinstance(metadata, dict) else {}}
    texts = {name: value for name in _SHOWN for value in [fields.get(name)] if isinstance(value, str)}
    told |= {**dict.fromkeys(_SHOWN), **texts}
    if isinstance(fields.get("prompt_cache_retention"), str):
        told["prompt_cache_retention"] = fields["prompt_cache_retention"]
    return {**told, "store": False} if fields.get("store") is False else told


_SHOWN = ("user", "safety_identifier", "prompt_cache_key")


def _question(
    fields: dict[str, Any], identity: dict[str, Any], conversation: Conversation | None, problem: str | None
) -> Question:
    model = fields.get("model")
    if not isinstance(model, str):
        return uncacheable("", "`model` is missing")
    problem = problem or next(_reasons(fields), None)
    if conversation is None:
        return raw_question(identity, dialect=DIALECT, model=model, problem=problem, exact_only=UNKNOWN_HERE)
    return question_of(conversation, dialect=DIALECT, model=model, problem=problem, exact_only=_exact_only(fields))


def _items(fields: Mapping[str, Any]) -> list[Any]:
    items = fields.get("input")
    return items if isinstance(items, list) else []


def _exact_only(fields: Mapping[str, Any]) -> str | None:
    for item in _items(fields):
        kind = item.get("type", "message")
        if not isinstance(kind, str) or kind not in _NEUTRAL_ITEMS:
            return UNKNOWN_HERE
    return None


# --- what is not to be cached -------------------------------------------------------------------------------------


def _reasons(fields: Mapping[str, Any]) -> Iterator[str]:
    items = fields.get("input")
    if not isinstance(items, str | list | None) or not all(isinstance(item, dict) for item in _items(fields)):
        yield "`input` is neither a text nor a list of items"
        return
    if not isinstance(fields.get("stream", False), bool | None):
        yield "`stream` is not a boolean"
    for name in ("previous_response_id", "conversation"):
        if fields.get(name) is not None:
            yield f"`{name}` goes on with what the provider keeps"
    if fields.get("background") is not None and fields["background"] is not False:
        yield "`background` answers later"
    if _may_change(fields.get("prompt")):
        yield "`prompt` names no version"
    modalities = fields.get("modalities")
    if fields.get("audio") or (isinstance(modalities, list) and "audio" in modalities):
        yield "audio output is not reused"
    yield from _by_tools(fields.get("tools"))
    for item in _items(fields):
        if item.get("type") == "item_reference" or not item.keys() & {"type", "role"}:
            yield "an item is kept by the provider"
        yield from _by_tools(item.get("tools"))


def _may_change(prompt: Any) -> bool:
    """A template is what its newest version says, unless the request names one."""
    return prompt is not None and not (isinstance(prompt, dict) and isinstance(prompt.get("version"), str))


def _by_tools(tools: Any) -> Iterator[str]:
    for tool in tools if isinstance(tools, list) else ():
        kind = tool.get("type") if isinstance(tool, dict) else None
        if not _is_ours(tool, kind):
            named = kind if isinstance(kind, str) and _WORD.fullmatch(kind) else "unknown"
            yield f"a tool that the provider runs: {named}"


def _is_ours(tool: Any, kind: Any) -> bool:
    if kind == "shell":
        environment = tool.get("environment")
        return isinstance(environment, dict) and environment.get("type") == "local"
    if kind == "tool_search":
        return bool(tool.get("execution") == "client")
    return isinstance(kind, str) and kind in _TOOLS
