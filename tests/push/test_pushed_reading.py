"""What an owner may write down as an answer, and everything that is refused, before anything is done."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from edgecache.core.canonical import IDENTITY_HEADERS
from edgecache.core.entry import Scope
from edgecache.core.policy import Policy, parse_policy
from edgecache.core.tags import Kind, Tag
from edgecache.errors import BadRequest
from edgecache.flow.asking import settle
from edgecache.flow.pushed import Bad, Reader, Ready, Rights, items
from edgecache.wire.chat.request import read_chat

SECRET = b"a secret"
SHOP = Scope("token:shop")
POLICY = b"""
[[route]]
name = "off"
models = ["off"]
mode = "off"
[[route]]
name = "own"
models = ["own"]
sources = ["upstream"]
[[route]]
name = "small"
models = ["small"]
max_answer = 500
[[route]]
name = "exact"
models = ["exact"]
[[route]]
name = "questions"
mode = "semantic"
tags = ["docs"]
ttl = "2h"
"""


def policy() -> Policy:
    return parse_policy({"policy.toml": POLICY})


def rights(
    *, may_push: Callable[[Scope], bool] = lambda scope: True, tag: str | None = None, scope: Scope = SHOP
) -> Rights:
    return Rights(
        who="owner",
        scope=scope,
        scope_of=lambda name: Scope(f"token:{name}"),
        may_push=may_push,
        may_tag=lambda key: tag is None or key == tag,
        limited=tag is not None,
    )


def read(item: Any, allowed: Rights | None = None) -> Ready | Bad:
    reader = Reader(policy(), allowed or rights(), secret=SECRET, now=1_000.0, new_id=lambda: "0" * 32)
    (found,) = reader.read([item])
    return found


def ready(item: Any, allowed: Rights | None = None) -> Ready:
    found = read(item, allowed)
    assert isinstance(found, Ready), found
    return found


ANSWER = {"question": "How?", "model": "gpt-4o", "answer": "So."}
MESSAGES = [{"role": "user", "content": "How?"}]
COMPLETION = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 5,
    "model": "gpt-4o-2024",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "So."}, "finish_reason": "stop"}],
}


def with_choice(**fields: Any) -> dict[str, Any]:
    return {**ANSWER, "answer": {**COMPLETION, "choices": [{**COMPLETION["choices"][0], **fields}]}}


@pytest.mark.parametrize(
    ("item", "body", "headers"),
    [
        (ANSWER, {"messages": MESSAGES}, {}),
        ({**ANSWER, "question": " How?\r\n"}, {"messages": MESSAGES}, {}),
        ({**ANSWER, "system": "S"}, {"messages": [{"role": "system", "content": "S"}, *MESSAGES]}, {}),
        (
            {"answer": "So.", "request": {"model": "gpt-4o", "messages": MESSAGES, "temperature": 0.5, "stream": True}},
            {"messages": MESSAGES, "temperature": 0.5},
            {},
        ),
        ({"answer": "So.", "model": "gpt-4o", "request": {"messages": MESSAGES}}, {"messages": MESSAGES}, {}),
        ({**ANSWER, "headers": {"OpenAI-Organization": "o"}}, {"messages": MESSAGES}, {"openai-organization": "o"}),
    ],
)
def test_it_is_the_question_that_will_be_asked(item: Any, body: dict[str, Any], headers: dict[str, str]) -> None:
    chat = read_chat(json.dumps({"model": "gpt-4o", **body}).encode())
    route = policy().choose("/v1/chat/completions", "gpt-4o", SHOP)
    assert route is not None
    asked = settle(chat, SHOP, route, path="/v1/chat/completions", query="", headers=headers, secret=SECRET)
    assert ready(item).identity == asked.identity
    assert set(asked.tags) <= set(ready(item).tags)


def test_path_and_query_are_as_the_request_will_have_them() -> None:
    plain = ready(ANSWER).identity
    assert ready({**ANSWER, "path": "/v1/chat/completions?api-version=1"}).identity not in (plain, None)
    assert ready({**ANSWER, "path": "/v1/chat/completions"}).identity == plain


def test_tags_lifetime_and_scope() -> None:
    found = ready({**ANSWER, "tags": ["a", "docs"], "ttl": "90s", "scope": "bakery"})
    assert Tag(Kind.ID, found.id) in found.tags
    assert [tag.value for tag in found.tags if tag.kind is Kind.KEY] == ["docs", "a"]
    assert found.ttl == 90
    assert found.identity.scope == "token:bakery"
    assert ready(ANSWER).ttl == 7_200
    assert ready(ANSWER).identity.scope == SHOP


def test_whose_request_it_was_is_a_tag() -> None:
    item = {"answer": "So.", "request": {"model": "gpt-4o", "messages": MESSAGES, "user": "ann"}}
    assert [tag for tag in ready(item).tags if tag.kind is Kind.USER]


def test_an_answer_as_a_provider_sends_it_is_kept_as_it_is() -> None:
    answer = {**COMPLETION, "usage": {"total_tokens": 3}, "extra": [1.50, {"b": None}]}
    assert json.loads(ready({**ANSWER, "answer": answer}).body) == answer


def test_text_becomes_an_answer() -> None:
    body = json.loads(ready(ANSWER).body)
    assert body["choices"][0]["message"]["content"] == "So."
    assert body["object"] == "chat.completion"
    assert (body["model"], body["created"], body["id"]) == ("gpt-4o", 1_000, "chatcmpl-" + "0" * 32)


CALL = {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function", "function": {}}]}
HISTORY = [*MESSAGES, {"role": "tool", "tool_call_id": "c", "content": "1"}, *MESSAGES]


@pytest.mark.parametrize(
    ("item", "near"),
    [
        (ANSWER, True),
        ({**ANSWER, "model": "exact"}, False),
        (with_choice(message=CALL, finish_reason="tool_calls"), False),
        ({"answer": "So.", "request": {"model": "gpt-4o", "messages": HISTORY}}, False),
        ({**ANSWER, "question": "?"}, False),
    ],
)
def test_what_is_found_in_other_words(item: Any, near: bool) -> None:
    assert ready(item).near is near


@pytest.mark.parametrize(
    ("item", "told"),
    [
        (None, "an answer is an object"),
        ("text", "an answer is an object"),
        ([ANSWER], "an answer is an object"),
        ({}, "answer: required"),
        ({"model": "gpt-4o", "answer": "So."}, "question: required, or `request`"),
        ({"question": "How?", "answer": "So."}, "model: required"),
        ({**ANSWER, "anwser": "x"}, "anwser: unknown key, did you mean `answer`?"),
        ({**ANSWER, "question": 5}, "question: Expected"),
        ({**ANSWER, "request": {"messages": MESSAGES}}, "question: is part of `request`"),
        ({"answer": "x", "system": "s", "request": {"model": "m", "messages": MESSAGES}}, "system: is part of"),
        ({"answer": "x", "model": "a", "request": {"model": "b", "messages": MESSAGES}}, "names another one"),
        ({"answer": "x", "request": {"messages": MESSAGES}}, "`model` is missing"),
        ({"answer": "x", "request": {"model": 5, "messages": MESSAGES}}, "`model` is missing"),
        ({"answer": "x", "request": {"model": "m", "messages": []}}, "`messages` is not a list of messages"),
        ({**ANSWER, "answer": ""}, "empty answer"),
        ({**ANSWER, "answer": None}, "answer: Expected"),
        ({**ANSWER, "answer": {}}, "no chat.completion"),
        ({**ANSWER, "answer": {**COMPLETION, "object": "text_completion"}}, "no chat.completion"),
        ({**ANSWER, "answer": {**COMPLETION, "choices": []}}, "no chat.completion"),
        ({**ANSWER, "answer": {**COMPLETION, "error": {"message": "x"}}}, "error in the answer"),
        (with_choice(finish_reason="length"), "finish_reason length"),
        (with_choice(finish_reason=None), "no chat.completion"),
        (with_choice(message={"role": "user", "content": "x"}), "no chat.completion"),
        (with_choice(message={"role": "assistant", "content": ""}), "empty answer"),
        (with_choice(message={"role": "assistant", "content": None, "refusal": "No."}), "refusal"),
        ({**ANSWER, "tags": "docs"}, "tags: Expected"),
        ({**ANSWER, "tags": [""]}, "has not 1 to 1024 bytes"),
        ({**ANSWER, "tags": ["x" * 1_025]}, "has not 1 to 1024 bytes"),
        ({**ANSWER, "tags": [str(n) for n in range(257)]}, "tags, at most 256"),
        ({**ANSWER, "ttl": 0}, "ttl: more than 0"),
        ({**ANSWER, "ttl": "soon"}, "ttl: Expected a duration"),
        ({**ANSWER, "ttl": -1}, "ttl: Expected a duration"),
        ({**ANSWER, "ttl": "4000d"}, "at most 3650 days"),
        ({**ANSWER, "ttl": True}, "ttl: Expected a duration"),
        ({**ANSWER, "headers": {"accept": "x"}}, "makes no other question"),
        ({**ANSWER, "path": "/v1/embeddings"}, "No rule for chat answers"),
        ({**ANSWER, "path": "/v2/chat/completions"}, "No rule for chat answers"),
        ({**ANSWER, "scope": ""}, "may not push into the scope"),
        ({**ANSWER, "id": ["x"]}, "id: Expected"),
        ({**ANSWER, "model": "off"}, "mode off"),
        ({**ANSWER, "model": "own"}, "does not serve what was pushed"),
        ({**ANSWER, "model": "small", "answer": "x" * 500}, "the rule 'small' keeps 500"),
    ],
)
def test_what_is_refused(item: Any, told: str) -> None:
    empty = rights() if item != {**ANSWER, "scope": ""} else rights(may_push=lambda scope: scope != "token:")
    found = read(item, empty)
    assert isinstance(found, Bad), found
    assert told in found.error.message


def test_everything_wrong_is_told_at_once() -> None:
    found = read({"answer": 1, "question": "q", "ttl": "x"})
    assert isinstance(found, Bad)
    assert "answer: " in found.error.message and "ttl: " in found.error.message


def test_what_a_token_may_not_do() -> None:
    elsewhere = read({**ANSWER, "scope": "bakery"}, rights(may_push=lambda scope: scope == SHOP))
    assert isinstance(elsewhere, Bad) and elsewhere.error.status == 403
    for tags in ([], ["other"], ["mine", "other"]):
        found = read({**ANSWER, "tags": tags}, rights(tag="mine"))
        assert isinstance(found, Bad) and found.error.status == 403, tags
    assert ready({**ANSWER, "tags": ["mine"]}, rights(tag="mine"))


def test_one_bad_answer_hinders_no_other() -> None:
    found = Reader(policy(), rights(), secret=SECRET, now=0.0, new_id=lambda: "0" * 32).read(
        [ANSWER, {"id": "b"}, ANSWER]
    )
    assert [type(item) for item in found] == [Ready, Bad, Ready]
    assert [(item.at, item.name) for item in found] == [(0, None), (1, "b"), (2, None)]


def test_the_body_of_a_call() -> None:
    assert items(json.dumps(ANSWER).encode()) == [ANSWER]
    assert items(json.dumps({"answers": [ANSWER] * 256}).encode()) == [ANSWER] * 256


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b"5", b'{"answers": []}', b'{"answers": {}}', b'{"answers": [{}], "scope": "x"}',
        b'{"answer": "x", "answer": "y"}', b'{"answer": 1e999}', b'{"answers": ' + b"[" * 300 + b"]" * 300 + b"}",
        json.dumps({"answers": [ANSWER] * 257}).encode(),
    ],
)  # fmt: skip
def test_a_body_that_is_refused_whole(content: bytes) -> None:
    with pytest.raises(BadRequest):
        items(content)


def test_headers_that_are_identity_are_named() -> None:
    assert ready({**ANSWER, "headers": dict.fromkeys(IDENTITY_HEADERS, "x")})
