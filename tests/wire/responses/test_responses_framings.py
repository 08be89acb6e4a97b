"""One framing made from the other, and what differs between the clients of one answer."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from responses_recorded import (
    CITATION,
    SEARCH,
    WRITTEN,
    accumulated,
    call,
    exchanges,
    framing_of,
    message,
    of_today,
    payloads,
    response,
    text,
    validated,
)
from responses_requests import asked, streamed
from responses_values import KEYS, objects

from edgecache.core.entry import Framing
from edgecache.wire import sse
from edgecache.wire.responses import RESPONSES

WHOLE, STREAM = asked(), asked(stream=True)


# --- one body -> stream -> one body --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WRITTEN)
def test_a_body_as_a_stream_is_what_it_was(name: str) -> None:
    body = json.dumps(WRITTEN[name]).encode()
    stream = RESPONSES.render(Framing.JSON, body, STREAM)
    assert json.loads(RESPONSES.render(Framing.SSE, stream, WHOLE)) == WRITTEN[name]
    if WRITTEN[name]["status"] == "completed":
        assert accumulated(stream).model_dump(exclude_unset=True, exclude={"output"}) is not None
        assert accumulated(stream).output_text == validated_text(body)


def validated_text(body: bytes) -> str:
    parts = [part for item in validated(body)["output"] for part in item.get("content") or ()]
    return "".join(part["text"] for part in parts if part["type"] == "output_text")


def test_every_recorded_body_as_a_stream() -> None:
    count = 0
    for name, body, answer in exchanges():
        if framing_of(answer) is Framing.JSON and RESPONSES.summarise(Framing.JSON, answer).finished:
            request = json.loads(body)
            stream = RESPONSES.render(Framing.JSON, answer, asked(**{**request, "stream": True}))
            told = accumulated(stream).to_dict()
            assert without_parsed(told) == without_parsed(of_today(json.loads(answer))), name
            assert json.loads(RESPONSES.render(Framing.SSE, stream, asked(**request))) == json.loads(answer), name
            count += 1
    print(f"{count} recorded bodies as streams")
    assert count > 50


def without_parsed(value: Any) -> Any:
    """The SDK adds what it parsed of texts and arguments."""
    if isinstance(value, list):
        return [without_parsed(item) for item in value]
    if isinstance(value, dict):
        return {k: without_parsed(v) for k, v in value.items() if k not in ("parsed", "parsed_arguments")}
    return value


def test_every_recorded_stream_as_a_body() -> None:
    count = 0
    for name, _, answer in exchanges():
        if framing_of(answer) is Framing.SSE and RESPONSES.summarise(Framing.SSE, answer).finished:
            [end] = [event for event in payloads(answer) if event["type"] == "response.completed"]
            assert validated(RESPONSES.render(Framing.SSE, answer, WHOLE)) == end["response"], name
            count += 1
    print(f"{count} recorded streams as bodies")
    assert count > 8


def test_the_events_of_a_text_are_those_of_the_provider() -> None:
    """The same kinds in the same order, but for deltas, of which there is one."""
    compared = 0
    for name, _, answer in exchanges():
        if framing_of(answer) is Framing.JSON or b"OPENROUTER" in answer or b'"mcp_list_tools"' in answer:
            continue  # those tell several items at once
        [*_, end] = payloads(answer)
        if end["type"] == "response.completed":
            again = streamed(end["response"])
            assert kinds(again) == kinds(answer), name
            compared += 1
    assert compared > 5


def kinds(stream: bytes) -> list[str]:
    """Without queueing, and citations, which stand between deltas where the provider found them."""
    found: list[str] = []
    for event in payloads(stream):
        if event["type"] not in ("response.queued", "response.output_text.annotation.added", *found[-1:]):
            found.append(event["type"])
    return [kind for at, kind in enumerate(found) if at == 0 or kind != found[at - 1]]


def test_output_that_a_provider_leaves_to_the_events_is_gathered() -> None:
    stream = streamed(WRITTEN["calls"])
    [*_, end] = payloads(stream)
    events = sse.EventSplitter().feed(stream)
    last = sse.event(json.dumps({**end, "response": {**end["response"], "output": []}}).encode())
    cut = b"".join(events[:-1]) + last
    assert json.loads(RESPONSES.render(Framing.SSE, cut, WHOLE)) == WRITTEN["calls"]
    assert RESPONSES.summarise(Framing.SSE, cut).tool_calls


def test_a_stream_of_what_is_incomplete_ends_so() -> None:
    assert payloads(streamed(WRITTEN["incomplete"]))[-1]["type"] == "response.incomplete"


def test_a_body_in_lines_is_a_stream_whose_data_is_one_line_each() -> None:
    body = json.dumps(WRITTEN["calls"], indent=2).encode()
    stream = RESPONSES.render(Framing.JSON, body, STREAM)
    assert accumulated(stream).id == "resp_1"
    assert RESPONSES.render(Framing.JSON, body, WHOLE) == body


def test_numbers_keep_their_digits() -> None:
    body = json.dumps(WRITTEN["text"]).replace('"top_p": 1.0', '"top_p": 1.50').encode()
    assert b'"top_p":1.50' in RESPONSES.render(Framing.JSON, body, STREAM)
    stream = RESPONSES.render(Framing.JSON, body, STREAM)
    assert b'"top_p":1.50' in RESPONSES.render(Framing.SSE, stream, WHOLE)


def test_items_nobody_knows_are_told_whole() -> None:
    stream = streamed(response({"type": "new_call", "id": "n", "x": [1]}, message(text("a"))))
    assert [event["type"] for event in payloads(stream)][2:4] == [
        "response.output_item.added",
        "response.output_item.done",
    ]


# --- padding -------------------------------------------------------------------------------------------------------

_DELTA = b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","delta":"a"'
PADDED = _DELTA + b', "obfuscation":"zz"}\n\n'
BARE = _DELTA + b"}\n\n"


def test_padding_is_not_replayed() -> None:
    assert RESPONSES.render(Framing.SSE, PADDED, STREAM) == BARE
    assert RESPONSES.render(Framing.SSE, BARE + sse.DONE, STREAM) == BARE + sse.DONE


@pytest.mark.parametrize(("options", "told"), [(None, PADDED), ({}, PADDED), ({"include_obfuscation": False}, BARE)])
def test_padding_on_its_way_is_for_who_did_not_refuse_it(options: Any, told: bytes) -> None:
    hide = RESPONSES.hider(asked(stream=True, stream_options=options))
    assert hide is not None and hide(PADDED) == told


# --- what a provider repeats of a request --------------------------------------------------------------------------

OF_ANOTHER = response(message(text("a")), metadata={"run": "1"}, user="mallory", prompt_cache_key="k", store=True)


def test_the_same_request_gets_the_bytes_of_the_provider() -> None:
    same = {"metadata": {"run": "1"}, "user": "mallory", "prompt_cache_key": "k"}
    body = json.dumps(OF_ANOTHER, indent=1).encode()
    assert RESPONSES.render(Framing.JSON, body, asked(**same)) == body
    stream = streamed(OF_ANOTHER, **same).replace(b'"response":', b'"response" : ')
    assert RESPONSES.render(Framing.SSE, stream, asked(stream=True, **same)) == stream


@pytest.mark.parametrize("stream", [False, True])
def test_nobody_sees_the_metadata_of_another(stream: bool) -> None:
    request = asked(stream=stream, metadata={"mine": "2"}, safety_identifier="s", store=False)
    for framing, body in (
        (Framing.JSON, json.dumps(OF_ANOTHER).encode()),
        (Framing.SSE, streamed(OF_ANOTHER, metadata={"run": "1"}, user="mallory", prompt_cache_key="k")),
    ):
        told = RESPONSES.render(framing, body, request)
        assert b"mallory" not in told and b'"run"' not in told
        answers = (
            [event["response"] for event in payloads(told) if "response" in event] if stream else [validated(told)]
        )
        for answer in answers:
            assert (answer["metadata"], answer["user"], answer["prompt_cache_key"]) == ({"mine": "2"}, None, None)
            assert answer["store"] is False
            assert "safety_identifier" not in answer


def test_nor_on_its_way() -> None:
    hide = RESPONSES.hider(asked(stream=True))
    assert hide is not None
    stream = streamed(OF_ANOTHER, metadata={"run": "1"}, user="mallory", prompt_cache_key="k")
    told = b"".join(map(hide, sse.EventSplitter().feed(stream)))
    assert b"mallory" in stream and b"mallory" not in told
    assert accumulated(told).metadata == {}


def test_recorded_answers_are_their_own_requests() -> None:
    """Their first client gets every byte."""
    for name, body, answer in exchanges():
        request = RESPONSES.read(body, "/v1/responses")
        if framing_of(answer) is Framing.JSON:
            assert RESPONSES.render(Framing.JSON, answer, request) == answer, name
        else:
            hide = RESPONSES.hider(request)
            assert hide is not None
            assert b"".join(map(hide, sse.EventSplitter(len(answer) + 1).feed(answer))) == answer, name


# --- whatever comes ------------------------------------------------------------------------------------------------


@settings(max_examples=50)
@given(output=st.lists(objects, max_size=4) | objects, more=st.dictionaries(st.sampled_from(KEYS), objects))
def test_a_body_of_any_output_goes_into_a_stream_and_back(output: Any, more: dict[str, Any]) -> None:
    answer = {**response(), **more, "output": output, "status": "completed"}
    told = json.loads(RESPONSES.render(Framing.SSE, streamed(answer), WHOLE))
    assert told == answer


@given(arguments=st.text(), said=st.text(), refusal=st.booleans())
def test_texts_survive_both_ways(arguments: str, said: str, refusal: bool) -> None:
    part = {"type": "refusal", "refusal": said} if refusal else text(said, annotations=[CITATION])
    answer = response(SEARCH, message(part), call(arguments=arguments))
    stream = streamed(answer)
    assert json.loads(RESPONSES.render(Framing.SSE, stream, WHOLE)) == answer
    accumulated(stream)
