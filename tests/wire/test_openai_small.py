"""Errors, the list of models, and the local model's answers: as the official SDK reads them."""

import json

import pytest
from openai.types import Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from edgecache.core.entry import Framing
from edgecache.core.messages import Text
from edgecache.core.reply import Begin, Choice, Closing, Finish, Reply, TextDelta, Usage
from edgecache.errors import BadRequest, ModelNotFound, RequestError, UpstreamTimeout
from edgecache.wire import sse
from edgecache.wire.chat import CHAT
from edgecache.wire.chat.reply import summarise, to_json
from edgecache.wire.openai_errors import error_body
from edgecache.wire.openai_models import models_added, models_body


@pytest.mark.parametrize(
    ("error", "fields"),
    [
        (BadRequest("m", param="p"), {"message": "m", "type": "invalid_request_error", "param": "p", "code": None}),
        (
            ModelNotFound("m"),
            {"message": "m", "type": "invalid_request_error", "param": None, "code": "model_not_found"},
        ),
        (UpstreamTimeout("m"), {"message": "m", "type": "server_error", "param": None, "code": "upstream_timeout"}),
    ],
)
def test_errors(error: RequestError, fields: dict[str, object]) -> None:
    assert json.loads(error_body(error)) == {"error": fields}


def test_an_error_about_bytes_that_are_not_utf8_can_be_sent() -> None:
    """HTTP libraries hand such bytes of a path or a header over as lone surrogates."""
    found = json.loads(error_body(BadRequest("no path /\udcff", param="\udcfe")))["error"]
    assert (found["message"], found["param"]) == ("no path /?", "?")


def test_the_list_of_models() -> None:
    found = json.loads(models_body(["local", "b"], 7))
    assert found["object"] == "list"
    assert [Model.model_validate(one).id for one in found["data"]] == ["local", "b"]
    assert found["data"][0] == {"id": "local", "object": "model", "created": 7, "owned_by": "edgecache"}


def test_ours_are_added_to_a_providers_list() -> None:
    body = b'{"object":"list","x":1.50,"data":[{"id":"a","created":1E3}]}'
    added = models_added(body, ["local"], 7)
    assert b'"x":1.50' in added
    assert b'"created":1E3' in added
    assert [one["id"] for one in json.loads(added)["data"]] == ["a", "local"]


@pytest.mark.parametrize(
    "body", [b"", b"x", b"[]", b"{}", b'{"data":5}', b'{"data":[\xff]}', b'{"\xff":1}', b'{"data":' + b"[" * 50_000]
)
def test_what_is_no_list_of_models_comes_back_as_it_is(body: bytes) -> None:
    assert models_added(body, ["local"], 7) == body


BEGIN = Begin(id="chatcmpl-1", created=7, model="local")
USAGE = Usage(prompt=3, completion=2)
WHOLE, STREAM = CHAT.read(b'{"model":"local"}', ""), CHAT.read(b'{"model":"local","stream":true}', "")


def whole(text: str, finish: str = "stop") -> bytes:
    choice = Choice(parts=(Text(text=text),), finish=finish)
    return CHAT.tell(Reply(id="chatcmpl-1", created=7, model="local", choices=(choice,), usage=USAGE), WHOLE)


def stream(*texts: str, finish: str = "stop") -> bytes:
    writer = CHAT.writer(STREAM)
    steps = [BEGIN, *(TextDelta(text=text) for text in texts), Finish(finish=finish), Closing(usage=USAGE)]
    return b"".join(map(writer.feed, steps))


def test_a_whole_local_answer() -> None:
    found = ChatCompletion.model_validate_json(whole("Hi \u2713"))
    text = found.choices[0].message.content
    assert (found.id, found.created, found.model, text) == ("chatcmpl-1", 7, "local", "Hi \u2713")
    assert found.usage is not None
    assert (found.usage.prompt_tokens, found.usage.completion_tokens, found.usage.total_tokens) == (3, 2, 5)


def test_a_streamed_local_answer_is_the_same_answer() -> None:
    streamed = stream("Hi ", "\u2713\n\n")
    for event in sse.EventSplitter().feed(streamed):
        if event != sse.DONE:
            ChatCompletionChunk.model_validate_json(sse.data(event) or b"")
    told, gathered = json.loads(whole("Hi \u2713\n\n")), json.loads(to_json(streamed))
    assert gathered["choices"][0]["message"]["content"] == told["choices"][0]["message"]["content"]
    assert {**gathered, "choices": None} == {**told, "choices": None}


@pytest.mark.parametrize(("finish", "why"), [("stop", None), ("length", "finish_reason length")])
def test_a_local_answer_is_stored_only_when_it_is_whole(finish: str, why: str | None) -> None:
    assert summarise(Framing.JSON, whole("a", finish)).why_not_stored == why
    assert summarise(Framing.SSE, stream("a", finish=finish)).why_not_stored == why
