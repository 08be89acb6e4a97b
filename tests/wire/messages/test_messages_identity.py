"""`POST /v1/messages`: what of a request is identity, and what is not to be cached."""

import json
from typing import Any

import pytest
from message_examples import CACHED, OTHER, PATH, TOOL, ask, assistant, identity, read, result, text, use, user

from edgecache.errors import BadRequest
from edgecache.wire.messages import MESSAGES


@pytest.mark.parametrize(
    "fields",
    [
        {"stream": True},
        {"metadata": {"user_id": "u"}},
        {"service_tier": "auto"},
        {"speed": "fast"},
        CACHED,
        {"messages": [user(text("Why?"))]},
        {"messages": [user(text("Why?", **CACHED))]},
        {"thinking": None, "tools": [], "stop_sequences": [], "mcp_servers": [], "system": ""},
    ],
)
def test_what_says_nothing_about_the_answer(fields: dict[str, Any]) -> None:
    assert identity({**ask(), **fields}) == identity(ask())


@pytest.mark.parametrize("name", [*OTHER, "top_p", "effort"])
def test_what_does(name: str) -> None:
    values = {**OTHER, "top_p": 0.5, "effort": {"effort": "low"}}
    field = "output_config" if name == "effort" else name
    assert identity({**ask(), field: values[name]}).partition != identity(ask()).partition


def test_marks_are_found_only_where_the_api_has_them() -> None:
    marked = {**TOOL, **CACHED}
    assert identity(ask(tools=[marked])) == identity(ask(tools=[TOOL]))
    without = {**TOOL, "input_schema": {"type": "object", "properties": {}}}
    assert identity(ask(tools=[TOOL])) != identity(ask(tools=[without]))
    search = {"type": "search_result", "source": "s", "title": "t", "content": [text("c", **CACHED)], **CACHED}
    bare = {**search, "content": [text("c")]}
    del bare["cache_control"]
    assert identity(ask(user(search, text("q")))) == identity(ask(user(bare, text("q"))))
    called = assistant(use("a", cache_control=1))
    assert identity(ask(user("q"), called, user("x"))) != identity(ask(user("q"), assistant(use("a")), user("x")))


def test_only_the_last_text_is_fuzzy() -> None:
    one, two = ask(user("a"), assistant("b"), user("c")), ask(user("a"), assistant("b"), user("d"))
    assert identity(one).partition == identity(two).partition
    assert identity(one).key != identity(two).key
    assert read(one).question.exact_only is None
    assert identity(ask(user("x"), assistant("b"), user("c"))).partition != identity(one).partition
    assert read(ask(user(text("a"), text("b")))).question.exact_only
    assert read(ask(user("a"), assistant("prefilled"))).question.exact_only


def test_tools_run_by_the_provider_in_the_history() -> None:
    block = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
    found = read(ask(user("a"), assistant(block, text("b")), user("c"))).question
    assert (found.uncacheable, found.exact_only) == (None, "the history holds tools run by the provider")


def test_tools_of_the_application_in_the_history() -> None:
    found = read(ask(user("a"), assistant(use("t")), user(result("t"), text("c")))).question
    assert (found.exact_only, found.of_agent, found.text) == (None, True, "c")


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"tools": [TOOL, {"type": "web_search_20250305", "name": "web_search"}]}, "tools run by the provider"),
        ({"tools": [{"type": "code_execution_20250825", "name": "code_execution"}]}, "tools run by the provider"),
        ({"tools": [{"type": "tool_search_tool_bm25_20251119", "name": "t"}]}, "tools run by the provider"),
        ({"tools": [{"type": "mcp_toolset", "mcp_server_name": "s"}]}, "tools run by the provider"),
        ({"tools": [{"type": "not_known_yet", "name": "n"}]}, "tools run by the provider"),
        ({"tools": [{"type": 5}]}, "tools run by the provider"),
        ({"mcp_servers": [{"type": "url"}]}, "tools run by the provider"),
        ({"container": "c"}, "a container of the provider"),
        ({"thread": {"type": "create"}}, "a conversation held by the provider"),
        ({"max_tokens": 0}, "`max_tokens` of 0 asks for no answer"),
        ({"stream": "yes"}, "`stream` is not a boolean"),
        ({"messages": []}, "`messages` is not a list of messages"),
        ({"messages": ["a"]}, "`messages` is not a list of messages"),
        ({"messages": None}, "`messages` is not a list of messages"),
        ({"model": 5}, "`model` is missing"),
    ],
)
def test_what_is_not_cached(fields: dict[str, Any], why: str) -> None:
    assert read({**ask(), **fields}).question.uncacheable == why


@pytest.mark.parametrize("kind", ["bash_20250124", "text_editor_20250728", "computer_20250124", "memory_20250818"])
def test_tools_that_the_application_runs_are_cached(kind: str) -> None:
    found = read(ask(tools=[{"type": kind, "name": "n"}])).question
    assert found.uncacheable is None


@pytest.mark.parametrize("body", [b"[]", b"5", b'"x"', b"null"])
def test_no_object(body: bytes) -> None:
    found = MESSAGES.read(body, PATH)
    assert (found.question.uncacheable, found.conversation) == ("the body is not an object", None)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'"\\ud800"', b"[" * 300 + b"]" * 300])
def test_no_json(body: bytes) -> None:
    with pytest.raises(BadRequest):
        MESSAGES.read(body, PATH)


def test_a_key_that_stands_twice_is_not_cached() -> None:
    body = json.dumps(ask()).encode()[:-1] + b',"model":"n"}'
    assert "twice" in str(MESSAGES.read(body, PATH).question.uncacheable)
