"""A request as the local model's prompt, and errors as the SDK reads them."""

import json
from typing import Any

import pytest
from responses_requests import asked

from edgecache.core.generation import Prompt, Sampling, Turn
from edgecache.errors import BadRequest, UpstreamBroken
from edgecache.wire import sse
from edgecache.wire.responses import RESPONSES


def test_a_conversation() -> None:
    request = asked(
        instructions="Be brief.", temperature=0.5, top_p=0.9, max_output_tokens=9, store=True, include=[],
        input=[
            {"role": "developer", "content": "In French."}, {"role": "user", "content": "hi"},
            {"type": "message", "role": "assistant", "id": "msg_1", "status": "completed",
             "content": [{"type": "output_text", "text": "Sa", "annotations": []},
                         {"type": "output_text", "text": "lut"}]},
            {"role": "user", "content": [{"type": "input_text", "text": "again"}]},
        ],
    )  # fmt: skip
    assert RESPONSES.prompt(request) == Prompt(
        (
            Turn("system", "Be brief."), Turn("system", "In French."), Turn("user", "hi"), Turn("assistant", "Salut"),
            Turn("user", "again"),
        ),
        Sampling(temperature=0.5, top_p=0.9, max_tokens=9),
    )  # fmt: skip


def test_a_text() -> None:
    assert RESPONSES.prompt(asked(input="hi")) == Prompt((Turn("user", "hi"),))


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input[0].content[0].type"),
        ({"input": [{"type": "function_call_output", "call_id": "c", "output": ""}]}, "input[0].type"),
        ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role"),
        ({"input": [{"type": "item_reference", "role": "user", "content": "x"}]}, "input[0].type"),
        ({"temperature": 3}, "temperature"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"tools": [{"type": "function", "name": "f"}]}, "tools"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"background": True}, "background"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"text": {"format": {"type": "json_object"}}}, "text.format"),
        ({"text": 5}, "text.format"),
        ({"include": ["message.output_text.logprobs"]}, "include"),
        ({"stream": "yes"}, "stream"),
    ],
)
def test_what_the_local_model_cannot_do_is_refused(fields: Any, param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        RESPONSES.prompt(asked(**fields))
    assert caught.value.param == param


def test_what_is_no_request_is_refused() -> None:
    with pytest.raises(BadRequest, match="`input`"):
        RESPONSES.prompt(RESPONSES.read(b"[]", "/v1/responses"))


def test_errors() -> None:
    error = json.loads(RESPONSES.error(BadRequest("No.", param="input")))["error"]
    assert error == {"message": "No.", "type": "invalid_request_error", "param": "input", "code": None}


def test_an_error_in_mid_stream() -> None:
    event = RESPONSES.broken(UpstreamBroken("Cut."))
    told = json.loads(sse.data(event) or b"")
    assert sse.name(event) == b"error"
    assert (told["type"], told["message"], told["code"]) == ("error", "Cut.", "upstream_broken")
    assert told["error"]["message"] == "Cut."
