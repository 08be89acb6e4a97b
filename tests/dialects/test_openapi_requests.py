"""Every request that the OpenAI API description allows is read; all that it says is in its identity; and what its
dialect writes of it says the same.
"""

import json
from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from openapi_generator import Path, leaves, other, requests, with_leaf

from edgecache.core.canonical import Identity, Question, identify
from edgecache.core.entry import Scope
from edgecache.errors import Untranslatable
from edgecache.wire.dialect import Dialect, Request
from edgecache.wire.dialects import BY_NAME
from edgecache.wire.embeddings import IGNORED, asked_as, read_embeddings
from edgecache.wire.identity import question_of

NAMES = {
    "openai.chat": "CreateChatCompletionRequest",
    "openai.responses": "CreateResponse",
    "openai.completions": "CreateCompletionRequest",
}
EXAMPLES = 250
alike = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
)


def read(dialect: Dialect, fields: Any) -> Request:
    return dialect.read(json.dumps(fields).encode(), f"/v1{dialect.suffix}")


def identity(question: Question) -> Identity | None:
    """None for what is not cached."""
    if question.uncacheable is not None:
        return None
    return identify(question, Scope("s"), {}, "", path="/v1", rules=(), secret=b"s")


def is_ignored(name: object) -> bool:
    """The closed list of the design; docs/canonical.md."""
    names = ("stream", "stream_options", "user", "metadata", "safety_identifier", "service_tier", "store")
    return name in names or str(name).startswith("prompt_cache_")


def says_nothing(path: Path) -> bool:
    """What stands inside of a field and is no identity: names that are made up by clients and providers, the provider's
    marks on items of its own, and where a prompt may be cut for its cache.
    """
    named = [step for step in path if isinstance(step, str)]
    if "prompt_cache_breakpoint" in named or is_ignored(named[0]):
        return True
    calls = named[-2:] in (["tool_calls", "id"], ["tool_calls", "call_id"]) or named == ["input", "call_id"]
    formats = named in (["response_format", "json_schema", "name"], ["text", "format", "name"])
    return calls or formats or named in (["input", "id"], ["input", "status"])


def told(counts: Counter[str], name: str) -> None:
    print(f"{name}: {', '.join(f'{count} {what}' for what, count in sorted(counts.items()))}")


# --- what is read -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_all_that_a_request_says_is_in_its_identity(name: str) -> None:
    """One text, number or boolean anywhere is changed; then fields come that are, and are not, identity."""
    dialect, counts = BY_NAME[name], Counter[str]()

    @alike
    @given(requests(NAMES[name]), st.data())
    def check(fields: dict[str, Any], data: st.DataObject) -> None:
        found = identity(read(dialect, fields).question)
        if found is None:
            counts["not cached"] += 1
            return
        path, value = data.draw(st.sampled_from(list(leaves(fields))))
        note(f"{path}: {value!r}")
        changed = identity(read(dialect, with_leaf(fields, path, other(value))).question)
        if not says_nothing(path):
            assert changed != found
            counts["with another identity"] += 1
        elif is_ignored(path[0]) and changed is not None:
            assert changed == found
            counts["with the same"] += 1
        bare = {field: value for field, value in fields.items() if not is_ignored(field)}
        assert identity(read(dialect, bare).question) == found
        ignored = {"user": "u", "store": False, "metadata": {"a": "b"}, "prompt_cache_key": "k", "stream": True}
        assert identity(read(dialect, {**fields, **ignored}).question) == found
        assert identity(read(dialect, {**fields, "a field of tomorrow": 1}).question) != found

    check()
    told(counts, name)
    assert counts["with another identity"] > EXAMPLES // 4


def test_all_that_is_said_of_an_input_is_in_its_identity() -> None:
    def found(fields: Any) -> list[Identity | None]:
        batch = read_embeddings(json.dumps(fields).encode())
        question = batch.request.question
        return [identity(msgspec.structs.replace(question, text=asked_as(value))) for value in batch.inputs]

    @alike
    @given(requests("CreateEmbeddingRequest"), st.data())
    def check(fields: dict[str, Any], data: st.DataObject) -> None:
        before = found(fields)
        assert len(before) == (1 if _is_one(fields["input"]) else len(fields["input"]))
        path, value = data.draw(st.sampled_from(list(leaves(fields))))
        after = found(with_leaf(fields, path, other(value)))
        if path[0] in IGNORED:
            assert after == before
        else:
            assert after != before
        if path[0] == "input" and len(before) > 1:
            assert [one == two for one, two in zip(before, after, strict=True)].count(False) == 1, "only its own"

    check()


def _is_one(value: Any) -> bool:
    return isinstance(value, str) or isinstance(value[0], int)


# --- what is written ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["openai.chat", "openai.responses"])
def test_what_is_written_of_a_conversation_reads_as_the_same(name: str) -> None:
    dialect, counts = BY_NAME[name], Counter[str]()

    @alike
    @given(requests(NAMES[name]))
    def check(fields: dict[str, Any]) -> None:
        request = read(dialect, fields)
        if request.conversation is None:
            counts["of their dialect only"] += 1
            return
        messages = tuple(message for message in request.conversation.messages if message.parts)
        if len(messages) < len(request.conversation.messages):
            return  # a message that says nothing is not written
        try:
            written = dialect.write_request(request.conversation, request.model, stream=request.stream)
        except Untranslatable:
            counts["untranslatable"] += 1
            return
        note(written.decode())
        again = dialect.read(written, f"/v1{dialect.suffix}")
        assert again.conversation == request.conversation
        assert (again.model, again.stream) == (request.model, request.stream)
        if identity(request.question) is not None:
            question = question_of(request.conversation, dialect=name, model=request.model)
            assert identity(again.question) == identity(question)
        counts["written"] += 1

    check()
    told(counts, name)
    assert counts["written"] > EXAMPLES // 8
