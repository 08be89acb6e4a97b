"""Items of a request, and the messages they are."""

from typing import Any

import msgspec
import pytest
from responses_requests import CALL, USE, USER, asked, conversation, foreign, messages, user

from edgecache.core.messages import (
    Conversation,
    File,
    Image,
    Message,
    Part,
    Refusal,
    Text,
    Thinking,
    ToolResult,
)


def test_a_text_is_the_user_s_message() -> None:
    same = [
        asked(input="hi"),
        asked(input=[USER]),
        asked(input=[{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}]),
        asked(input=[{**USER, "id": "msg_1", "status": "completed"}]),
    ]
    assert {msgspec.json.encode(request.question) for request in same} == {msgspec.json.encode(same[0].question)}
    assert same[0].conversation == Conversation(messages=(user(Text(text="hi")),))


def test_instructions_are_the_system_s_message() -> None:
    told = conversation(instructions="Be brief.", input="hi").messages
    assert told == (Message(role="system", parts=(Text(text="Be brief."),)), user(Text(text="hi")))
    assert len(conversation(instructions="", input="hi").messages) == 1
    assert conversation(instructions="Write a poem.", input=None).messages[0].role == "system"


@pytest.mark.parametrize(
    ("part", "read"),
    [
        ({"type": "input_image", "image_url": "https://x/a.png", "detail": "auto"}, Image(url="https://x/a.png")),
        ({"type": "input_image", "image_url": "https://x", "detail": "low"}, Image(url="https://x", detail="low")),
        ({"type": "input_image", "image_url": "data:image/png;base64,QQ=="}, Image(media="image/png", data="QQ==")),
        ({"type": "input_file", "file_url": "https://x/a.pdf"}, File(url="https://x/a.pdf")),
        (
            {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,QQ=="},
            File(name="a.pdf", media="application/pdf", data="QQ=="),
        ),
        ({"type": "input_text", "text": "a", "prompt_cache_breakpoint": {"mode": "explicit"}}, Text(text="a")),
        ({"type": "output_text", "text": "a", "annotations": [], "logprobs": []}, Text(text="a")),
        ({"type": "refusal", "refusal": "No."}, Refusal(text="No.")),
    ],
)
def test_parts(part: Any, read: Part) -> None:
    assert messages({"role": "user", "content": [part]}) == (user(read),)


@pytest.mark.parametrize(
    "part",
    [
        {"type": "input_image", "file_id": "file-1", "detail": "auto"},
        {"type": "input_file", "file_id": "file-1"},
        {"type": "input_file", "file_url": "https://x", "file_data": "data:a/b;base64,QQ=="},
        {"type": "input_file", "file_data": "QQ=="},
        {"type": "output_text", "text": "a", "annotations": [{"type": "url_citation"}]},
        {"type": "input_text", "text": "a", "new": 1},
        {"type": "input_text", "text": 5},
        {"type": ["input_text"]},
        {"type": "input_audio"},
        "text",
        5,
        None,
    ],
)
def test_parts_only_this_dialect_knows(part: Any) -> None:
    assert messages({"role": "user", "content": [part]}) == (user(foreign(part)),)


def test_calls_and_results() -> None:
    result = {"type": "function_call_output", "call_id": "c", "output": "rain"}
    told = messages(USER, CALL, result, {**result, "output": [{"type": "input_text", "text": "sun"}]})
    assert told[1:] == (
        Message(role="assistant", parts=(USE,)),
        Message(role="tool", parts=(ToolResult(id="c", parts=(Text(text="rain"),)),)),
        Message(role="tool", parts=(ToolResult(id="c", parts=(Text(text="sun"),)),)),
    )
    assert conversation(input=[USER, CALL]).of_agent


def test_what_was_said_in_one_breath_is_one_message() -> None:
    said = {"role": "assistant", "content": "Wait."}
    thought = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"}
    thinking = Thinking(data="gAAA")
    told = messages(USER, thought, said, CALL, CALL, said, said, CALL, USER, CALL, thought, CALL)
    assert [message.parts for message in told if message.role == "assistant"] == [
        (thinking, Text(text="Wait."), USE, USE),
        (Text(text="Wait."),),
        (Text(text="Wait."), USE),
        (USE, thinking, USE),
    ]


@pytest.mark.parametrize(
    ("more", "thought"),
    [
        ({"encrypted_content": "gAAA"}, Thinking(text="a\n\nb", data="gAAA")),
        ({"encrypted_content": "signature:EqQ"}, Thinking(text="a\n\nb", signature="EqQ")),
        ({"id": "rs_edgecache_1_0"}, Thinking(text="a\n\nb")),
    ],
)
def test_thoughts(more: Any, thought: Thinking) -> None:
    summary = [{"type": "summary_text", "text": "a"}, {"type": "summary_text", "text": "b"}]
    [message] = messages({"type": "reasoning", "id": "rs_1", "summary": summary, **more})
    assert message.parts == (thought,)


@pytest.mark.parametrize(
    "item",
    [
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"type": "reasoning", "id": "rs_1", "summary": 5, "encrypted_content": "x"},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x", "status": "incomplete"},
        {"type": "custom_tool_call", "call_id": "c", "name": "sql", "input": "select 1"},
        {"type": "custom_tool_call_output", "call_id": "c", "output": "1"},
        {"type": "local_shell_call_output", "id": "c", "output": "1"},
        {"type": "compaction", "encrypted_content": "x"},
        {**CALL, "namespace": "n"},
        {**CALL, "arguments": {}},
        {**CALL, "status": "incomplete"},
        {"type": "function_call_output", "call_id": "c"},
        {"type": ["message"]},
        {"type": None, "role": "user"},
        {"role": "user"},
        {"role": "user", "content": []},
        {"role": "wizard", "content": "a"},
        {"role": ["user"], "content": "a"},
    ],
)
def test_items_only_this_dialect_knows(item: Any) -> None:
    [message] = messages(item)
    assert message.parts == (foreign(item),)


def test_what_a_message_says_beside_its_content() -> None:
    [message] = messages({"role": "assistant", "content": "a", "phase": "commentary"})
    assert message.parts == (Text(text="a"), foreign({"phase": "commentary"}))


def test_time_grows_with_the_length_of_a_history() -> None:
    """Counted in messages made, not in seconds: many calls of one breath are one message."""
    many = [CALL] * 5_000
    [message] = messages(*many)
    assert len(message.parts) == 5_000
